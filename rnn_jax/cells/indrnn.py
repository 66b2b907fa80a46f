"""The independently recurrent network: each unit hears of its own past alone.

    h_t = relu(x_t W_ih + u * h_{t-1} + b)
    y_t = h_t

A weight for each unit takes the place of the recurrent matrix: the gradient through n steps has a factor u^n, which is
read off and can be bounded, unit by unit. Units meet in the input weights of the next layer.

Shapes: x `[..., I]`, h and y `[..., H]`, `w_ih [I, H]`, `w_hh [H]` for u, `b [H]`. The functions are those of a `Cell`,
with its arguments.

Source: Li, Li, Cook, Zhu and Gao, "Independently recurrent neural network (IndRNN): building a longer and deeper RNN",
2018.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.cell import Cell, Sizes, of_weights
from rnn_jax.cells.rnn import RNNActivations, RNNCarry, init_carry, project
from rnn_jax.initializers import gate_keys, init_gates
from rnn_jax.types import Array, DType, Key


class IndRNNParams(NamedTuple):
    """`w_ih [I, H]`, `w_hh [H]`, a weight for each unit, and `b [H]`."""

    w_ih: Array
    w_hh: Array
    b: Array


def init_params(
    key: Key,
    input_size: int,
    hidden_size: int,
    dtype: DType = jnp.float32,
    *,
    init: str = "pytorch",
    gain: float = 1.0,
) -> IndRNNParams:
    """Draws `IndRNNParams`: u from U(0, 1), memories of every length, or 1 where the scheme is `identity`.

    Args:
        key, input_size, hidden_size, dtype: of `rnn_jax.cells.rnn.init_params`.
        init: the scheme of input weights and biases.
        gain: of u.

    Raises: `ValueError` for an unknown scheme, or a size below 1.
    """
    keys = gate_keys(key)
    w_ih, _, b = init_gates(keys, input_size, hidden_size, 1, dtype, init)
    u = jnp.ones(hidden_size, dtype)
    if init != "identity":
        u = jax.random.uniform(keys.chrono, (hidden_size,), dtype)
    return IndRNNParams(w_ih, u * jnp.asarray(gain, dtype), b)


def activations(params: IndRNNParams, carry: RNNCarry, projected: Array) -> RNNActivations:
    """h: `[..., H]`."""
    return RNNActivations(jax.nn.relu(projected + params.w_hh * carry.h))


def recur(params: IndRNNParams, carry: RNNCarry, projected: Array) -> tuple[RNNCarry, Array]:
    """The part of a step that needs the carry: `[..., H]` to the new carry and y `[..., H]`."""
    h = activations(params, carry, projected).h.astype(carry.h.dtype)
    return RNNCarry(h), h


def sizes(params: IndRNNParams) -> Sizes:
    """I and H, of `w_ih`."""
    return Sizes(*params.w_ih.shape)


def make() -> Cell[IndRNNParams, RNNCarry]:
    """The independently recurrent cell."""
    return of_weights("indrnn", init_params, init_carry, recur, project, 1, activations, sizes=sizes)
