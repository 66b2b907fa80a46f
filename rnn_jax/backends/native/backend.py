"""`backend="native"`: the loops of `rnn_jax.backends.native`, for a CPU and float32, forward and backward.

Keeps the gates of every step for the backward pass, `[T, B, 5 H]` floats for an LSTM and `[T, B, 4 H]` for a GRU;
`checkpoint_every` needs less memory, as everywhere. The gradient of a single step is that of `manual`: nothing is worth
packing for it.
"""

from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.backends import device, manual
from rnn_jax.backends.derivatives import Passes, by_hand
from rnn_jax.backends.native import library, partitioned
from rnn_jax.backends.refusals import (
    OPTIONS,
    Refusal,
    of_nothing_to_run,
    of_options,
    of_other_than_float32,
    of_symbolic_sizes,
)
from rnn_jax.cells import CELLS
from rnn_jax.cells.cell import Cell
from rnn_jax.cells.gru import GRUCarry, GRUParams
from rnn_jax.cells.lstm import LSTMCarry, LSTMParams
from rnn_jax.cells.rnn import RNNCarry, RNNParams
from rnn_jax.controls import StepMasks, length_mask, select
from rnn_jax.sharding import vary, varying
from rnn_jax.types import Array, Carry, Params, tree_map

KnownParams = RNNParams | LSTMParams | GRUParams
KnownCarry = RNNCarry | LSTMCarry | GRUCarry
KnownCell = Cell[KnownParams, KnownCarry]


class Kind(NamedTuple):
    """What the library has of a cell: values it keeps of each unit for the backward pass, and blocks of H biases."""

    saved: int
    biases: int


KINDS = {"rnn": Kind(0, 1), "rnn_relu": Kind(0, 1), "rnn_identity": Kind(0, 1), "lstm": Kind(5, 4), "gru": Kind(4, 4)}


FEW_SEQUENCES = 8
"""Up to how many the weights are not packed for a single step: `kFewSequences` of step.h."""


def refusal(cell: Cell[Params, Carry], params: Params, carry: Carry, xs: Array, masks: StepMasks) -> Refusal | None:
    """Why the loops cannot compute this, or None.

    Args: those of `run`, of which shapes and types alone count.
    """
    if cell.name not in KINDS or cell != CELLS[cell.name]:
        return Refusal("cell", f"has no loop for this cell, {cell.name!r}: only for {', '.join(KINDS)}")
    return (
        of_options(masks, OPTIONS)
        or of_symbolic_sizes(xs)
        or of_nothing_to_run(params, xs)
        or of_other_than_float32(params, carry, xs)
        or of_this_machine()
    )


def of_this_machine() -> Refusal | None:
    """Why this machine cannot run the loops, or None."""
    if device.kind() != "cpu":
        return Refusal("device", f"is for a CPU, and this is {device.kind()}")
    if library.vector_width() is None:
        return Refusal(
            "device", "is not compiled: install g++ or clang++, or see what python -m rnn_jax.backends.native says"
        )
    return None


def run(
    cell: KnownCell, reverse: bool, params: KnownParams, carry: KnownCarry, xs: Array, masks: StepMasks
) -> tuple[KnownCarry, Array]:
    """Runs the cell over xs `[T, *batch, I]`: the final carry and ys `[T, *batch, H]`.

    The caller has asked `refusal`.
    """
    num_steps, *batch_shape, _ = xs.shape
    flat = xs.reshape(num_steps, -1, xs.shape[-1])
    lengths = vary(jnp.full(flat.shape[1], num_steps, jnp.int32), varying(xs))
    if masks.valid is not None:
        lengths = masks.valid.reshape(num_steps, -1).sum(0, dtype=jnp.int32)
    flat_carry = tree_map(lambda a: a.reshape(-1, a.shape[-1]), carry)
    there, back = (forward, backward) if num_steps > 1 else (step, step_back)
    passes = Passes(partial(definition, cell, reverse), partial(there, cell, reverse), partial(back, cell, reverse))
    final, hs = by_hand(passes, (params, flat_carry, flat), lengths)
    ys = hs.reshape(num_steps, *batch_shape, -1)
    if masks.valid is not None:
        ys = select(masks.valid, ys, jnp.zeros_like(ys))
    return tree_map(lambda a, b: a.reshape(b.shape), final, carry), ys


def definition(
    cell: KnownCell, reverse: bool, args: tuple[KnownParams, KnownCarry, Array], lengths: Array
) -> tuple[KnownCarry, Array]:
    """What `forward` computes, as JAX differentiates it: the final carry, and h after each step, `[T, B, H]`."""
    masks = StepMasks(valid=length_mask(lengths, args[2].shape[0]))
    final, _, carries = manual.forward(cell, reverse, *args, masks)
    return final, carries.h


