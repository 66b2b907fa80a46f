"""`backend="scan"`: the definition. One `lax.scan`, differentiated by JAX."""

import jax
import jax.numpy as jnp
from jax import lax

from rnn_jax.cells.cell import Cell
from rnn_jax.sequence import Controls, like, select, widen, zeros_like
from rnn_jax.types import Array, Carry, Params, Projected


def controlled_step(
    cell: Cell, params: Params, carry: Carry, projected: Projected, controls: Controls
) -> tuple[Carry, Array]:
    """One step of the cell between its controls: projected `[*batch, ...]` to the new carry and y `[*batch, H]`."""
    if controls.cut is not None:
        carry = select(controls.cut, lax.stop_gradient(carry), carry)
    held = carry
    if controls.reset is not None:
        carry = select(controls.reset, zeros_like(carry), carry)
    before = carry
    carry, y = cell.recur(params, carry, projected)
    if controls.zoneout is not None:
        share = controls.zoneout
        carry = jax.tree.map(lambda a, b: ((1 - share) * a + share * b).astype(b.dtype), carry, before)
        y = carry.h
    if controls.taps is not None:
        carry = jax.tree.map(lambda a, tap: a + tap.astype(a.dtype), carry, controls.taps)
        y = carry.h
    if controls.valid is not None:
        carry = select(controls.valid, carry, held)
        y = select(controls.valid, y, jnp.zeros_like(y))
    return carry, y


def refusal(cell: Cell, params: Params, carry: Carry, xs: Array, controls: Controls) -> None:
    """None: the scan computes whatever there is."""
    del cell, params, carry, xs, controls


def run(cell: Cell, reverse: bool, params: Params, carry: Carry, xs: Array, controls: Controls) -> tuple[Carry, Array]:
    """Runs the cell over xs `[T, *batch, I]`: the final carry and ys `[T, *batch, H]`."""

    wide = widen(params)  # narrowed inside the loop, so that the loop's sum of their gradients is wide

    def step(carry: Carry, inputs: tuple[Projected, Controls]) -> tuple[Carry, Array]:
        return controlled_step(cell, like(wide, params), carry, *inputs)

    return jax.lax.scan(step, carry, (cell.project(params, xs), controls), reverse=reverse)
