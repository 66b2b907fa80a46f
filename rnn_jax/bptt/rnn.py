"""The hand-derived backward step of the Elman cell; docs/bptt.md has the algebra, in the same symbols.

Shapes as in `rnn_jax.cells.rnn`; every d-something has the shape of that something.
The functions are those of a `Rule`, with its arguments.
"""

from functools import partial

import jax.numpy as jnp

from rnn_jax.bptt.products import input_gradient, outer_sum, total
from rnn_jax.bptt.rule import Rule
from rnn_jax.cells.cell import matmul
from rnn_jax.cells.rnn import RNNCarry, RNNParams
from rnn_jax.segments import widen
from rnn_jax.types import Array


def recompute(activation: str, params: RNNParams, xs: Array, before: RNNCarry, after: RNNCarry) -> Array:
    """phi'(z) at each step, from h alone: 1 - h^2 for tanh, the sign of h for relu, 1 for the identity."""
    del params, xs, before
    h = widen(after.h)  # 1 - h^2 near saturation is a small difference
    if activation == "tanh":
        return 1 - h**2
    if activation == "relu":
        return (h > 0).astype(h.dtype)
    return jnp.ones_like(h)


def step(params: RNNParams, slope: Array, dcarry: RNNCarry) -> tuple[RNNCarry, Array]:
    """dz = dh * phi'(z), dh_{t-1} = dz W_hh^T."""
    dz = dcarry.h * slope
    dh_before = matmul(dz, params.w_hh.T)
    return RNNCarry(dh_before), dz


def weights(xs: Array, before: RNNCarry, slope: Array, dz: Array) -> RNNParams:
    """dW_ih = sum x_t^T dz_t, dW_hh = sum h_{t-1}^T dz_t, db = sum dz_t."""
    del slope
    return RNNParams(outer_sum(xs, dz), outer_sum(before.h, dz), total(dz))


def make(activation: str) -> Rule[RNNParams, RNNCarry, Array]:
    """The rule of the Elman cell with phi = `activation`."""
    return Rule(partial(recompute, activation), step, weights, input_gradient)
