"""`backend="associative"`: all steps at once, for cells whose carry moves linearly.

Lengths and resets are coefficients too: padding has a = 1 and b = 0, a reset a = 0. See `rnn_jax.cells.linear`.
"""

from typing import Any

import jax.numpy as jnp

from rnn_jax.backends.refusals import Refusal, of_options
from rnn_jax.cells import CELLS, linear, lru, mingru, minlstm
from rnn_jax.cells.cell import Cell
from rnn_jax.controls import StepMasks, select
from rnn_jax.types import Array, C, Carry, P, Params, tree_map

LINEAR: dict[str, linear.Linear[Any, Any]] = {"mingru": mingru.LINEAR, "minlstm": minlstm.LINEAR, "lru": lru.LINEAR}
"""The cells that it computes."""

LACKING = ("truncate_every", "zoneout", "perturbations")
"""What changes a carry between steps, which here do not exist one by one."""


def refusal(cell: Cell[Params, Carry], params: Params, carry: Carry, xs: Array, masks: StepMasks) -> Refusal | None:
    """Why it cannot compute this: another cell, or an option that it lacks."""
    del params, carry, xs
    if cell.name not in LINEAR or cell != CELLS.get(cell.name):
        return Refusal("cell", f"has no linear recurrence of this cell, {cell.name!r}: only of {', '.join(LINEAR)}")
    return of_options(masks, LACKING)


def run(cell: Cell[P, C], reverse: bool, params: P, carry: C, xs: Array, masks: StepMasks) -> tuple[C, Array]:
    """Runs the cell over xs `[T, *batch, I]`: the final carry and ys `[T, *batch, H]`."""
    found = LINEAR[cell.name]
    projected = found.project(params, xs)
    a, b = found.coefficients(params, projected)
    if masks.reset is not None:
        a = select(masks.reset, jnp.zeros_like(a), a)
    if masks.valid is not None:
        a, b = select(masks.valid, (a, b), (jnp.ones_like(a), jnp.zeros_like(b)))
    states = linear.all_states(a, b, found.pack(carry), reverse)
    carries = found.unpack(states, carry)
    ys = found.output(params, carries, projected)
    if masks.valid is not None:
        ys = select(masks.valid, ys, jnp.zeros_like(ys))
    if not len(xs):
        return carry, ys
    return tree_map(lambda part: part[0 if reverse else -1], carries), ys
