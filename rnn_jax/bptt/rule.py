"""The parts of a hand-derived backward pass that differ from cell to cell."""

from collections.abc import Callable
from typing import Any, NamedTuple

from rnn_jax.types import Array, Carry, Params

Local = Any
"""What a backward step needs to know of its forward step: a pytree of `[..., H]` arrays."""


class Rule(NamedTuple):
    """The backward pass of one cell, as docs/bptt.md derives it; `[...]` may be `[B]` or `[T, B]`.

    dz stands for the derivative of the loss with respect to the gates' sums before their nonlinearity, `[..., G*H]`.

    Attributes:
        recompute: `(params, xs [..., I], before, after) -> local`: the gates again, from the carries around the step.
        step: `(params, local, dcarry) -> (dbefore, dz [..., G*H])`: one step back in time. Needs the step after it,
            so this alone runs inside the loop.
        weights: `(xs [..., I], before, local, dz [..., G*H]) -> dparams`, summed over all leading axes.
        inputs: `(params, dz [..., G*H]) -> dxs [..., I]`.
    """

    recompute: Callable[[Params, Array, Carry, Carry], Local]
    step: Callable[[Params, Local, Carry], tuple[Carry, Array]]
    weights: Callable[[Array, Carry, Local, Array], Params]
    inputs: Callable[[Params, Array], Array]
