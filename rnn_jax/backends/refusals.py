"""Why a back end cannot compute a call, and what several of them say alike.

Shapes and types alone count: every array may be a `jax.ShapeDtypeStruct`.
"""

from collections.abc import Iterable
from typing import NamedTuple

import jax
from jax.export import is_symbolic_dim

from rnn_jax.controls import StepMasks
from rnn_jax.types import Array, Carry, GateWeights, Params

OPTIONS = {
    "mask": "holes",
    "resets": "reset",
    "truncate_every": "truncate",
    "zoneout": "zoneout",
    "perturbations": "perturbations",
}
"""The options of `unroll` that a back end may lack, and the fields of `StepMasks` that they become."""


class Refusal(NamedTuple):
    """Why a back end cannot compute a call of `unroll`.

    Attributes:
        argument: what is at fault: an argument of `unroll` (`cell`, `xs`, `mask`, `resets`, `truncate_every`,
            `zoneout`, `perturbations`), a property of its arrays (`dtype`, `hidden_size`), or `device`: the machine.
        reason: in words that follow "backend 'name' ".
    """

    argument: str
    reason: str


def of_options(masks: StepMasks, lacking: Iterable[str]) -> Refusal | None:
    """The refusal of a back end that lacks some of `OPTIONS`, if the call has one of them."""
    used = [option for option in lacking if getattr(masks, OPTIONS[option]) is not None]
    return Refusal(used[0], f"does not take {', '.join(used)}") if used else None


def of_symbolic_sizes(xs: Array, sizes: slice = slice(None)) -> Refusal | None:
    """The refusal of a back end that needs those `sizes` of xs as numbers, where they are symbols of `jax.export`."""
    symbols = [str(size) for size in xs.shape[sizes] if is_symbolic_dim(size)]
    if not symbols:
        return None
    shape = ", ".join(map(str, xs.shape))
    return Refusal("xs", f"needs numbers for sizes, and has {' and '.join(symbols)} in xs [{shape}]")


def of_nothing_to_run(params: GateWeights, xs: Array) -> Refusal | None:
    """The refusal of a back end that needs at least one step, sequence, feature and unit."""
    hidden_size = params.w_hh.shape[0]
    if 0 in xs.shape:
        return Refusal("xs", f"has nothing to run for in xs {xs.shape}")
    return None if hidden_size else Refusal("hidden_size", "has nothing to run for in a hidden size of 0")


def of_other_than_float32(params: Params, carry: Carry, xs: Array) -> Refusal | None:
    """The refusal of a back end for float32."""
    others = {array.dtype.name for array in jax.tree.leaves((params, carry, xs))} - {"float32"}
    return Refusal("dtype", f"computes in float32 alone, not in {' and '.join(sorted(others))}") if others else None
