"""Recurrent networks in JAX: pure cells, two independent gradients, reproducible experiments."""

from rnn_jax import cells, compose, initializers
from rnn_jax.cells import Cell
from rnn_jax.unrolling import unroll

__all__ = ["Cell", "cells", "compose", "initializers", "unroll"]
