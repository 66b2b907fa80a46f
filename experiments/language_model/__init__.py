"""`language_model`: from counts to a recurrent generator."""
