"""One step of each cell, forward and back, with the gates in G arrays `[B, H]` instead of one `[B, G*H]`.

The algebra is that of `rnn_jax.cells` and `rnn_jax.bptt`, in the same symbols, and a test holds the two together. It is
here a second time because what compiles the kernels can neither lay gates side by side (`join`) nor cut three of them
apart (`gates`): so every gate has a product with its own `[H, H]` block of W_hh. The products are left to the kernels:
Triton's are `recur` and `step` here, those of `backend="mosaic"` go to the tensor cores by name. What is the same for
all cells and all forms, the masks around a step, exists once: `controlled_step` and `controlled_step_back`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.bptt.gru import GRULocal
from rnn_jax.bptt.lstm import LSTMLocal
from rnn_jax.bptt.rule import Local, at_h
from rnn_jax.cells.cell import hidden, matmul
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
        recur: `(products, b_hn, carry, projected) -> carry`, as `Cell.recur`; the products are h times each block.
        step: `(local, dcarry) -> (dbefore, dz, factors)`, as `Rule.step`; dz and factors are G arrays `[B, H]`, and
            dbefore's h lacks the sum of the factors, each times its transposed block.
    """

    recur: Callable[[tuple[Array, ...], Array | None, C, Projected], C]
    step: Callable[[Local, C], tuple[C, tuple[Array, ...], tuple[Array, ...]]]


def recur(name: str, weights: OnChip, carry: Any, projected: Projected) -> tuple[Any, Array]:
    """`Cell.recur` of the cell with that name: the carry after a step, and y `[B, H]`."""
    products = tuple(matmul(carry.h, block) for block in weights.w_hh)
    carry = STEPS[name].recur(products, weights.b_hn, carry, projected)
    return carry, hidden(carry)


def step(name: str, blocks: tuple[Array, ...], local: Any, dcarry: Any) -> tuple[Any, tuple[Array, ...]]:
    """`Rule.step` of the cell with that name, on the transposed blocks: dbefore, and dz as G arrays `[B, H]`."""
    dbefore, dz, factors = STEPS[name].step(local, dcarry)
    return at_h(dbefore, back_through(factors, blocks)), dz


def back_through(factors: tuple[Array, ...], blocks: tuple[Array, ...]) -> Array:
    """The sum over gates of the factor `[B, H]` times the transposed block `[H, H]`: dz W_hh^T in most cells.

    Factors are float32 where the weights are bfloat16. Narrowing them would lose digits that `rnn_jax.bptt` keeps,
    widening the weights would take twice the room on chip: so they go in as two bfloat16 parts, 16 bits of them.
    """

    def product(d: Array, block: Array) -> Array:
        if d.dtype == block.dtype:
            return matmul(d, block)
        high = d.astype(block.dtype)
        return matmul(high, block) + matmul((d - high.astype(d.dtype)).astype(block.dtype), block)

    first, *others = (product(d, block) for d, block in zip(factors, blocks, strict=True))
    return sum(others, start=first)


def rnn_recur(
    activation: str, products: tuple[Array, ...], b_hn: Array | None, carry: RNNCarry, projected: Array
) -> RNNCarry:
    """`rnn_jax.cells.rnn.recur`."""
    (h_w,) = products
    z = projected + h_w
    h = jnp.maximum(z, 0) if activation == "relu" else ACTIVATIONS[activation](z)  # a kernel takes no rule of JAX's
    return RNNCarry(h.astype(carry.h.dtype))


def rnn_step(slope: Array, dcarry: RNNCarry) -> tuple[RNNCarry, tuple[Array, ...], tuple[Array, ...]]:
    """`rnn_jax.bptt.rnn.step`."""
    dz = (dcarry.h * slope,)
    return RNNCarry(jnp.zeros_like(dcarry.h)), dz, dz


def lstm_recur(
    products: tuple[Array, ...], b_hn: Array | None, carry: LSTMCarry, projected: tuple[Array, ...]
) -> LSTMCarry:
    """`rnn_jax.cells.lstm.recur`."""
    z_i, z_f, z_g, z_o = (x + h_w for x, h_w in zip(projected, products, strict=True))
    i, f, o = jax.nn.sigmoid(z_i), jax.nn.sigmoid(z_f), jax.nn.sigmoid(z_o)
    c = (f * carry.c + i * jnp.tanh(z_g)).astype(carry.c.dtype)
    return LSTMCarry((o * jnp.tanh(c)).astype(carry.h.dtype), c)


def lstm_step(local: LSTMLocal, dcarry: LSTMCarry) -> tuple[LSTMCarry, tuple[Array, ...], tuple[Array, ...]]:
    """`rnn_jax.bptt.lstm.step`."""
    i, f, g, o, c_before, tanh_c = local
    dh, dc = dcarry
    do = dh * tanh_c
    dc = dc + dh * o * (1 - tanh_c * tanh_c)
    di, df, dg = dc * g, dc * c_before, dc * i
    dz = (di * i * (1 - i), df * f * (1 - f), dg * (1 - g * g), do * o * (1 - o))
    return LSTMCarry(jnp.zeros_like(dh), dc * f), dz, dz


def gru_recur(
    products: tuple[Array, ...], b_hn: Array | None, carry: GRUCarry, projected: tuple[Array, ...]
) -> GRUCarry:
    """`rnn_jax.cells.gru.recur`."""
    x_r, x_z, x_n = projected
    h_r, h_z, h_n = products
    assert b_hn is not None
    r, z = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + r * (h_n + b_hn))
    return GRUCarry(((1 - z) * n + z * carry.h).astype(carry.h.dtype))


def gru_step(local: GRULocal, dcarry: GRUCarry) -> tuple[GRUCarry, tuple[Array, ...], tuple[Array, ...]]:
    """`rnn_jax.bptt.gru.step`."""
    r, z, n, a_n, h_before = local
    dh = dcarry.h
    dn, dz_gate = dh * (1 - z), dh * (h_before - n)
    dz_n = dn * (1 - n * n)
    dr = dz_n * a_n
    dz_r, dz_z = dr * r * (1 - r), dz_gate * z * (1 - z)
    return GRUCarry(dh * z), (dz_r, dz_z, dz_n), (dz_r, dz_z, dz_n * r)


STEPS: dict[str, Steps[Carry, Any]] = {
    "rnn": Steps(partial(rnn_recur, "tanh"), rnn_step),
    "rnn_relu": Steps(partial(rnn_recur, "relu"), rnn_step),
    "rnn_identity": Steps(partial(rnn_recur, "identity"), rnn_step),
    "lstm": Steps(lstm_recur, lstm_step),
    "gru": Steps(gru_recur, gru_step),
}
"""By the cell's name."""
