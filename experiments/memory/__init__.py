"""`memory`: what takes a long memory."""
