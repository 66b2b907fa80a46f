"""`long_sequences`: gradients through up to a million steps."""
