"""The Elman cell.

    z_t = x_t W_ih + h_{t-1} W_hh + b
    h_t = phi(z_t)                        phi: tanh, relu or identity
    y_t = h_t

Shapes: x `[..., I]`, h and y `[..., H]`, `w_ih [I, H]`, `w_hh [H, H]`, `b [H]`. One bias: PyTorch's two only ever
occur as their sum. The functions are those of a `Cell`, with its arguments.

Source: Elman, "Finding structure in time", 1990.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.cell import Cell, matmul, of_weights
from rnn_jax.initializers import gate_keys, init_gates
from rnn_jax.types import Array, DType, Key


class RNNParams(NamedTuple):
    """`w_ih [I, H]`, `w_hh [H, H]`, `b [H]`."""

    w_ih: Array
    w_hh: Array
    b: Array


class RNNCarry(NamedTuple):
    """`h [..., H]`, the hidden state."""

    h: Array


class RNNActivations(NamedTuple):
    """`h [..., H]`, which is all there is to see."""

    h: Array


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "identity": lambda z: z,
}


def init_params(
    key: Key,
    input_size: int,
    hidden_size: int,
    dtype: DType = jnp.float32,
    *,
    init: str = "pytorch",
    gain: float = 1.0,
) -> RNNParams:
    """Draws `RNNParams` by a scheme of `rnn_jax.initializers`, `w_hh` times `gain`.

    Args:
        key: draws them.
        input_size: I.
        hidden_size: H.
        dtype: of the parameters.
        init: the scheme's name.
        gain: of the recurrent weights.

    Raises: `ValueError` for an unknown scheme, or a size below 1.
    """
    return RNNParams(*init_gates(gate_keys(key), input_size, hidden_size, 1, dtype, init, gain))


def init_carry(batch_shape: tuple[int, ...], hidden_size: int, dtype: DType = jnp.float32) -> RNNCarry:
    """Zeros `[*batch_shape, H]`, H being `hidden_size`, of `dtype`."""
    return RNNCarry(jnp.zeros((*batch_shape, hidden_size), dtype))


def project(params: RNNParams, xs: Array) -> Array:
    """x W_ih + b: `[..., I]` to `[..., H]`."""
    return matmul(xs, params.w_ih) + params.b


def activations(activation: str, params: RNNParams, carry: RNNCarry, projected: Array) -> RNNActivations:
    """phi(z): `[..., H]`."""
    return RNNActivations(ACTIVATIONS[activation](projected + matmul(carry.h, params.w_hh)))


def recur(activation: str, params: RNNParams, carry: RNNCarry, projected: Array) -> tuple[RNNCarry, Array]:
    """The part of a step that needs the carry: `[..., H]` to the new carry and y `[..., H]`."""
    h = activations(activation, params, carry, projected).h.astype(carry.h.dtype)
    return RNNCarry(h), h


def make(activation: str = "tanh") -> Cell[RNNParams, RNNCarry]:
    """The Elman cell with phi = `activation`. Raises `ValueError` for an unknown activation."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"unknown activation {activation!r}: take one of {', '.join(ACTIVATIONS)}")
    name = "rnn" if activation == "tanh" else f"rnn_{activation}"
    step = partial(recur, activation)
    return of_weights(name, init_params, init_carry, step, project, 1, partial(activations, activation))
