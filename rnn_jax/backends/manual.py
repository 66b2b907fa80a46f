"""`backend="manual"`: the scan with the hand-derived backward pass of `rnn_jax.bptt`, in chunks that stay in cache.

The forward pass stores the carries (h, and c for an LSTM) and nothing else. Both passes walk time in chunks. Per chunk
the forward pass projects the inputs in one product; the backward pass recomputes the gates in one, steps back through
time, and forms the gradients of weights and inputs in one product each. Storing gates instead would cost more than
recomputing them: on a CPU every array that a loop emits costs about as much as the step that makes it.
"""

from functools import partial

import jax.numpy as jnp
from jax import lax

from rnn_jax.backends import scan
from rnn_jax.backends.derivatives import Passes, by_hand
from rnn_jax.backends.refusals import Refusal, of_options, of_symbolic_sizes
from rnn_jax.bptt import RULES, backward, rule_of
from rnn_jax.cells.cell import Cell
from rnn_jax.controls import StepMasks, controlled_step, select, zeros_like
from rnn_jax.segments import like, merge, previous, split, widen
from rnn_jax.types import Array, C, Carry, P, Params, Projected, tree_map

LARGEST_CHUNK = 64
TIME = slice(0, 1)
"""Of the sizes of xs, the one that chunks are cut from."""


def refusal(cell: Cell[Params, Carry], params: Params, carry: Carry, xs: Array, masks: StepMasks) -> Refusal | None:
    """Why the hand-derived pass cannot compute this, or None.

    Args: those of `run`, of which shapes and types alone count.
    """
    del params, carry
    if rule_of(cell) is None:
        return Refusal("cell", f"has no hand-derived rule for this cell, {cell.name!r}: only for {', '.join(RULES)}")
    return of_options(masks, ("zoneout", "perturbations")) or of_symbolic_sizes(xs, TIME)


def chunk_length(num_steps: int) -> int:
    """How many steps to take at once: the largest divisor of T from 16 to 64, else 32 with a shorter last chunk.

    >>> chunk_length(500), chunk_length(64), chunk_length(10), chunk_length(997)
    (50, 64, 10, 32)
    """
    if num_steps <= LARGEST_CHUNK:
        return max(num_steps, 1)
    divisors = [k for k in range(16, LARGEST_CHUNK + 1) if num_steps % k == 0]
    return max(divisors, default=32)


def forward(cell: Cell[P, C], reverse: bool, params: P, initial: C, xs: Array, masks: StepMasks) -> tuple[C, Array, C]:
    """The final carry, ys `[T, *batch, H]` and the carry after each step, arrays `[T, *batch, H]`.

    Args:
        cell: a cell with an `output`.
        reverse: from the last step to the first.
        params: the cell's parameters.
        initial: the carry before the first step, arrays `[*batch, H]`.
        xs: inputs `[T, *batch, I]`.
        masks: of all steps.
    """

    def chunk(carry: C, inputs: tuple[Array, StepMasks]) -> tuple[C, C]:
        xs, masks = inputs

        def step(carry: C, inputs: tuple[Projected, StepMasks]) -> tuple[C, C]:
            carry, _ = controlled_step(cell, params, carry, *inputs)
            return carry, carry

        return lax.scan(step, carry, (cell.project(params, xs), masks), reverse=reverse)

    chunks, rest = split((xs, masks), xs.shape[0], chunk_length(xs.shape[0]), reverse)
    carry, carries = lax.scan(chunk, initial, chunks, reverse=reverse)
    carry, last_carries = chunk(carry, rest)
    carries = merge(carries, last_carries, reverse)
    assert cell.output is not None
    ys = cell.output(carries)
    if masks.valid is not None:
        ys = select(masks.valid, ys, jnp.zeros_like(ys))
    return carry, ys, carries


def run(cell: Cell[P, C], reverse: bool, params: P, carry: C, xs: Array, masks: StepMasks) -> tuple[C, Array]:
    """Runs the cell over xs `[T, *batch, I]`: the final carry and ys `[T, *batch, H]`, with the hand-derived gradient.

    The caller has asked `refusal`.
    """
    passes = Passes(partial(definition, cell, reverse), partial(saving, cell, reverse), partial(back, cell, reverse))
    found: tuple[C, Array] = by_hand(passes, (params, carry, xs), masks)
    return found


def definition(cell: Cell[P, C], reverse: bool, args: tuple[P, C, Array], masks: StepMasks) -> tuple[C, Array]:
    """What `run` computes, as JAX differentiates it."""
    return scan.run(cell, reverse, *args, masks)


def saving(
    cell: Cell[P, C], reverse: bool, args: tuple[P, C, Array], masks: StepMasks, save: bool
) -> tuple[tuple[C, Array], C]:
    """The outputs of `run`, and what its backward pass needs: the carry after each step, arrays `[T, *batch, H]`."""
    del save  # a scan's output that nobody reads costs nothing
    final, ys, carries = forward(cell, reverse, *args, masks)
    return (final, ys), carries


def back(
    cell: Cell[P, C],
    reverse: bool,
    args: tuple[P, C, Array],
    masks: StepMasks,
    carries: C,
    cotangents: tuple[C, Array],
) -> tuple[P, C, Array]:
    """The gradient of every array of `args` from a derivative with respect to every output of `run`."""
    rule = rule_of(cell)
    assert rule is not None
    params, initial, xs = args
    dfinal, dys = cotangents

    def chunk(state: tuple[C, P], inputs: tuple[C, Array, C, Array, StepMasks]) -> tuple[tuple[C, P], Array]:
        dcarry, dparams = state
        start, xs, carries, dys, masks = inputs
        gradients = backward(rule, params, xs, start, carries, dys, dcarry, masks, reverse)
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
    return like(dparams, params), like(dcarry, initial), dxs.astype(xs.dtype)
