"""The parts of a hand-derived backward pass that differ from cell to cell."""

from collections.abc import Callable
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

from rnn_jax.types import Array, P


class HiddenCarry(Protocol):
    """A carry with an h, and y_t = h_t: that of every cell with a rule."""

    @property
    def h(self) -> Array: ...

    def _replace(self, *, h: Array) -> Self: ...


HC = TypeVar("HC", bound=HiddenCarry)
"""The carry of a cell with a rule."""

Local = TypeVar("Local")
"""What a backward step needs to know of its forward step: a pytree of `[..., H]` arrays."""


class Rule(NamedTuple, Generic[P, HC, Local]):
    """The backward pass of one cell, as docs/bptt.md derives it; `[...]` may be `[B]` or `[T, B]`.

    dz stands for the derivative of the loss with respect to the gates' sums before their nonlinearity, `[..., G*H]`.

    Attributes:
        recompute: `(params, xs [..., I], before, after) -> local`: the gates again, from the carries around the step.
        step: `(params, local, dcarry) -> (dbefore, dz [..., G*H])`: one step back in time. Needs the step after it,
            so this alone runs inside the loop.
        weights: `(xs [..., I], before, local, dz [..., G*H]) -> dparams`, summed over all leading axes.
        inputs: `(params, dz [..., G*H]) -> dxs [..., I]`.
    """

    recompute: Callable[[P, Array, HC, HC], Local]
    step: Callable[[P, Local, HC], tuple[HC, Array]]
    weights: Callable[[Array, HC, Local, Array], P]
    inputs: Callable[[P, Array], Array]
