"""Documentation: derivations, guides, the files behind the figures, and what makes tables and pictures of them."""
