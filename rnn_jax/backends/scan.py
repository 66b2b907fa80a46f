"""`backend="scan"`: the definition. One `lax.scan`, differentiated by JAX."""

import jax

from rnn_jax.backends.refusals import Refusal
from rnn_jax.cells.cell import Cell
from rnn_jax.controls import StepMasks, controlled_step
from rnn_jax.segments import like, widen
from rnn_jax.types import Array, C, Carry, P, Params, Projected


def refusal(cell: Cell[Params, Carry], params: Params, carry: Carry, xs: Array, masks: StepMasks) -> Refusal | None:
    """None: the scan computes whatever there is."""
    del cell, params, carry, xs, masks
    return None


def run(cell: Cell[P, C], reverse: bool, params: P, carry: C, xs: Array, masks: StepMasks) -> tuple[C, Array]:
    """Runs the cell over xs `[T, *batch, I]`: the final carry and ys `[T, *batch, H]`."""

    wide = widen(params)  # narrowed inside the loop, so that the loop's sum of their gradients is wide

    def step(carry: C, inputs: tuple[Projected, StepMasks]) -> tuple[C, Array]:
        return controlled_step(cell, like(wide, params), carry, *inputs)

    return jax.lax.scan(step, carry, (cell.project(params, xs), masks), reverse=reverse)
