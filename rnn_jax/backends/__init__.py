"""How `unroll` computes values and gradients: back ends with one signature and the same answers.

A back end is two functions of the same arguments:

    run(cell, reverse, params, carry, xs [T, *batch, I], masks) -> (final carry, ys [T, *batch, H])
    refusal(cell, params, carry, xs, masks) -> why it cannot compute this, in words, or None
"""

import warnings
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from rnn_jax.backends import cudnn, manual, native, pallas, scan
from rnn_jax.backends.manual import has_rule
from rnn_jax.cells.cell import Cell
from rnn_jax.controls import StepMasks
from rnn_jax.types import Array, Carry, Params


class Backend(NamedTuple):
    """A way to compute: see above."""

    run: Callable[..., tuple[Carry, Array]]
    refusal: Callable[[Cell, Params, Carry, Array, StepMasks], str | None]


BACKENDS: dict[str, Backend] = {
    "scan": Backend(scan.run, scan.refusal),
    "manual": Backend(manual.run, manual.refusal),
    "native": Backend(native.run, native.refusal),
    "cudnn": Backend(cudnn.run, cudnn.refusal),
    "pallas": Backend(pallas.run, pallas.refusal),
}
WRONG: dict[str, Backend] = {"without_dc": Backend(manual.run_without_dc, manual.refusal_without_dc)}
"""Right values and a gradient that is wrong on purpose, to measure what a fault costs."""

CHOICES = ("auto", *BACKENDS, *WRONG)
"""What `unroll` takes as `backend`."""

AUTO = ("native", "manual", "scan")
"""What `auto` tries, in this order: the fastest first at every shape measured on a CPU (benchmarks/README.md).
`cudnn` and `pallas` are not measured on a GPU yet, so it does not take them."""

FALL_BACK = ("native", "cudnn", "pallas")
"""Back ends for some machines and shapes: what they cannot compute is left to `auto`, with a warning."""


def choose(backend: str, cell: Cell, params: Params, carry: Carry, xs: Array, masks: StepMasks) -> str:
    """The back end that computes this: `backend`, or the one that takes its place.

    `auto` is the first of `AUTO` that can. One of `FALL_BACK` that cannot gives way to `auto` and warns, once.
    Raises: `ValueError` for an unknown back end, and for any other that cannot.
    """
    if backend not in CHOICES:
        raise ValueError(f"unknown backend {backend!r}: take one of {', '.join(CHOICES)}")
    arguments = (cell, params, carry, xs, masks)
    if backend == "auto":
        return next(name for name in AUTO if BACKENDS[name].refusal(*arguments) is None)
    reason = (BACKENDS | WRONG)[backend].refusal(*arguments)
    if reason is None:
        return backend
    if backend not in FALL_BACK:
        raise ValueError(f"backend {backend!r} {reason}")
    instead = choose("auto", *arguments)
    warn_once(f"backend {backend!r} {reason}: using {instead!r} instead")
    return instead


@cache
def warn_once(message: str) -> None:
    """A `UserWarning`, the first time that it is said."""
    warnings.warn(message, UserWarning, stacklevel=4)  # at the call of `unroll`


__all__ = ["AUTO", "BACKENDS", "CHOICES", "FALL_BACK", "WRONG", "Backend", "choose", "has_rule", "warn_once"]
