"""Recurrent networks in JAX: pure cells, two independent gradients, reproducible experiments."""

from rnn_jax import cells, compose, initializers
from rnn_jax.cells import Cell
from rnn_jax.unrolling import unroll

__all__ = ["Cell", "cells", "compose", "initializers", "unroll"]

__version__ = "0.1.0"  # the one place that says so: pyproject.toml reads this line, and a bare clone has it too
