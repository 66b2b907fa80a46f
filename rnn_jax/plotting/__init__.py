"""Plots that are written to a file: arrays in, a PNG out, a file per subject. Importing them changes no setting."""

from rnn_jax.extras import need

need(__name__, "matplotlib", "pandas")
