"""Sizes and draws on which the loops in C++ are compared with the definition."""

import math

import jax
import jax.numpy as jnp

from helpers.unrolls import draw_like
from rnn_jax import cells

# T, B, I, H. Vectors have 4 to 16 floats, tiles up to 6 rows, chunks 256 pairs of step and sequence; "few" are the
# sequences and many the units that make several threads share a sequence; a "stream" has one step, for which
# weights are not packed.
SIZES = {
    "single": (1, 1, 1, 1),
    "small": (7, 5, 3, 4),
    "uneven": (9, 13, 11, 37),
    "chunks": (300, 3, 2, 16),
    "wide": (5, 40, 17, 80),
    "few": (9, 2, 6, 263),
    "alone": (4, 1, 70, 150),
    "one of many units": (3, 1, 5, 1027),
    "three of many units": (2, 3, 5, 1027),
    "stream": (1, 3, 9, 263),
}


def draw(name, size, seed=0):
    """Cell, params, carry, xs, weights of the loss; float32."""
    num_steps, batch, inputs, hidden = size
    cell, key = cells.get(name), jax.random.key(0)
    shapes = jax.eval_shape(lambda: (cell.init_params(key, inputs, hidden), cell.init_carry((batch,), hidden)))
    sequences = [jax.ShapeDtypeStruct((num_steps, batch, features), jnp.float32) for features in (inputs, hidden)]
    (params, carry), (xs, weights) = draw_like((shapes, sequences), seed)
    return cell, jax.tree.map(lambda p: 0.6 / math.sqrt(hidden) * p, params), carry, xs, weights


def assert_close(got, want, tolerance=3e-6):
    """||got - want|| of every array, relative to the largest entry of the array."""

    def error(a, b):
        return float(abs(a - b).max() / (abs(b).max() + 1e-30)) if a.size else 0.0

    errors = jax.tree.map(error, got, want)
    assert all(error < tolerance for error in jax.tree.leaves(errors)), errors  # not NaN either
