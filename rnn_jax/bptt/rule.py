"""The parts of a hand-derived backward pass that differ from cell to cell."""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from rnn_jax.types import Array, C, P

Local = TypeVar("Local")
"""What a backward step needs to know of its forward step: a pytree of `[..., H]` arrays."""


def at_h(dcarry: Any, dy: Array) -> Any:
    """dL/dy_t joins dL/dh_t, since y_t = h_t: dcarry with `h [..., H]`, dy `[..., H]`."""
    return dcarry._replace(h=dcarry.h + dy)


class Rule(NamedTuple, Generic[P, C, Local]):
    """The backward pass of one cell, as docs/bptt.md derives it; `[...]` may be `[B]` or `[T, B]`.

    dz stands for the derivative of the loss with respect to the gates' sums before their nonlinearity, `[..., G*H]`.

    Attributes:
        recompute: `(params, xs [..., I], before, after) -> local`: the gates again, from the carries around the step.
        step: `(params, local, dcarry) -> (dbefore, dz [..., G*H])`: one step back in time. Needs the step after it,
            so this alone runs inside the loop.
        weights: `(xs [..., I], before, local, dz [..., G*H]) -> dparams`, summed over all leading axes.
        inputs: `(params, dz [..., G*H]) -> dxs [..., I]`.
        emit: `(dcarry, dy [..., O]) -> dcarry`: what the later steps say, and to it the transpose of
            the cell's `output`.
    """

    recompute: Callable[[P, Array, C, C], Local]
    step: Callable[[P, Local, C], tuple[C, Array]]
    weights: Callable[[Array, C, Local, Array], P]
    inputs: Callable[[P, Array], Array]
    emit: Callable[[C, Array], C] = at_h
