"""Types, and the one table of axis letters that every docstring uses.

| letter | axis |
|---|---|
| B | batch |
| T | time |
| I | input features |
| H | hidden features |
| P | features of a projected state |
| G | gates of a cell (1 for `rnn`, 4 for `lstm`, 3 for `gru`) |
| D | directions (1 or 2) |
| L | layers |
| S | seeds (replicas trained together) |
| V | vocabulary |

Sequences are time-major, `[T, B, I]`, everywhere inside the library; a model converts once, at its border.
`[...]` in a shape stands for any leading axes.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import jax
from jax.typing import DTypeLike

Array = jax.Array
Key = jax.Array
"""A typed key from `jax.random.key`."""

DType = DTypeLike
"""Whatever names a number format: `jnp.float32`, `"bfloat16"`, a dtype."""

P = TypeVar("P")
"""The parameters of one cell, a named tuple such as `LSTMParams`."""

C = TypeVar("C")
"""The carry of that cell, a named tuple such as `LSTMCarry`."""

Tree = TypeVar("Tree")
"""Any pytree of arrays."""

Params = Any
"""A pytree of parameters where it is of no matter which: of a cell, of a stack of them, of a model."""

Carry = Any
"""A pytree of arrays `[..., H]`, likewise: what a cell hands from one step to the next."""

Projected = Any
"""A pytree of arrays with the leading axes of the inputs: what a cell computes from them without the carry."""


class GateWeights(Protocol):
    """Parameters that have what those of every cell here have: `w_ih [I, G*H]`, `w_hh [H, G*H]` and `b [G*H]`."""

    @property
    def w_ih(self) -> Array: ...

    @property
    def w_hh(self) -> Array: ...

    @property
    def b(self) -> Array: ...


def same_structure(one: object, other: object) -> bool:
    """Whether two pytrees have the same nodes in the same places, of the same types."""
    return str(jax.tree.structure(one)) == str(jax.tree.structure(other))


def tree_map(function: Callable[..., object], tree: Tree, *others: object) -> Tree:
    """`jax.tree.map` for a type checker: the result has the structure of `tree`, and so its type.

    Args:
        function: of one array of each tree, to an array or what stands for one.
        tree: a pytree.
        others: more of the same structure.
    """
    mapped: Tree = jax.tree.map(function, tree, *others)
    return mapped
