"""How `unroll` computes values and gradients: back ends with one signature and the same answers.

A back end is `run(cell, reverse, params, carry, xs [T, B, I], controls) -> (final carry, ys [T, B, H])`.
"""

from collections.abc import Callable
from typing import Any

from rnn_jax.backends import manual, scan
from rnn_jax.bptt import RULES
from rnn_jax.cells import CELLS, Cell

BACKENDS: dict[str, Callable[..., Any]] = {
    "scan": scan.run,
    "manual": manual.run,
}
WRONG: dict[str, Callable[..., Any]] = {"without_dc": manual.run_without_dc}
"""Right values and a gradient that is wrong on purpose, to measure what a fault costs."""

CHOICES = ("auto", *BACKENDS, *WRONG)
"""What `unroll` takes as `backend`."""


def has_rule(cell: Cell) -> bool:
    """Whether `manual` has a backward pass for this cell; a changed cell is another cell."""
    return cell.name in RULES and cell == CELLS[cell.name]


def choose(cell: Cell, plain: bool) -> str:
    """What `auto` stands for: `manual` where there is a rule and nothing but `plain` controls, else `scan`."""
    return "manual" if plain and has_rule(cell) else "scan"


__all__ = ["BACKENDS", "CHOICES", "WRONG", "choose", "has_rule"]
