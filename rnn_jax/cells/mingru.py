"""The minimal GRU: gate and candidate from the input alone, in the order z, n.

    z_t = sigmoid(x_t W_iz + b_z)               how much is taken in
    n_t = x_t W_in + b_n                        candidate, without a tanh
    h_t = (1 - z_t) * h_{t-1} + z_t * n_t
    y_t = h_t

There are no recurrent weights: h moves linearly, unit by unit, so that all steps can be computed at once, `parallel`,
also as `backend="associative"`. What a layer of it cannot do is look at its own state; layers on top of each other do.
Here z is the share of what comes in, in `rnn_jax.cells.gru` that of what stays.

Shapes: x `[..., I]`, h and y `[..., H]`, `w_ih [I, 2H]`, `b [2H]`. The functions are those of a `Cell`, with its
arguments.

Source: Feng, Tung, Ahmed, Bengio and Hajimirsadeghi, "Were RNNs all we needed?", 2024, whose form for the logarithms
of positive candidates is left out.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells import linear
from rnn_jax.cells.cell import Cell, Sizes, gates, matmul, of_weights
from rnn_jax.cells.gru import GRUCarry, init_carry
from rnn_jax.initializers import chrono_bias, gate_keys, init_gates
from rnn_jax.types import Array, DType, Key


class MinGRUParams(NamedTuple):
    """`w_ih [I, 2H]`, `b [2H]`, columns z, n."""

    w_ih: Array
    b: Array


class MinGRUActivations(NamedTuple):
    """Gate and candidate, `[..., H]` each."""

    z: Array
    n: Array


def init_params(
    key: Key,
    input_size: int,
    hidden_size: int,
    dtype: DType = jnp.float32,
    *,
    init: str = "pytorch",
    chrono: int | None = None,
) -> MinGRUParams:
    """Draws `MinGRUParams` by a scheme of `rnn_jax.initializers`.

    Args:
        key: draws them.
        input_size: I.
        hidden_size: H.
        dtype: of the parameters.
        init: the scheme's name; what it says of recurrent weights goes unused.
        chrono: the longest memory wanted, in steps: draws the bias of z from -log U(1, chrono - 1). None leaves what
            the scheme drew.

    Raises: `ValueError` for an unknown scheme, a size below 1, or a `chrono` below 3.
    """
    keys = gate_keys(key)
    w_ih, _, b = init_gates(keys, input_size, hidden_size, 2, dtype, init)
    if chrono is not None:
        b = b.at[:hidden_size].set(-chrono_bias(keys.chrono, hidden_size, chrono, b.dtype))
    return MinGRUParams(w_ih, b)


def project(params: MinGRUParams, xs: Array) -> tuple[Array, ...]:
    """x W_ih + b: `[..., I]` to two arrays `[..., H]`."""
    return gates(matmul(xs, params.w_ih) + params.b, 2)


def activations(params: MinGRUParams, carry: GRUCarry, projected: tuple[Array, ...]) -> MinGRUActivations:
    """The gate and the candidate."""
    del params, carry
    z, n = projected
    return MinGRUActivations(jax.nn.sigmoid(z), n)


def recur(params: MinGRUParams, carry: GRUCarry, projected: tuple[Array, ...]) -> tuple[GRUCarry, Array]:
    """The part of a step that needs the carry: two `[..., H]` to the new carry and y `[..., H]`."""
    z, n = activations(params, carry, projected)
    h = ((1 - z) * carry.h + z * n).astype(carry.h.dtype)
    return GRUCarry(h), h


def coefficients(params: MinGRUParams, projected: tuple[Array, ...]) -> tuple[Array, Array]:
    """1 - z and z * n: two `[..., H]`."""
    del params
    z, n = projected
    return jax.nn.sigmoid(-z), jax.nn.sigmoid(z) * n


LINEAR = linear.Linear(
    project,
    coefficients,
    pack=lambda carry: carry.h,
    unpack=lambda h, carry: GRUCarry(h.astype(carry.h.dtype)),
    output=lambda params, carry, projected: carry.h,
)
"""h as a linear recurrence."""


def parallel(params: MinGRUParams, carry: GRUCarry, xs: Array) -> tuple[GRUCarry, Array]:
    """All steps at once, as of `rnn_jax.cells.linear.parallel`: xs `[T, *batch, I]` to the final carry and ys."""
    return linear.parallel(LINEAR, params, carry, xs)


def sizes(params: MinGRUParams) -> Sizes:
    """I and H, of `w_ih`."""
    return Sizes(params.w_ih.shape[0], params.w_ih.shape[1] // 2)


def make() -> Cell[MinGRUParams, GRUCarry]:
    """The minimal GRU."""
    return of_weights("mingru", init_params, init_carry, recur, project, 2, activations, sizes=sizes)
