"""How `unroll` computes values and gradients: back ends with one signature and the same answers.

| back end | for | gradient |
|---|---|---|
| `scan` | everything: the definition | by JAX, forward mode too |
| `manual` | cells with a rule in `rnn_jax.bptt` | hand-derived |
| `native` | those cells on a CPU, float32 | hand-derived, in C++ |
| `associative` | `mingru`, `minlstm` and `lru`, all steps at once | by JAX |
| `newton` | any cell, all steps at once, as a fixed point | by the transposed recurrence |
| `cudnn` | the LSTM on an NVIDIA GPU, float32 | by NVIDIA |
| `pallas` | those cells on an NVIDIA GPU, while W_hh fits on chip | hand-derived |
| `mosaic` | the same on a Hopper GPU, by its tensor cores | hand-derived |

`BACKENDS` holds each as a `Backend`, by name; `CHOICES` are those names and `auto`; `choose` finds the one for a call.
What a back end can compute, it alone says: by its `refusal`, a `Refusal` or None. `AUTO` is what `auto` tries, and
`FALL_BACK` are those that give way to it.
"""

import warnings
from collections.abc import Callable
from functools import cache
from math import prod
from typing import NamedTuple

from rnn_jax.backends import associative, cudnn, manual, mosaic, native, newton, pallas, scan
from rnn_jax.backends.refusals import Refusal
from rnn_jax.cells.cell import Cell
from rnn_jax.controls import StepMasks
from rnn_jax.types import Array, Carry, Params


class Backend(NamedTuple):
    """A way to compute.

    Attributes:
        run: `(cell, reverse, params, carry, xs [T, *batch, I], masks) -> (final carry, ys [T, *batch, H])`.
        refusal: `(cell, params, carry, xs, masks) -> Refusal`, why it cannot compute this, or None. Shapes and types
            alone count: every array may be a `jax.ShapeDtypeStruct`.
        vmap: whether `jax.vmap` goes through it, and so several replicas into one program.
    """

    run: Callable[..., tuple[Carry, Array]]
    refusal: Callable[[Cell[Params, Carry], Params, Carry, Array, StepMasks], Refusal | None]
    vmap: bool = True


BACKENDS: dict[str, Backend] = {
    "scan": Backend(scan.run, scan.refusal),
    "manual": Backend(manual.run, manual.refusal),
    "native": Backend(native.run, native.refusal),
    "associative": Backend(associative.run, associative.refusal),
    "newton": Backend(newton.run, newton.refusal),
    "cudnn": Backend(cudnn.run, cudnn.refusal, vmap=False),
    "pallas": Backend(pallas.run, pallas.refusal),
    "mosaic": Backend(mosaic.run, mosaic.refusal),
}
"""Every back end, by its name."""

CHOICES = ("auto", *BACKENDS)
"""What `unroll` takes as `backend`."""

AUTO = ("native", "manual", "scan")
"""What `auto` tries, in this order: the fastest first at every shape measured on a CPU, but for some of one step
(benchmarks/README.md).
`cudnn`, `pallas` and `mosaic` are not measured on a GPU yet, so it does not take them. `associative` is no faster than
`scan` on two cores, and for `lru`, whose numbers are complex, mostly slower. `newton` multiplies the work by the number
of its iterations and, up to 64 numbers in a carry, by the size of their Jacobians: slower than `scan` in nearly all
that `launch.py parallel` has measured on a CPU."""

FALL_BACK = ("native", "cudnn", "pallas", "mosaic")
"""Back ends for some machines and shapes: what they cannot compute is left to `auto`, with a warning."""


def choose(backend: str, cell: Cell[Params, Carry], params: Params, carry: Carry, xs: Array, masks: StepMasks) -> str:
    """The back end that computes this: `backend`, or the one that takes its place.

    `auto` is the first of `AUTO` that can. One of `FALL_BACK` that cannot gives way to `auto` and warns, once.

    Args:
        backend: one of `CHOICES`.
        cell, params, carry, xs, masks: of `Backend.refusal`.

    Raises: `ValueError` for an unknown back end, and for any other that cannot.
    """
    if backend not in CHOICES:
        raise ValueError(f"unknown backend {backend!r}: take one of {', '.join(CHOICES)}")
    arguments = (cell, params, carry, xs, masks)
    if backend == "auto":
        return next(name for name in AUTO if BACKENDS[name].refusal(*arguments) is None and pays(name, xs))
    refusal = BACKENDS[backend].refusal(*arguments)
    if refusal is None:
        return backend
    if backend not in FALL_BACK:
        raise ValueError(f"backend {backend!r} {refusal.reason}; take 'auto' or 'scan'")
    instead = choose("auto", *arguments)
    warn_once(f"backend {backend!r} {refusal.reason}: using {instead!r} instead")
    return instead


def pays(backend: str, xs: Array) -> bool:
    """Whether `auto` takes it for xs `[T, *batch, I]`.

    Not `native` for a single step of more sequences than those for which it reads the weights as they lie: packing them
    takes longer than the whole step by XLA.
    """
    return backend != "native" or xs.shape[0] > 1 or prod(xs.shape[1:-1]) <= native.FEW_SEQUENCES


@cache
def warn_once(message: str) -> None:
    """A `UserWarning`, the first time that it is said."""
    warnings.warn(message, UserWarning, stacklevel=4)  # at the call of `unroll`


__all__ = ["AUTO", "BACKENDS", "CHOICES", "FALL_BACK", "Backend", "Refusal", "choose"]
