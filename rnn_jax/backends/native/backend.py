"""`backend="native"`: the loops of `rnn_jax.backends.native`, for a CPU and float32, forward and backward.

Keeps the gates of every step for the backward pass, `[T, B, 5 H]` floats for an LSTM and `[T, B, 4 H]` for a GRU;
`checkpoint_every` needs less memory, as everywhere.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.backends import device, manual
from rnn_jax.backends.native import library
from rnn_jax.backends.refusals import OPTIONS, Refusal, of_nothing_to_run, of_options, of_other_than_float32
from rnn_jax.cells.cell import Cell
from rnn_jax.cells.gru import GRUCarry, GRUParams
from rnn_jax.cells.lstm import LSTMCarry, LSTMParams
from rnn_jax.cells.rnn import RNNCarry, RNNParams
from rnn_jax.controls import StepMasks, length_mask, select, zeros_like
from rnn_jax.types import Array, Carry, Params, tree_map

KnownParams = RNNParams | LSTMParams | GRUParams
KnownCarry = RNNCarry | LSTMCarry | GRUCarry
KnownCell = Cell[KnownParams, KnownCarry]


class Kind(NamedTuple):
    """What the library has of a cell: values it keeps of each unit for the backward pass, and blocks of H biases."""

    saved: int
    biases: int


KINDS = {"rnn": Kind(0, 1), "rnn_relu": Kind(0, 1), "rnn_identity": Kind(0, 1), "lstm": Kind(5, 4), "gru": Kind(4, 4)}


def refusal(cell: Cell[Params, Carry], params: Params, carry: Carry, xs: Array, masks: StepMasks) -> Refusal | None:
    """Why the loops cannot compute this, or None.

    Args: those of `run`, of which shapes and types alone count.
    """
    if cell.name not in KINDS or not manual.has_rule(cell):
        return Refusal("cell", f"has no loop for this cell, {cell.name!r}: only for {', '.join(KINDS)}")
    return (
        of_options(masks, OPTIONS)
        or of_nothing_to_run(params, xs)
        or of_other_than_float32(params, carry, xs)
        or of_this_machine()
    )


def of_this_machine() -> Refusal | None:
    """Why this machine cannot run the loops, or None."""
    if device.kind() != "cpu":
        return Refusal("device", f"is for a CPU, and this is {device.kind()}")
    if library.vector_width() is None:
        return Refusal("device", "is not compiled: python -m rnn_jax.backends.native")
    return None


def run(
    cell: KnownCell, reverse: bool, params: KnownParams, carry: KnownCarry, xs: Array, masks: StepMasks
) -> tuple[KnownCarry, Array]:
    """Runs the cell over xs `[T, *batch, I]`: the final carry and ys `[T, *batch, H]`.

    The caller has asked `refusal`.
    """
    num_steps, *batch_shape, _ = xs.shape
    flat = xs.reshape(num_steps, -1, xs.shape[-1])
    lengths = jnp.full(flat.shape[1], num_steps, jnp.int32)
    if masks.valid is not None:
        lengths = masks.valid.reshape(num_steps, -1).sum(0, dtype=jnp.int32)
    flat_carry = tree_map(lambda a: a.reshape(-1, a.shape[-1]), carry)
    final, hs, _ = forward(cell, reverse, False, params, flat_carry, flat, lengths)
    ys = hs.reshape(num_steps, *batch_shape, -1)
    if masks.valid is not None:
        ys = select(masks.valid, ys, jnp.zeros_like(ys))
    return tree_map(lambda a, b: a.reshape(b.shape), final, carry), ys


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def forward(
    cell: KnownCell, reverse: bool, save: bool, params: KnownParams, carry: KnownCarry, xs: Array, lengths: Array
) -> tuple[KnownCarry, Array, Array]:
    """For xs `[T, B, I]` and lengths `[B]` the final carry, h after each step `[T, B, H]`, held past the end, and what
    the backward pass needs, in the library's own order; empty without `save`."""
    num_steps, batch_size, _ = xs.shape
    hidden_size, width = params.w_hh.shape[0], library.vector_width()
    assert width is not None
    padded = -(-hidden_size // width) * width
    recurrent = jnp.zeros_like(params.b)
    if isinstance(params, GRUParams):
        recurrent = recurrent.at[2 * hidden_size :].set(params.b_hn)
    saved_shape = (num_steps, batch_size, KINDS[cell.name].saved * padded) if save else (0,)
    shapes = ((num_steps, batch_size, hidden_size), (batch_size, hidden_size), saved_shape)
    arguments = (xs, params.w_ih, params.w_hh, params.b, recurrent, carry[0], carry[-1], lengths)
    hs, c, saved = call(library.FORWARD, shapes, cell, reverse, arguments)
    h = hs[0 if reverse else -1]
    final = LSTMCarry(h, c) if isinstance(carry, LSTMCarry) else carry._replace(h=h)
    return final, hs, saved


def call(
    name: str, shapes: tuple[tuple[int, ...], ...], cell: KnownCell, reverse: bool, arguments: tuple[Array, ...]
) -> Sequence[Array]:
    """The library's function of that name: results of these shapes."""
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.ffi.ffi_call(name, results, vmap_method="sequential")(*arguments, cell=cell.name, reverse=reverse)


class Residuals(NamedTuple):
    """What the backward pass needs: the arguments of `forward`, h after each step, and what the library has saved."""

    params: KnownParams
    carry: KnownCarry
    xs: Array
    lengths: Array
    hs: Array
    saved: Array


def run_forward(
    cell: KnownCell, reverse: bool, save: bool, params: KnownParams, carry: KnownCarry, xs: Array, lengths: Array
) -> tuple[tuple[KnownCarry, Array, Array], Residuals]:
    """`forward`, and what its backward pass needs."""
    final, hs, saved = forward(cell, reverse, True, params, carry, xs, lengths)
    return (final, hs, saved if save else saved.ravel()[:0]), Residuals(params, carry, xs, lengths, hs, saved)


def run_backward(
    cell: KnownCell, reverse: bool, save: bool, residuals: Residuals, cotangents: tuple[KnownCarry, Array, Array]
) -> tuple[KnownParams, KnownCarry, Array, None]:
    """The gradient of every array that `forward` takes from a derivative with respect to its outputs."""
    dfinal, dhs, _ = cotangents
    return *gradient(cell, reverse, residuals, dfinal, dhs), None


forward.defvjp(run_forward, run_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def gradient(
    cell: KnownCell, reverse: bool, residuals: Residuals, dfinal: KnownCarry, dhs: Array
) -> tuple[KnownParams, KnownCarry, Array]:
    """The derivative of the loss with respect to params, carry and xs, from that to the final carry and to hs."""
    params, carry, xs, lengths, hs, saved = residuals
    hidden_size = params.w_hh.shape[0]
    biases = (KINDS[cell.name].biases * hidden_size,)
    shapes = (params.w_ih.shape, params.w_hh.shape, biases, xs.shape, carry.h.shape, carry.h.shape)
    arguments = (xs, params.w_ih, params.w_hh, carry[0], carry[-1], lengths, hs, saved, dhs, dfinal[0], dfinal[-1])
    dw_ih, dw_hh, db, dxs, *dcarry = call(library.BACKWARD, shapes, cell, reverse, arguments)
    if isinstance(params, GRUParams):
        return GRUParams(dw_ih, dw_hh, db[hidden_size:], db[:hidden_size]), type(carry)(*dcarry[: len(carry)]), dxs
    return type(params)(dw_ih, dw_hh, db), type(carry)(*dcarry[: len(carry)]), dxs


def gradient_forward(
    cell: KnownCell, reverse: bool, residuals: Residuals, dfinal: KnownCarry, dhs: Array
) -> tuple[tuple[KnownParams, KnownCarry, Array], tuple[Residuals, KnownCarry, Array]]:
    """`gradient`, and what is needed to differentiate it."""
    return gradient(cell, reverse, residuals, dfinal, dhs), (residuals, dfinal, dhs)


def gradient_backward(
    cell: KnownCell,
    reverse: bool,
    taken: tuple[Residuals, KnownCarry, Array],
    cotangents: tuple[KnownParams, KnownCarry, Array],
) -> tuple[Residuals, KnownCarry, Array]:
    """Second derivatives are those of the manual back end: of the same function, so that hs and saved have none."""
    residuals, dfinal, dhs = taken
    masks = StepMasks(valid=length_mask(residuals.lengths, residuals.xs.shape[0]))

    def same(
        params: KnownParams, carry: KnownCarry, xs: Array, dfinal: KnownCarry, dhs: Array
    ) -> tuple[KnownParams, KnownCarry, Array]:
        def run(params: KnownParams, carry: KnownCarry, xs: Array) -> tuple[KnownCarry, Array]:
            final, _, carries = manual.forward(cell, reverse, params, carry, xs, masks)
            return final, carries.h

        found: tuple[KnownParams, KnownCarry, Array] = jax.vjp(run, params, carry, xs)[1]((dfinal, dhs))
        return found

    _, pull_back = jax.vjp(same, residuals.params, residuals.carry, residuals.xs, dfinal, dhs)
    dparams, dcarry, dxs, ddfinal, ddhs = pull_back(cotangents)
    dhs_saved = zeros_like((residuals.hs, residuals.saved))
    dlengths = None  # of integers there is none
    return Residuals(dparams, dcarry, dxs, dlengths, *dhs_saved), ddfinal, ddhs  # type: ignore[arg-type]


gradient.defvjp(gradient_forward, gradient_backward)
