"""The minimal LSTM: gates and candidate from the input alone, in the order i, f, g.

    i_t = sigmoid(x_t W_ii + b_i)               input gate
    f_t = sigmoid(x_t W_if + b_f)               forget gate
    g_t = x_t W_ig + b_g                        candidate, without a tanh
    h_t = f_t / (f_t + i_t) * h_{t-1} + i_t / (f_t + i_t) * g_t
    y_t = h_t

The gates share one unit of weight, so that h keeps its scale over any number of steps. As of `rnn_jax.cells.mingru`,
nothing is recurrent but h itself, and all steps can be computed at once.

Shapes: x `[..., I]`, h and y `[..., H]`, `w_ih [I, 3H]`, `b [3H]`. The functions are those of a `Cell`, with its
arguments.

Source: Feng, Tung, Ahmed, Bengio and Hajimirsadeghi, "Were RNNs all we needed?", 2024, whose form for the logarithms
of positive candidates is left out.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells import linear
from rnn_jax.cells.cell import Cell, Sizes, gates, matmul, of_weights
from rnn_jax.cells.lstm import gate_biases
from rnn_jax.initializers import gate_keys, init_gates
from rnn_jax.types import Array, DType, Key


class MinLSTMParams(NamedTuple):
    """`w_ih [I, 3H]`, `b [3H]`, columns i, f, g."""

    w_ih: Array
    b: Array


class MinLSTMCarry(NamedTuple):
    """`h [..., H]`, the hidden state."""

    h: Array


class MinLSTMActivations(NamedTuple):
    """Input and forget gate, the shares of one that they are, and the candidate, `[..., H]` each."""

    i: Array
    f: Array
    g: Array


def init_params(
    key: Key,
    input_size: int,
    hidden_size: int,
    dtype: DType = jnp.float32,
    *,
    init: str = "pytorch",
    forget_bias: float | None = None,
    chrono: int | None = None,
) -> MinLSTMParams:
    """Draws `MinLSTMParams`; arguments, and what raises, as of `rnn_jax.cells.lstm.init_params`.

    With `chrono` f and i have biases d and -d, and sigmoid(d) + sigmoid(-d) = 1: the shares are the gates themselves.
    """
    keys = gate_keys(key)
    w_ih, _, b = init_gates(keys, input_size, hidden_size, 3, dtype, init)
    return MinLSTMParams(w_ih, gate_biases(keys.chrono, b, hidden_size, forget_bias, chrono))


def init_carry(batch_shape: tuple[int, ...], hidden_size: int, dtype: DType = jnp.float32) -> MinLSTMCarry:
    """Zeros `[*batch_shape, H]`, H being `hidden_size`, of `dtype`."""
    return MinLSTMCarry(jnp.zeros((*batch_shape, hidden_size), dtype))


def project(params: MinLSTMParams, xs: Array) -> tuple[Array, ...]:
    """x W_ih + b: `[..., I]` to three arrays `[..., H]`."""
    return gates(matmul(xs, params.w_ih) + params.b, 3)


def shares(projected: tuple[Array, ...]) -> MinLSTMActivations:
    """i / (f + i), f / (f + i) and g.

    As sigmoid(log i - log f) and its opposite: two gates that are both shut in float32 still have their shares.
    """
    z_i, z_f, g = projected
    ratio = jax.nn.log_sigmoid(z_i) - jax.nn.log_sigmoid(z_f)
    return MinLSTMActivations(jax.nn.sigmoid(ratio), jax.nn.sigmoid(-ratio), g)


def activations(params: MinLSTMParams, carry: MinLSTMCarry, projected: tuple[Array, ...]) -> MinLSTMActivations:
    """The gates' shares and the candidate."""
    del params, carry
    return shares(projected)


def recur(params: MinLSTMParams, carry: MinLSTMCarry, projected: tuple[Array, ...]) -> tuple[MinLSTMCarry, Array]:
    """The part of a step that needs the carry: three `[..., H]` to the new carry and y `[..., H]`."""
    del params
    i, f, g = shares(projected)
    h = (f * carry.h + i * g).astype(carry.h.dtype)
    return MinLSTMCarry(h), h


def coefficients(params: MinLSTMParams, projected: tuple[Array, ...]) -> tuple[Array, Array]:
    """The forget gate's share, and the input gate's times g: two `[..., H]`."""
    del params
    i, f, g = shares(projected)
    return f, i * g


LINEAR = linear.Linear(
    project,
    coefficients,
    pack=lambda carry: carry.h,
    unpack=lambda h, carry: MinLSTMCarry(h.astype(carry.h.dtype)),
    output=lambda params, carry, projected: carry.h,
)
"""h as a linear recurrence."""


def parallel(params: MinLSTMParams, carry: MinLSTMCarry, xs: Array) -> tuple[MinLSTMCarry, Array]:
    """All steps at once, as of `rnn_jax.cells.linear.parallel`: xs `[T, *batch, I]` to the final carry and ys."""
    return linear.parallel(LINEAR, params, carry, xs)


def sizes(params: MinLSTMParams) -> Sizes:
    """I and H, of `w_ih`."""
    return Sizes(params.w_ih.shape[0], params.w_ih.shape[1] // 3)


def make() -> Cell[MinLSTMParams, MinLSTMCarry]:
    """The minimal LSTM."""
    return of_weights("minlstm", init_params, init_carry, recur, project, 3, activations, sizes=sizes)
