"""Long expressive memory: two states that move in steps whose lengths are learnt, in the order a, b, z, h.

    a_t = dt * sigmoid(x_t W_ia + h_{t-1} W_ha + b_a)       how far z moves
    b_t = dt * sigmoid(x_t W_ib + h_{t-1} W_hb + b_b)       how far h moves
    z_t = (1 - a_t) * z_{t-1} + a_t * tanh(x_t W_iz + h_{t-1} W_hz + b_z)
    h_t = (1 - b_t) * h_{t-1} + b_t * tanh(x_t W_ih + z_t W_zh + b_h)
    y_t = h_t

Each unit has two rates of its own, at every step anew: a system of many time scales.

Shapes: x `[..., I]`, h, z and y `[..., H]`, `w_ih [I, 4H]`, `w_hh [H, 3H]`, columns a, b, z, `w_zh [H, H]`, `b [4H]`.
In bfloat16 the carry's z is float32, as an LSTM's c. The functions are those of a `Cell`, with its arguments.

Source: Rusch, Mishra, Erichson and Mahoney, "Long expressive memory for sequence modeling", 2022, which calls h y.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.cell import Cell, gates, matmul, of_weights
from rnn_jax.initializers import gate_keys, init_gates
from rnn_jax.types import Array, DType, Key


class LEMParams(NamedTuple):
    """`w_ih [I, 4H]`, `b [4H]`, columns a, b, z, h, `w_hh [H, 3H]`, columns a, b, z, and `w_zh [H, H]`."""

    w_ih: Array
    w_hh: Array
    w_zh: Array
    b: Array


class LEMCarry(NamedTuple):
    """`h [..., H]`, which is shown, and `z [..., H]`."""

    h: Array
    z: Array


class LEMActivations(NamedTuple):
    """The two rates, over dt, and the candidate of z, `[..., H]` each."""

    a: Array
    b: Array
    g: Array


def init_params(
    key: Key,
    input_size: int,
    hidden_size: int,
    dtype: DType = jnp.float32,
    *,
    init: str = "pytorch",
    gain: float = 1.0,
) -> LEMParams:
    """Draws `LEMParams`, `w_hh` and `w_zh` times `gain`; arguments, and what raises, as of `rnn_jax.cells.rnn`'s."""
    w_ih, recurrent, b = init_gates(gate_keys(key), input_size, hidden_size, 4, dtype, init, gain)
    return LEMParams(w_ih, recurrent[:, : 3 * hidden_size], recurrent[:, 3 * hidden_size :], b)


def init_carry(batch_shape: tuple[int, ...], hidden_size: int, dtype: DType = jnp.float32) -> LEMCarry:
    """Zeros `[*batch_shape, H]`, H being `hidden_size`, of `dtype`; z is float32 where that is narrower."""
    shape = (*batch_shape, hidden_size)
    return LEMCarry(jnp.zeros(shape, dtype), jnp.zeros(shape, jnp.promote_types(dtype, jnp.float32)))


def project(params: LEMParams, xs: Array) -> tuple[Array, ...]:
    """x W_ih + b: `[..., I]` to four arrays `[..., H]`."""
    return gates(matmul(xs, params.w_ih) + params.b, 4)


def activations(params: LEMParams, carry: LEMCarry, projected: tuple[Array, ...]) -> LEMActivations:
    """The rates and the candidate of z."""
    recurrent = gates(matmul(carry.h, params.w_hh), 3)
    s_a, s_b, s_z = (x + r for x, r in zip(projected[:3], recurrent, strict=True))
    return LEMActivations(jax.nn.sigmoid(s_a), jax.nn.sigmoid(s_b), jnp.tanh(s_z))


def recur(dt: float, params: LEMParams, carry: LEMCarry, projected: tuple[Array, ...]) -> tuple[LEMCarry, Array]:
    """The part of a step that needs the carry: four `[..., H]` to the new carry and y `[..., H]`."""
    a, b, g = activations(params, carry, projected)
    z = ((1 - dt * a) * carry.z + dt * a * g).astype(carry.z.dtype)
    candidate = jnp.tanh(projected[3] + matmul(z, params.w_zh))
    h = ((1 - dt * b) * carry.h + dt * b * candidate).astype(carry.h.dtype)
    return LEMCarry(h, z), h


def make(dt: float = 1.0) -> Cell[LEMParams, LEMCarry]:
    """Long expressive memory; `dt` is the longest step, from 0 to 1 for a mean that cannot overshoot."""
    return of_weights("lem", init_params, init_carry, partial(recur, dt), project, 4, activations)
