"""The hand-derived backward step of the GRU; docs/bptt.md has the algebra, in the same symbols.

Shapes as in `rnn_jax.cells.gru`; every d-something has the shape of that something.
The functions are those of a `Rule`, with its arguments.

The candidate's input sum and its recurrent sum differ by the factor r, so dz_n passes to the input side as it is and to
the recurrent side times r.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.bptt.products import input_gradient, join, outer_sum, total
from rnn_jax.bptt.rule import Rule
from rnn_jax.cells.cell import gates, matmul
from rnn_jax.cells.gru import GRUCarry, GRUParams
from rnn_jax.types import Array


class GRULocal(NamedTuple):
    """The gates, the candidate, its recurrent sum a_n = h_{t-1} W_hn + b_hn, and h_{t-1}, each `[..., H]`."""

    r: Array
    z: Array
    n: Array
    a_n: Array
    h_before: Array


def recompute(params: GRUParams, xs: Array, before: GRUCarry, after: GRUCarry) -> GRULocal:
    """The gates from x_t and h_{t-1}, all steps in one product: the forward pass stores h alone."""
    del after
    x_r, x_z, x_n = gates(matmul(xs, params.w_ih) + params.b, 3)
    h_r, h_z, h_n = gates(matmul(before.h, params.w_hh), 3)
    r, z, a_n = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z), h_n + params.b_hn
    return GRULocal(r, z, jnp.tanh(x_n + r * a_n), a_n, before.h)


def recurrent_side(dz: Array, r: Array) -> Array:
    """dz as the recurrent product sees it: dz_r, dz_z and r * dz_n, `[..., 3H]`."""
    dz_r, dz_z, dz_n = gates(dz, 3)
    return join(dz_r, dz_z, dz_n * r)


def step(params: GRUParams, local: GRULocal, dcarry: GRUCarry) -> tuple[GRUCarry, Array]:
    """From dh_t, as the later steps left it, to dh_{t-1} and dz_t."""
    r, z, n, a_n, h_before = local
    dh = dcarry.h
    dn, dz_gate = dh * (1 - z), dh * (h_before - n)
    dz_n = dn * (1 - n**2)
    dr = dz_n * a_n
    dz = join(dr * r * (1 - r), dz_gate * z * (1 - z), dz_n)
    dh_before = dh * z + matmul(recurrent_side(dz, r), params.w_hh.T)
    return GRUCarry(dh_before), dz


def weights(xs: Array, before: GRUCarry, local: GRULocal, dz: Array) -> GRUParams:
    """dW_ih = sum x_t^T dz_t, dW_hh = sum h_{t-1}^T (dz_r, dz_z, r dz_n), db = sum dz_t, db_hn = sum r dz_n."""
    da = recurrent_side(dz, local.r)
    return GRUParams(outer_sum(xs, dz), outer_sum(before.h, da), total(dz), total(gates(da, 3)[2]))


def make() -> Rule[GRUParams, GRUCarry, GRULocal]:
    """The rule of the GRU."""
    return Rule(recompute, step, weights, input_gradient)
