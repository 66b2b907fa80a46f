"""Series of numbers: reading, repairing, windows, splits, baselines."""
