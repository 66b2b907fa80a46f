"""`backend="manual"`: the scan with the hand-derived backward pass of `rnn_jax.bptt`, in chunks that stay in cache.

The forward pass stores the carries (h, and c for an LSTM) and nothing else. Both passes walk time in chunks. Per chunk
the forward pass projects the inputs in one product; the backward pass recomputes the gates in one, steps back through
time, and forms the gradients of weights and inputs in one product each. Storing gates instead would cost more than
recomputing them: on a CPU every array that a loop emits costs about as much as the step that makes it.
"""

from functools import partial
from typing import Generic, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnn_jax.backends.refusals import Refusal, of_options
from rnn_jax.bptt import RULES, backward
from rnn_jax.bptt.rule import HC
from rnn_jax.cells import CELLS
from rnn_jax.cells.cell import Cell
from rnn_jax.controls import StepMasks, controlled_step, select, zeros_like
from rnn_jax.segments import like, merge, previous, split, widen
from rnn_jax.types import Array, Carry, P, Params, Projected, tree_map

LARGEST_CHUNK = 64


def has_rule(cell: Cell[Params, Carry]) -> bool:
    """Whether there is a backward pass for this cell; a changed cell is another cell."""
    return cell.name in RULES and cell == CELLS[cell.name]


def refusal(cell: Cell[Params, Carry], params: Params, carry: Carry, xs: Array, masks: StepMasks) -> Refusal | None:
    """Why the hand-derived pass cannot compute this, or None.

    Args: those of `run`, of which shapes and types alone count.
    """
    del params, carry, xs
    if not has_rule(cell):
        return Refusal("cell", f"has no hand-derived rule for this cell, {cell.name!r}: only for {', '.join(RULES)}")
    return of_options(masks, ("zoneout", "perturbations"))


def chunk_length(num_steps: int) -> int:
    """How many steps to take at once: the largest divisor of T from 16 to 64, else 32 with a shorter last chunk.

    >>> chunk_length(500), chunk_length(64), chunk_length(10), chunk_length(997)
    (50, 64, 10, 32)
    """
    if num_steps <= LARGEST_CHUNK:
        return max(num_steps, 1)
    divisors = [k for k in range(16, LARGEST_CHUNK + 1) if num_steps % k == 0]
    return max(divisors, default=32)


def forward(
    cell: Cell[P, HC], reverse: bool, params: P, initial: HC, xs: Array, masks: StepMasks
) -> tuple[HC, Array, HC]:
    """The final carry, ys `[T, *batch, H]` and the carry after each step, arrays `[T, *batch, H]`.

    Args:
        cell: a cell whose carry has an h.
        reverse: from the last step to the first.
        params: the cell's parameters.
        initial: the carry before the first step, arrays `[*batch, H]`.
        xs: inputs `[T, *batch, I]`.
        masks: of all steps.
    """

    def chunk(carry: HC, inputs: tuple[Array, StepMasks]) -> tuple[HC, HC]:
        xs, masks = inputs

        def step(carry: HC, inputs: tuple[Projected, StepMasks]) -> tuple[HC, HC]:
            carry, _ = controlled_step(cell, params, carry, *inputs)
            return carry, carry

        return lax.scan(step, carry, (cell.project(params, xs), masks), reverse=reverse)

    chunks, rest = split((xs, masks), xs.shape[0], chunk_length(xs.shape[0]), reverse)
    carry, carries = lax.scan(chunk, initial, chunks, reverse=reverse)
    carry, last_carries = chunk(carry, rest)
    carries = merge(carries, last_carries, reverse)
    ys = carries.h
    if masks.valid is not None:
        ys = select(masks.valid, ys, jnp.zeros_like(ys))
    return carry, ys, carries


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def run(cell: Cell[P, HC], reverse: bool, params: P, carry: HC, xs: Array, masks: StepMasks) -> tuple[HC, Array]:
    """Runs the cell over xs `[T, *batch, I]`: the final carry and ys `[T, *batch, H]`, with the hand-derived gradient.

    The caller has asked `refusal`.
    """
    return forward(cell, reverse, params, carry, xs, masks)[:2]


class Residuals(NamedTuple, Generic[P, HC]):
    """What the backward pass needs: the arguments of `run`, and the carry after each step, arrays `[T, *batch, H]`."""

    params: P
    initial: HC
    xs: Array
    masks: StepMasks
    carries: HC


def run_forward(
    cell: Cell[P, HC], reverse: bool, params: P, carry: HC, xs: Array, masks: StepMasks
) -> tuple[tuple[HC, Array], Residuals[P, HC]]:
    """`run`, and what its backward pass needs."""
    final, ys, carries = forward(cell, reverse, params, carry, xs, masks)
    return (final, ys), Residuals(params, carry, xs, masks, carries)


def run_backward(
    cell: Cell[P, HC], reverse: bool, residuals: Residuals[P, HC], cotangents: tuple[HC, Array]
) -> tuple[P, HC, Array, None]:
    """The gradient of every array that `run` takes from a derivative with respect to every output."""
    params, initial, xs, masks, carries = residuals
    dfinal, dys = cotangents

    def chunk(state: tuple[HC, P], inputs: tuple[HC, Array, HC, Array, StepMasks]) -> tuple[tuple[HC, P], Array]:
        dcarry, dparams = state
        start, xs, carries, dys, masks = inputs
        gradients = backward(RULES[cell.name], params, xs, start, carries, dys, dcarry, masks, reverse)
        return (gradients.carry, tree_map(jnp.add, dparams, like(gradients.params, dparams))), gradients.xs

    chunks, rest = split((xs, carries, dys, masks), xs.shape[0], chunk_length(xs.shape[0]), reverse)
    # The carry at the start of each chunk is the one at the end of the chunk before it.
    ends = tree_map(lambda c: c[:, 0 if reverse else -1], chunks[1])
    starts = previous(initial, ends, reverse)
    rest_start = tree_map(lambda i, e: e[0 if reverse else -1] if e.shape[0] else i, initial, ends)

    state = (widen(dfinal), widen(zeros_like(params)))
    state, rest_dxs = chunk(state, (rest_start, *rest))
    (dcarry, dparams), dxs = lax.scan(chunk, state, (starts, *chunks), reverse=not reverse)
    dxs = merge(dxs, rest_dxs, reverse)
    return like(dparams, params), like(dcarry, initial), dxs.astype(xs.dtype), None


run.defvjp(run_forward, run_backward)