def forward(
    cell: KnownCell, reverse: bool, args: tuple[KnownParams, KnownCarry, Array], lengths: Array, save: bool
) -> tuple[tuple[KnownCarry, Array], tuple[Array, ...]]:
    """For xs `[T, B, I]` and lengths `[B]` the final carry and h after each step `[T, B, H]`, held past the end; and
    what the backward pass needs: that h, and the gates in the library's own order, left out without `save`."""
    params, carry, xs = args
    hidden_size, width = params.w_hh.shape[0], library.vector_width()
    assert width is not None
    padded = -(-hidden_size // width) * width
    recurrent = jnp.zeros_like(params.b)
    if isinstance(params, GRUParams):
        recurrent = recurrent.at[2 * hidden_size :].set(params.b_hn)
    arguments = (xs, params.w_ih, params.w_hh, params.b, recurrent, carry[0], carry[-1], lengths)
    saved_size = KINDS[cell.name].saved * padded if save else None
    hs, c, *saved = partitioned.call(forward_loops(cell.name, reverse, saved_size), *arguments)
    h = hs[0 if reverse else -1]
    final = LSTMCarry(h, c) if isinstance(carry, LSTMCarry) else carry._replace(h=h)
    return (final, hs), (hs, *saved)


def backward(
    cell: KnownCell,
    reverse: bool,
    args: tuple[KnownParams, KnownCarry, Array],
    lengths: Array,
    saved: tuple[Array, ...],
    cotangents: tuple[KnownCarry, Array],
) -> tuple[KnownParams, KnownCarry, Array]:
    """The derivative of the loss with respect to params, carry and xs, from that to the final carry and to hs."""
    params, carry, xs = args
    hs, gates = saved
    dfinal, dhs = cotangents
    hidden_size = params.w_hh.shape[0]
    arguments = (xs, params.w_ih, params.w_hh, carry[0], carry[-1], lengths, hs, gates, dhs, dfinal[0], dfinal[-1])
    dw_ih, dw_hh, db, dxs, *dcarry = partitioned.call(backward_loops(cell.name, reverse), *arguments)
    if isinstance(params, GRUParams):
        return GRUParams(dw_ih, dw_hh, db[hidden_size:], db[:hidden_size]), type(carry)(*dcarry[: len(carry)]), dxs
    return type(params)(dw_ih, dw_hh, db), type(carry)(*dcarry[: len(carry)]), dxs


def step(
    cell: KnownCell, reverse: bool, args: tuple[KnownParams, KnownCarry, Array], lengths: Array, save: bool
) -> tuple[tuple[KnownCarry, Array], KnownCarry]:
    """`forward` of a single step, without gates: its backward pass needs the carry after it."""
    del save
    outputs, _ = forward(cell, reverse, args, lengths, False)
    return outputs, outputs[0]


def step_back(
    cell: KnownCell,
    reverse: bool,
    args: tuple[KnownParams, KnownCarry, Array],
    lengths: Array,
    carry: KnownCarry,
    cotangents: tuple[KnownCarry, Array],
) -> tuple[KnownParams, KnownCarry, Array]:
    """`backward` of a single step, from the carry after it."""
    masks = StepMasks(valid=length_mask(lengths, 1))
    return manual.back(cell, reverse, args, masks, tree_map(lambda a: a[None], carry), cotangents)


@cache
def forward_loops(name: str, reverse: bool, saved_size: int | None) -> partitioned.Layout:
    """The library's forward pass of the cell of that name, of arrays: to hs, c and, where a size is given, gates."""

    def function(*arguments: Array) -> tuple[Array, ...]:
        xs, carry = arguments[0], arguments[5]
        saved_shape = (0,) if saved_size is None else (*xs.shape[:2], saved_size)
        found = call(
            library.FORWARD, ((*xs.shape[:2], carry.shape[1]), carry.shape, saved_shape), name, reverse, arguments
        )
        return found[: len(results)]

    results = ("t b h", "b h") if saved_size is None else ("t b h", "b h", "t b s")
    return partitioned.Layout(function, ("t b i", "i g", "h g", "g", "g", "b h", "b h", "b"), results)


@cache
def backward_loops(name: str, reverse: bool) -> partitioned.Layout:
    """The library's backward pass of the cell of that name, of arrays."""

    def function(*arguments: Array) -> tuple[Array, ...]:
        xs, w_ih, w_hh, carry = arguments[:4]
        biases = (KINDS[name].biases * w_hh.shape[0],)
        shapes = (w_ih.shape, w_hh.shape, biases, xs.shape, carry.shape, carry.shape)
        return call(library.BACKWARD, shapes, name, reverse, arguments)

    arguments = ("t b i", "i g", "h g", "b h", "b h", "b", "t b h", "t b s", "t b h", "b h", "b h")
    return partitioned.Layout(function, arguments, ("i g", "h g", "f", "t b i", "b h", "b h"))


def call(
    name: str, shapes: tuple[tuple[int, ...], ...], cell: str, reverse: bool, arguments: tuple[Array, ...]
) -> tuple[Array, ...]:
    """The library's function of that name, for that cell: results of these shapes."""
    results = tuple(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    function = jax.ffi.ffi_call(name, results, vmap_method="sequential")
    return tuple(function(*arguments, cell=cell, reverse=reverse))
