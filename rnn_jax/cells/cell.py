"""What a cell is: a few pure functions under one name, and what is promised of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.types import Array, C, DType, GateWeights, P, Projected


def no_projection(params: object, xs: Array) -> Projected:
    """Leaves the inputs xs `[..., I]` as they are, for a cell whose `recur` takes them unprojected."""
    del params
    return xs


class Sizes(NamedTuple):
    """I and H."""

    input: int
    hidden: int


@dataclass(frozen=True)
class Cell(Generic[P, C]):
    """A recurrent cell: `carry, y = step(params, carry, x)`, any leading axes being batch axes.

    `Cell[P, C]` has parameters of type P and a carry of type C, both pytrees of arrays of any structure:
    `Cell[LSTMParams, LSTMCarry]`. What their fields are called means nothing.

    A step falls into what does not depend on the carry, `project`, which an unroll computes for many steps in one
    large product, and what does, `recur`. The contract is checked when a cell is made, by shapes alone: every function
    takes what is said here, the carry keeps its structure, shapes and dtypes over a step, and leading axes are kept.

    Attributes:
        name: a word for messages and results.
        init_params: `(key, input_size, hidden_size, dtype=float32, *, ...) -> params`, the options by name: a scheme
            `init` in all cells here, a `gain` where there are recurrent weights, `forget_bias` and `chrono` where there
            is a gate for them.
        init_carry: `(batch_shape, hidden_size, dtype=float32) -> carry`, zeros `[*batch_shape, ...]`, of any rank.
        recur: `(params, carry, projected) -> (carry, y [..., O])`; O, the size of the outputs, is H in most cells.
        project: `(params, xs [..., I]) -> projected`, a pytree with the same leading axes.
        num_gates: G, how many blocks of H columns the weights have.
        activations: `(params, carry, projected) -> named tuple of [..., H]`: what the gates of a step come to, by
            name; None for a cell that has nothing to show. For diagnostics.
        output: `carry -> y`, where y follows from the carry after the step: what changes a carry after a step, zoneout
            or a perturbation, then shows in y. None: y is what `recur` gave.
        sizes: `params -> Sizes`. None: parameters do not tell their sizes, and an unroll is given a `carry` or a
            `hidden_size`.
        rule: the hand-derived backward step, an `rnn_jax.bptt.Rule`, for `backend="manual"`; it needs `output`.
        trial: the sizes that the check tries; None: no check, for the cells of this library, which has tests.

    Raises: `ValueError` for functions that break the contract, with the function and the shapes.

    Example: a cell that sums its inputs, of which it takes as many as it has units.

        >>> import jax.numpy as jnp
        >>> from rnn_jax import Cell, unroll
        >>> adder = Cell("adder", init_params=lambda key, i, h, dtype=jnp.float32: (),
        ...              init_carry=lambda batch, h, dtype=jnp.float32: jnp.zeros((*batch, h), dtype),
        ...              recur=lambda params, carry, x: (carry + x, carry + x), trial=(3, 3))
        >>> final, ys = unroll(adder, (), jnp.ones((3, 1, 1)), hidden_size=1)
        >>> ys[:, 0, 0].tolist()
        [1.0, 2.0, 3.0]
    """

    name: str
    init_params: Callable[..., P]
    init_carry: Callable[..., C]
    recur: Callable[[P, C, Projected], tuple[C, Array]]
    project: Callable[[P, Array], Projected] = no_projection
    num_gates: int = 1
    activations: Callable[[P, C, Projected], NamedTuple] | None = None
    output: Callable[[C], Array] | None = None
    sizes: Callable[[P], Sizes] | None = None
    rule: Any = None
    trial: tuple[int, int] | None = (3, 5)

    def __post_init__(self) -> None:
        if self.trial is not None:
            from rnn_jax.cells.contract import check  # for cells that are not of this library

            check(self, Sizes(*self.trial))

    def step(self, params: P, carry: C, x: Array) -> tuple[C, Array]:
        """One step: x `[..., I]` to the new carry, arrays `[..., H]`, and y `[..., O]`.

        The definition that everything else must agree with.
        """
        return self.recur(params, carry, self.project(params, x))


def weight_sizes(params: GateWeights) -> Sizes:
    """The sizes of a cell whose weights are `w_ih [I, G*H]` and `w_hh [H, G*H]`."""
    return Sizes(params.w_ih.shape[0], params.w_hh.shape[0])


def hidden(carry: Any) -> Array:
    """h of a carry that has one: the output y_t of every cell for which y_t = h_t."""
    h: Array = carry.h
    return h


def of_weights(name: str, *functions: Any, **attributes: Any) -> Cell[Any, Any]:
    """A cell of this library: weights `w_ih` and `w_hh`, outputs y_t = h_t, and tests that hold its contract."""
    return Cell(name, *functions, **{"output": hidden, "sizes": weight_sizes, "trial": None} | attributes)


def zero_carry(
    cell: Cell[P, C],
    params: P,
    batch_shape: tuple[int, ...],
    hidden_size: int | None = None,
    otherwise: DType = jnp.float32,
) -> C:
    """The carry that an unroll begins with: zeros `[*batch_shape, ...]` in the dtype of the parameters.

    Args:
        cell: a cell.
        params: its parameters.
        batch_shape: the batch axes.
        hidden_size: H; None: what `cell.sizes` says.
        otherwise: the dtype where parameters have none.

    Raises: `ValueError` where neither says it.
    """
    if hidden_size is None:
        if cell.sizes is None:
            raise ValueError(
                f"give carry or hidden_size: cell {cell.name!r} has no sizes, so its parameters do not tell them"
            )
        hidden_size = cell.sizes(params).hidden
    return cell.init_carry(batch_shape, hidden_size, dtype_of(params, otherwise))


def dtype_of(params: object, otherwise: DType = jnp.float32) -> DType:
    """The type in which parameters compute: that of their floats together, `otherwise` where there is none."""
    dtypes = [jnp.result_type(leaf) for leaf in jax.tree.leaves(params)]
    floats = [dtype for dtype in dtypes if jnp.issubdtype(dtype, jnp.floating)]
    return jnp.result_type(*floats) if floats else otherwise


def matmul(a: Array, b: Array) -> Array:
    """`a @ b`, `[..., M]` by `[M, N]` to `[..., N]`, summed and returned in float32 where both are narrower."""
    dtype = jnp.result_type(a, b)
    return jnp.matmul(a, b, preferred_element_type=jnp.promote_types(dtype, jnp.float32))


def gates(values: Array, num_gates: int) -> tuple[Array, ...]:
    """Cuts values `[..., G*H]` into G = `num_gates` arrays `[..., H]`."""
    return tuple(jnp.split(values, num_gates, axis=-1))
