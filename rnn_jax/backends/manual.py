"""`backend="manual"`: the scan with the hand-derived backward pass of `rnn_jax.bptt`, in chunks that stay in cache.

The forward pass stores the carries (h, and c for an LSTM) and nothing else. Both passes walk time in chunks. Per chunk
the forward pass projects the inputs in one product; the backward pass recomputes the gates in one, steps back through
time, and forms the gradients of weights and inputs in one product each. Storing gates instead would cost more than
recomputing them: on a CPU every array that a loop emits costs about as much as the step that makes it.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from rnn_jax.backends.refusals import Refusal, of_options
from rnn_jax.bptt import RULES, backward
from rnn_jax.cells import CELLS
from rnn_jax.cells.cell import Cell
from rnn_jax.controls import StepMasks, controlled_step, select
from rnn_jax.segments import like, merge, previous, split, widen
from rnn_jax.types import Array, Carry, Params

LARGEST_CHUNK = 64


def has_rule(cell: Cell) -> bool:
    """Whether there is a backward pass for this cell; a changed cell is another cell."""
    return cell.name in RULES and cell == CELLS[cell.name]


def refusal(cell: Cell, params: Params, carry: Carry, xs: Array, masks: StepMasks) -> Refusal | None:
    """Why the hand-derived pass cannot compute this, or None.

    Args: those of `run`, of which shapes and types alone count.
    """
    del params, carry, xs
    if not has_rule(cell):
        known = ", ".join(f"cells.get({name!r})" for name in RULES)
        return Refusal("cell", f"has no hand-derived rule for this cell, {cell.name!r}: only for {known}")
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
    cell: Cell, reverse: bool, params: Params, initial: Carry, xs: Array, masks: StepMasks
) -> tuple[Carry, Array, Carry]:
    """The final carry, ys `[T, B, H]` and the carry after each step, arrays `[T, B, H]`."""

    def chunk(carry: Carry, inputs: tuple[Array, StepMasks]) -> tuple[Carry, Carry]:
        xs, masks = inputs

        def step(carry, inputs):
            carry, _ = controlled_step(cell, params, carry, *inputs)
            return carry, carry

        return lax.scan(step, carry, (cell.project(params, xs), masks), reverse=reverse)

    chunks, rest = split((xs, masks), xs.shape[0], chunk_length(xs.shape[0]), reverse)
    carry, carries = lax.scan(chunk, initial, chunks, reverse=reverse)
    carry, last_carries = chunk(carry, rest)
    carries = merge(carries, last_carries, reverse)
    ys = carries.h  # of every cell with a rule
    if masks.valid is not None:
        ys = select(masks.valid, ys, jnp.zeros_like(ys))
    return carry, ys, carries


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def run(cell: Cell, reverse: bool, params: Params, carry: Carry, xs: Array, masks: StepMasks) -> tuple[Carry, Array]:
    """Runs the cell over xs `[T, B, I]`: the final carry and ys `[T, B, H]`, with the hand-derived gradient.

    The caller has asked `refusal`.
    """
    return forward(cell, reverse, params, carry, xs, masks)[:2]


def run_forward(cell, reverse, params, carry, xs, masks):
    """`run`, and what the backward pass needs of it."""
    final, ys, carries = forward(cell, reverse, params, carry, xs, masks)
    return (final, ys), (params, carry, xs, masks, carries)


def run_backward(cell, reverse, residuals, cotangents):
    """The gradient of every array that `run` takes from a derivative with respect to every output."""
    params, initial, xs, masks, carries = residuals
    dfinal, dys = cotangents

    def chunk(state, inputs):
        dcarry, dparams = state
        start, xs, carries, dys, masks = inputs
        gradients = backward(RULES[cell.name], params, xs, start, carries, dys, dcarry, masks, reverse)
        return (gradients.carry, jax.tree.map(jnp.add, dparams, like(gradients.params, dparams))), gradients.xs

    chunks, rest = split((xs, carries, dys, masks), xs.shape[0], chunk_length(xs.shape[0]), reverse)
    # The carry at the start of each chunk is the one at the end of the chunk before it.
    ends = jax.tree.map(lambda c: c[:, 0 if reverse else -1], chunks[1])
    starts = previous(initial, ends, reverse)
    rest_start = jax.tree.map(lambda i, e: e[0 if reverse else -1] if e.shape[0] else i, initial, ends)

    state = (widen(dfinal), widen(jax.tree.map(jnp.zeros_like, params)))
    state, rest_dxs = chunk(state, (rest_start, *rest))
    (dcarry, dparams), dxs = lax.scan(chunk, state, (starts, *chunks), reverse=not reverse)
    dxs = merge(dxs, rest_dxs, reverse)
    return like(dparams, params), like(dcarry, initial), dxs.astype(xs.dtype), None


run.defvjp(run_forward, run_backward)
