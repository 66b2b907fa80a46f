"""The minimal gated unit, in the order f, n: a GRU whose one gate does the work of both.

    f_t = sigmoid(x_t W_if + h_{t-1} W_hf + b_f)            the gate
    n_t = tanh(x_t W_in + (f_t * h_{t-1}) W_hn + b_n)       candidate
    h_t = (1 - f_t) * h_{t-1} + f_t * n_t
    y_t = h_t

f is at once the share of the state that the candidate sees and the share that the candidate takes: two thirds of a
GRU's parameters.

Shapes: x `[..., I]`, h and y `[..., H]`, `w_ih [I, 2H]`, `w_hh [H, 2H]`, `b [2H]`. The functions are those of a `Cell`,
with its arguments.

Source: Zhou, Wu, Zhang and Zhou, "Minimal gated unit for recurrent neural networks", 2016.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.cell import Cell, gates, matmul, of_weights
from rnn_jax.cells.gru import GRUCarry, init_carry
from rnn_jax.initializers import chrono_bias, gate_keys, init_gates
from rnn_jax.types import Array, DType, Key


class MGUParams(NamedTuple):
    """`w_ih [I, 2H]`, `w_hh [H, 2H]`, `b [2H]`, columns f, n."""

    w_ih: Array
    w_hh: Array
    b: Array


class MGUActivations(NamedTuple):
    """Gate and candidate, `[..., H]` each."""

    f: Array
    n: Array


def init_params(
    key: Key,
    input_size: int,
    hidden_size: int,
    dtype: DType = jnp.float32,
    *,
    init: str = "pytorch",
    gain: float = 1.0,
    chrono: int | None = None,
) -> MGUParams:
    """Draws `MGUParams`; arguments, and what raises, as of `rnn_jax.cells.gru.init_params`.

    With `chrono` the bias of f, here the share that is let go, is from -log U(1, chrono - 1).
    """
    keys = gate_keys(key)
    w_ih, w_hh, b = init_gates(keys, input_size, hidden_size, 2, dtype, init, gain)
    if chrono is not None:
        b = b.at[:hidden_size].set(-chrono_bias(keys.chrono, hidden_size, chrono, b.dtype))
    return MGUParams(w_ih, w_hh, b)


def project(params: MGUParams, xs: Array) -> tuple[Array, ...]:
    """x W_ih + b: `[..., I]` to two arrays `[..., H]`."""
    return gates(matmul(xs, params.w_ih) + params.b, 2)


def activations(params: MGUParams, carry: GRUCarry, projected: tuple[Array, ...]) -> MGUActivations:
    """The gate and the candidate."""
    x_f, x_n = projected
    w_f, w_n = gates(params.w_hh, 2)
    f = jax.nn.sigmoid(x_f + matmul(carry.h, w_f))
    return MGUActivations(f, jnp.tanh(x_n + matmul(f * carry.h, w_n)))


def recur(params: MGUParams, carry: GRUCarry, projected: tuple[Array, ...]) -> tuple[GRUCarry, Array]:
    """The part of a step that needs the carry: two `[..., H]` to the new carry and y `[..., H]`."""
    f, n = activations(params, carry, projected)
    h = ((1 - f) * carry.h + f * n).astype(carry.h.dtype)
    return GRUCarry(h), h


def make() -> Cell[MGUParams, GRUCarry]:
    """The minimal gated unit."""
    return of_weights("mgu", init_params, init_carry, recur, project, 2, activations)
