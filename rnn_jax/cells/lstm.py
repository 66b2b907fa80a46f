"""The LSTM cell, gates in the order i, f, g, o.

    z_t = x_t W_ih + h_{t-1} W_hh + b     cut into z_i, z_f, z_g, z_o
    i_t = sigmoid(z_i)                    input gate
    f_t = sigmoid(z_f)                    forget gate
    g_t = tanh(z_g)                       candidate
    o_t = sigmoid(z_o)                    output gate
    c_t = f_t * c_{t-1} + i_t * g_t
    h_t = o_t * tanh(c_t)
    y_t = h_t

Shapes: x `[..., I]`, h, c and y `[..., H]`, `w_ih [I, 4H]`, `w_hh [H, 4H]`, `b [4H]`. In bfloat16 the carry's c is
float32: it is a sum over time. The functions are those of a `Cell`, with its arguments.

Sources: Hochreiter and Schmidhuber, "Long short-term memory", 1997; the forget gate: Gers, Schmidhuber and Cummins,
"Learning to forget", 2000; its bias of 1: Jozefowicz, Zaremba and Sutskever, "An empirical exploration of recurrent
network architectures", 2015; chrono initialization: Tallec and Ollivier, "Can recurrent neural networks warp time?",
2018.
"""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp

from rnn_jax.cells.cell import Cell, gates, matmul, of_weights
from rnn_jax.cells.nonlinearities import STANDARD, Nonlinearities, check, cut
from rnn_jax.initializers import chrono_bias, gate_keys, init_gates
from rnn_jax.types import Array, DType, Key


class LSTMParams(NamedTuple):
    """`w_ih [I, 4H]`, `w_hh [H, 4H]`, `b [4H]`, columns i, f, g, o."""

    w_ih: Array
    w_hh: Array
    b: Array


class LSTMCarry(NamedTuple):
    """`h [..., H]`, the hidden state, and `c [..., H]`, the cell state."""

    h: Array
    c: Array


class LSTMActivations(NamedTuple):
    """Input, forget gate, candidate and output gate, `[..., H]` each."""

    i: Array
    f: Array
    g: Array
    o: Array


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
) -> LSTMParams:
    """Draws `LSTMParams` by a scheme of `rnn_jax.initializers`, `w_hh` times `gain`.

    Args:
        key: draws them.
        input_size: I.
        hidden_size: H.
        dtype: of the parameters.
        init: the scheme's name.
        gain: of the recurrent weights.
        forget_bias: every entry of the forget gate's bias; None leaves what the scheme drew.
        chrono: the longest memory wanted, in steps: draws that bias from log U(1, chrono - 1) and gives the input
            gate its negative, since a unit whose forget gate is 1 - 1/n keeps its state for about n steps.

    Raises: `ValueError` for an unknown scheme, a size below 1, a `chrono` below 3, or both `forget_bias` and `chrono`.
    """
    keys = gate_keys(key)
    w_ih, w_hh, b = init_gates(keys, input_size, hidden_size, 4, dtype, init, gain)
    return LSTMParams(w_ih, w_hh, gate_biases(keys.chrono, b, hidden_size, forget_bias, chrono))


def gate_biases(key: Key, b: Array, hidden_size: int, forget_bias: float | None, chrono: int | None) -> Array:
    """`b [4H]` with the biases of input and forget gate as `init_params` describes, which see for its arguments.

    Raises: `ValueError` for both `forget_bias` and `chrono`.
    """
    if forget_bias is not None and chrono is not None:
        raise ValueError(f"forget_bias={forget_bias} and chrono={chrono} both set the forget gate's bias: give one")
    if forget_bias is not None:
        b = b.at[hidden_size : 2 * hidden_size].set(forget_bias)
    if chrono is not None:
        drawn = chrono_bias(key, hidden_size, chrono, b.dtype)
        b = b.at[:hidden_size].set(-drawn).at[hidden_size : 2 * hidden_size].set(drawn)
    return b


def init_carry(batch_shape: tuple[int, ...], hidden_size: int, dtype: DType = jnp.float32) -> LSTMCarry:
    """Zeros `[*batch_shape, H]`, H being `hidden_size`, of `dtype`; c is float32 where that is narrower."""
    shape = (*batch_shape, hidden_size)
    return LSTMCarry(jnp.zeros(shape, dtype), jnp.zeros(shape, jnp.promote_types(dtype, jnp.float32)))


def project(params: LSTMParams, xs: Array) -> tuple[Array, ...]:
    """x W_ih + b: `[..., I]` to four arrays `[..., H]`.

    Four arrays and not one of `[..., 4H]`: on a CPU, cutting the gates apart inside the loop costs as much as the step.
    """
    return gates(matmul(xs, params.w_ih) + params.b, 4)


def activations(
    params: LSTMParams, carry: LSTMCarry, projected: tuple[Array, ...], by: Nonlinearities = STANDARD
) -> LSTMActivations:
    """The gates and the candidate."""
    recurrent = gates(matmul(carry.h, params.w_hh), 4)
    z_i, z_f, z_g, z_o = (cut(x + r, by.clip) for x, r in zip(projected, recurrent, strict=True))
    return LSTMActivations(by.gate(z_i), by.gate(z_f), by.candidate(z_g), by.gate(z_o))


def recur(
    params: LSTMParams, carry: LSTMCarry, projected: tuple[Array, ...], by: Nonlinearities = STANDARD
) -> tuple[LSTMCarry, Array]:
    """The part of a step that needs the carry: four `[..., H]` to the new carry and y `[..., H]`."""
    i, f, g, o = activations(params, carry, projected, by)
    c = cut(f * carry.c + i * g, by.clip_state).astype(carry.c.dtype)
    h = (o * by.state(c)).astype(carry.h.dtype)
    return LSTMCarry(h, c), h


def make(by: Nonlinearities = STANDARD) -> Cell[LSTMParams, LSTMCarry]:
    """The LSTM cell, with nonlinearities and limits `by`. Raises `ValueError` for a limit that is not above 0."""
    check(by)
    step, shown = (recur, activations) if by == STANDARD else (partial(recur, by=by), partial(activations, by=by))
    return of_weights("lstm", init_params, init_carry, step, project, 4, shown)
