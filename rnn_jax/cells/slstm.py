"""The sLSTM of xLSTM: an LSTM with exponential gates and a normalizer, gates in the order i, f, g, o.

    z_t = x_t W_ih + h_{t-1} W_hh + b                   cut into z_i, z_f, z_g, z_o
    m_t = max(log sigmoid(z_f) + m_{t-1}, z_i)          the stabilizer; z_i where n_{t-1} = 0
    i_t = exp(z_i - m_t)                                input gate
    f_t = exp(log sigmoid(z_f) + m_{t-1} - m_t)         forget gate
    g_t = tanh(z_g),  o_t = sigmoid(z_o)                candidate and output gate
    c_t = f_t * c_{t-1} + i_t * g_t
    n_t = f_t * n_{t-1} + i_t                           the normalizer
    h_t = o_t * c_t / n_t
    y_t = h_t

An exponential gate can outweigh all that went before, which a gate below 1 cannot: the cell revises what it stored.
c / n is a weighted mean of the candidates, with weights exp(z_i) times the forget gates since; m only scales c and n
alike, so that no exponential overflows. Where nothing is stored yet, n = 0, the scale is that of the first input, and
so n is at least 1 from then on.

Shapes: x `[..., I]`, h, c, n, m and y `[..., H]`, `w_ih [I, 4H]`, `w_hh [H, 4H]`, `b [4H]`. The paper's recurrent
matrix has blocks for heads; here there is one head. In bfloat16 the carry's c, n and m are float32: they are sums over
time. The functions are those of a `Cell`, with its arguments.

Source: Beck et al., "xLSTM: extended long short-term memory", 2024.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.cell import Cell, gates, matmul, of_weights
from rnn_jax.cells.lstm import LSTMActivations, gate_biases, project
from rnn_jax.initializers import gate_keys, init_gates
from rnn_jax.types import Array, DType, Key


class SLSTMParams(NamedTuple):
    """`w_ih [I, 4H]`, `w_hh [H, 4H]`, `b [4H]`, columns i, f, g, o."""

    w_ih: Array
    w_hh: Array
    b: Array


class SLSTMCarry(NamedTuple):
    """Hidden state h, cell state c, normalizer n and stabilizer m, `[..., H]` each."""

    h: Array
    c: Array
    n: Array
    m: Array


def init_params(
    key: Key,
    input_size: int,
    hidden_size: int,
    dtype: DType = jnp.float32,
    *,
    init: str = "pytorch",
    gain: float = 1.0,
    forget_bias: float | None = None,
    chrono: int | None = None,
) -> SLSTMParams:
    """Draws `SLSTMParams`; arguments, and what raises, as of `rnn_jax.cells.lstm.init_params`."""
    keys = gate_keys(key)
    w_ih, w_hh, b = init_gates(keys, input_size, hidden_size, 4, dtype, init, gain)
    return SLSTMParams(w_ih, w_hh, gate_biases(keys.chrono, b, hidden_size, forget_bias, chrono))


def init_carry(batch_shape: tuple[int, ...], hidden_size: int, dtype: DType = jnp.float32) -> SLSTMCarry:
    """Zeros `[*batch_shape, H]`, H being `hidden_size`, of `dtype`; c, n and m are float32 where that is narrower."""
    shape = (*batch_shape, hidden_size)
    wide = jnp.zeros(shape, jnp.promote_types(dtype, jnp.float32))
    return SLSTMCarry(jnp.zeros(shape, dtype), wide, wide, wide)


def stabilized(params: SLSTMParams, carry: SLSTMCarry, projected: tuple[Array, ...]) -> tuple[LSTMActivations, Array]:
    """The gates and the candidate, and m: `[..., H]` each."""
    recurrent = gates(matmul(carry.h, params.w_hh), 4)
    z_i, z_f, z_g, z_o = (x + r for x, r in zip(projected, recurrent, strict=True))
    kept = jax.nn.log_sigmoid(z_f) + carry.m
    m = jnp.where(carry.n == 0, z_i, jnp.maximum(kept, z_i))
    # Where n is 0 there is nothing to keep, and exp(kept - m) could overflow.
    f = jnp.exp(jnp.where(carry.n == 0, 0.0, kept - m))
    return LSTMActivations(jnp.exp(z_i - m), f, jnp.tanh(z_g), jax.nn.sigmoid(z_o)), m


def activations(params: SLSTMParams, carry: SLSTMCarry, projected: tuple[Array, ...]) -> LSTMActivations:
    """The gates as they are applied, stabilized, and the candidate."""
    return stabilized(params, carry, projected)[0]


def recur(params: SLSTMParams, carry: SLSTMCarry, projected: tuple[Array, ...]) -> tuple[SLSTMCarry, Array]:
    """The part of a step that needs the carry: four `[..., H]` to the new carry and y `[..., H]`."""
    (i, f, g, o), m = stabilized(params, carry, projected)
    c = (f * carry.c + i * g).astype(carry.c.dtype)
    n = (f * carry.n + i).astype(carry.n.dtype)
    h = (o * c / n).astype(carry.h.dtype)
    return SLSTMCarry(h, c, n, m.astype(carry.m.dtype)), h


def make() -> Cell[SLSTMParams, SLSTMCarry]:
    """The sLSTM."""
    return of_weights("slstm", init_params, init_carry, recur, project, 4, activations)
