"""Backpropagation through time with a hand-derived rule: the loop that all cells share.

docs/bptt.md, section "Through time", has the same lines. Nothing here is differentiated by JAX.

Source: Werbos, "Backpropagation through time: what it does and how to do it", 1990.
"""

from collections.abc import Callable
from functools import partial
from typing import Generic, NamedTuple, TypeVar

import jax

from rnn_jax.bptt.rule import Local, Rule, at_h
from rnn_jax.controls import StepMasks, select, zeros_like
from rnn_jax.segments import like, previous, widen
from rnn_jax.types import Array, C, Carry, P

DZ = TypeVar("DZ")


class Gradients(NamedTuple, Generic[P, C]):
    """Derivatives of the loss: of the parameters' shapes, of the initial carry's, and `[T, B, I]`."""

    params: P
    carry: C
    xs: Array


def controlled_step_back(
    step: Callable[[Local, C], tuple[C, DZ]],
    dcarry: C,
    local: Local,
    dy: Array,
    now: StepMasks,
    emit: Callable[[C, Array], C] = at_h,
) -> tuple[C, DZ]:
    """One step back between its masks: dcarry, as the later steps left it, to that of the step before, and dz.

    Args:
        step: `Rule.step` with its parameters.
        dcarry: dL/dcarry_t through all later steps, arrays `[B, H]`.
        local: what `step` needs to know of the forward step.
        dy: dL/dy_t, `[B, H]`.
        now: the masks of this step, `[B]` each.
        emit: `Rule.emit`.

    Returns: dL/dcarry_{t-1}, arrays `[B, H]`, and what `step` gives beside it, dz_t `[B, G*H]`.
    """
    dafter = emit(dcarry, dy)  # y_t = h_t in most cells
    if now.valid is not None:  # padding took no step: nothing reaches its gates or its weights
        dafter = select(now.valid, dafter, zeros_like(dafter))
    dbefore, dz = step(local, dafter)
    dbefore = like(dbefore, dcarry)  # inputs wider than the parameters make wider gates
    if now.reset is not None:  # the step began from zeros, not from the carry
        dbefore = select(now.reset, zeros_like(dbefore), dbefore)
    if now.valid is not None:  # padding handed the carry on as it was
        dbefore = select(now.valid, dbefore, dcarry)
    if now.truncate is not None:
        dbefore = select(now.truncate, zeros_like(dbefore), dbefore)
    return dbefore, dz


def scan_back(
    rule: Rule[P, C, Local], params: P, local: Local, dys: Array, dfinal: C, masks: StepMasks, reverse: bool
) -> tuple[C, Array]:
    """All steps back, in a scan: dL/d(initial carry), arrays `[B, H]`, and dz `[T, B, G*H]`."""

    def step(dcarry: C, inputs: tuple[Local, Array, StepMasks]) -> tuple[C, Array]:
        return controlled_step_back(partial(rule.step, params), dcarry, *inputs, rule.emit)

    return jax.lax.scan(step, widen(dfinal), (local, dys, masks), reverse=not reverse)


def backward(
    rule: Rule[P, C, Local],
    params: P,
    xs: Array,
    initial: C,
    carries: C,
    dys: Array,
    dfinal: C,
    masks: StepMasks,
    reverse: bool = False,
    loop: Callable[..., tuple[Carry, Array]] = scan_back,
) -> Gradients[P, C]:
    """The gradient of a loss through T steps of a cell, from its derivatives with respect to every output.

    Args:
        rule: the cell's backward step.
        params: the cell's parameters.
        xs: inputs `[T, B, I]`, finite also where they are padding.
        initial: the carry before the first step, arrays `[B, H]`.
        carries: the carry after each step, arrays `[T, B, H]`.
        dys: dL/dy_t, `[T, B, H]`.
        dfinal: dL/d(final carry), arrays `[B, H]`.
        masks: padding, resets and cuts of the forward pass.
        reverse: whether the forward pass ran from the last step to the first.
        loop: takes the steps back: `scan_back`, or something else with its signature.

    Returns: `Gradients`, summed in float32 or wider.
    """
    before = previous(initial, carries, reverse)
    if masks.reset is not None:
        before = select(masks.reset, zeros_like(before), before)
    local = rule.recompute(params, xs, before, carries)

    dinitial, dz = loop(rule, params, local, dys, dfinal, masks, reverse)
    return Gradients(rule.weights(xs, before, local, dz), dinitial, rule.inputs(params, dz))
