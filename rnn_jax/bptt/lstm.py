"""The hand-derived backward step of the LSTM; docs/bptt.md has the algebra, in the same symbols.

Shapes as in `rnn_jax.cells.lstm`; every d-something has the shape of that something.
The functions are those of a `Rule`, with its arguments.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.bptt.products import input_gradient, join, outer_sum, total
from rnn_jax.bptt.rule import Rule
from rnn_jax.cells.cell import gates, matmul
from rnn_jax.cells.lstm import LSTMCarry, LSTMParams
from rnn_jax.types import Array


class LSTMLocal(NamedTuple):
    """The gates, the cell state before the step and tanh of the one after it, each `[..., H]`."""

    i: Array
    f: Array
    g: Array
    o: Array
    c_before: Array
    tanh_c: Array


def recompute(params: LSTMParams, xs: Array, before: LSTMCarry, after: LSTMCarry) -> LSTMLocal:
    """The gates from x_t and h_{t-1}, all steps in one product: the forward pass stores h and c alone."""
    z_i, z_f, z_g, z_o = gates(matmul(xs, params.w_ih) + matmul(before.h, params.w_hh) + params.b, 4)
    i, f, o = jax.nn.sigmoid(z_i), jax.nn.sigmoid(z_f), jax.nn.sigmoid(z_o)
    return LSTMLocal(i, f, jnp.tanh(z_g), o, before.c, jnp.tanh(after.c))


def step(params: LSTMParams, local: LSTMLocal, dcarry: LSTMCarry) -> tuple[LSTMCarry, Array]:
    """From dh_t and dc_t, as the later steps left them, to dh_{t-1}, dc_{t-1} and dz_t."""
    i, f, g, o, c_before, tanh_c = local
    dh, dc = dcarry
    do = dh * tanh_c
    dc = dc + dh * o * (1 - tanh_c**2)  # c_t reaches the loss through h_t and through c_{t+1}
    di, df, dg = dc * g, dc * c_before, dc * i
    dz = join(di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o))
    dh_before = matmul(dz, params.w_hh.T)
    dc_before = dc * f  # the path an LSTM exists for: without it the gradient forgets what the cell remembers
    return LSTMCarry(dh_before, dc_before), dz


def weights(xs: Array, before: LSTMCarry, local: LSTMLocal, dz: Array) -> LSTMParams:
    """dW_ih = sum x_t^T dz_t, dW_hh = sum h_{t-1}^T dz_t, db = sum dz_t."""
    del local
    return LSTMParams(outer_sum(xs, dz), outer_sum(before.h, dz), total(dz))


def make() -> Rule[LSTMParams, LSTMCarry, LSTMLocal]:
    """The rule of the LSTM."""
    return Rule(recompute, step, weights, input_gradient)
