"""Plots that are written to a file: arrays in, a PNG out, a file per subject. Importing them changes no setting."""
