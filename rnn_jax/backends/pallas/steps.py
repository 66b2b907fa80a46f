"""One step of each cell, forward and back, with the gates in G arrays `[B, H]` instead of one `[B, G*H]`.

The algebra is that of `rnn_jax.cells` and `rnn_jax.bptt`, in the same symbols, and a test holds the two together. It is
here a second time because Triton, which compiles the kernels, can neither lay gates side by side (`join`) nor cut three
of them apart (`gates`): so every gate has a product with its own `[H, H]` block of W_hh. What is the same for all cells
and both forms, the masks around a step, exists once: `controlled_step` and `controlled_step_back`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.bptt.gru import GRULocal
from rnn_jax.bptt.lstm import LSTMLocal
from rnn_jax.bptt.rule import Local
from rnn_jax.cells.cell import matmul
from rnn_jax.cells.gru import GRUCarry
from rnn_jax.cells.lstm import LSTMCarry
from rnn_jax.cells.rnn import ACTIVATIONS, RNNCarry
from rnn_jax.types import Array, C, Carry, Projected


class OnChip(NamedTuple):
    """What a kernel keeps for all steps: the blocks of W_hh, G arrays `[H, H]`, and the GRU's `b_hn [H]`."""

    w_hh: tuple[Array, ...]
    b_hn: Array | None = None


class Steps(NamedTuple, Generic[C, Local]):
    """A cell's two steps.

    Attributes:
        recur: `(weights, carry, projected) -> (carry, y)`, as `Cell.recur`.
        step: `(transposed blocks of W_hh, local, dcarry) -> (dbefore, dz)`, as `Rule.step`; dz is G arrays `[B, H]`.
    """

    recur: Callable[[OnChip, C, Projected], tuple[C, Array]]
    step: Callable[[tuple[Array, ...], Local, C], tuple[C, tuple[Array, ...]]]


def back_through(dz: tuple[Array, ...], blocks: tuple[Array, ...]) -> Array:
    """dz W_hh^T: the sum over gates of dz `[B, H]` times the transposed block `[H, H]`.

    dz is float32 where the weights are bfloat16. Narrowing it would lose digits that `rnn_jax.bptt` keeps, widening
    the weights would take twice the room on chip: so dz goes in as two bfloat16 parts, 16 bits of it.
    """

    def product(d: Array, block: Array) -> Array:
        if d.dtype == block.dtype:
            return matmul(d, block)
        high = d.astype(block.dtype)
        return matmul(high, block) + matmul((d - high.astype(d.dtype)).astype(block.dtype), block)

    first, *others = (product(d, block) for d, block in zip(dz, blocks, strict=True))
    return sum(others, start=first)


def rnn_recur(activation: str, weights: OnChip, carry: RNNCarry, projected: Array) -> tuple[RNNCarry, Array]:
    """`rnn_jax.cells.rnn.recur`."""
    (w_hh,) = weights.w_hh
    h = ACTIVATIONS[activation](projected + matmul(carry.h, w_hh)).astype(carry.h.dtype)
    return RNNCarry(h), h


def rnn_step(blocks: tuple[Array, ...], slope: Array, dcarry: RNNCarry) -> tuple[RNNCarry, tuple[Array, ...]]:
    """`rnn_jax.bptt.rnn.step`."""
    dz = (dcarry.h * slope,)
    return RNNCarry(back_through(dz, blocks)), dz


def lstm_recur(weights: OnChip, carry: LSTMCarry, projected: tuple[Array, ...]) -> tuple[LSTMCarry, Array]:
    """`rnn_jax.cells.lstm.recur`."""
    z_i, z_f, z_g, z_o = (x + matmul(carry.h, w) for x, w in zip(projected, weights.w_hh, strict=True))
    i, f, o = jax.nn.sigmoid(z_i), jax.nn.sigmoid(z_f), jax.nn.sigmoid(z_o)
    c = (f * carry.c + i * jnp.tanh(z_g)).astype(carry.c.dtype)
    h = (o * jnp.tanh(c)).astype(carry.h.dtype)
    return LSTMCarry(h, c), h


def lstm_step(blocks: tuple[Array, ...], local: LSTMLocal, dcarry: LSTMCarry) -> tuple[LSTMCarry, tuple[Array, ...]]:
    """`rnn_jax.bptt.lstm.step`."""
    i, f, g, o, c_before, tanh_c = local
    dh, dc = dcarry
    do = dh * tanh_c
    dc = dc + dh * o * (1 - tanh_c * tanh_c)
    di, df, dg = dc * g, dc * c_before, dc * i
    dz = (di * i * (1 - i), df * f * (1 - f), dg * (1 - g * g), do * o * (1 - o))
    return LSTMCarry(back_through(dz, blocks), dc * f), dz


def gru_recur(weights: OnChip, carry: GRUCarry, projected: tuple[Array, ...]) -> tuple[GRUCarry, Array]:
    """`rnn_jax.cells.gru.recur`."""
    x_r, x_z, x_n = projected
    assert weights.b_hn is not None
    h_r, h_z, h_n = (matmul(carry.h, w) for w in weights.w_hh)
    r, z = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + r * (h_n + weights.b_hn))
    h = ((1 - z) * n + z * carry.h).astype(carry.h.dtype)
    return GRUCarry(h), h


def gru_step(blocks: tuple[Array, ...], local: GRULocal, dcarry: GRUCarry) -> tuple[GRUCarry, tuple[Array, ...]]:
    """`rnn_jax.bptt.gru.step`."""
    r, z, n, a_n, h_before = local
    dh = dcarry.h
    dn, dz_gate = dh * (1 - z), dh * (h_before - n)
    dz_n = dn * (1 - n * n)
    dr = dz_n * a_n
    dz_r, dz_z = dr * r * (1 - r), dz_gate * z * (1 - z)
    return GRUCarry(dh * z + back_through((dz_r, dz_z, dz_n * r), blocks)), (dz_r, dz_z, dz_n)


STEPS: dict[str, Steps[Carry, Any]] = {
    "rnn": Steps(partial(rnn_recur, "tanh"), rnn_step),
    "rnn_relu": Steps(partial(rnn_recur, "relu"), rnn_step),
    "rnn_identity": Steps(partial(rnn_recur, "identity"), rnn_step),
    "lstm": Steps(lstm_recur, lstm_step),
    "gru": Steps(gru_recur, gru_step),
}
"""By the cell's name."""
