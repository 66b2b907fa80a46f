"""What a cell is: a few pure functions under one name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple

import jax.numpy as jnp

from rnn_jax.types import Array, C, P, Projected


def no_projection(params: object, xs: Array) -> Projected:
    """Leaves the inputs xs `[..., I]` as they are, for a cell whose `recur` takes them unprojected."""
    del params
    return xs


@dataclass(frozen=True)
class Cell(Generic[P, C]):
    """A recurrent cell: `carry, y = step(params, carry, x)`, any leading axes being batch axes.

    `Cell[P, C]` has parameters of type P and a carry of type C, both pytrees of arrays: `Cell[LSTMParams, LSTMCarry]`.

    A step falls into what does not depend on the carry, `project`, which an unroll computes for many steps in one
    large product, and what does, `recur`. Any pair of functions with these signatures makes a cell that `unroll`
    can run, a plain counter too.

    Attributes:
        name: a word for messages and results.
        init_params: `(key, input_size, hidden_size, dtype=float32, *, ...) -> params`, the options by name: a scheme
            `init` and a `gain` in all cells here, `forget_bias` and `chrono` where there is a gate for them.
        init_carry: `(batch_shape, hidden_size, dtype=float32) -> carry`, zeros `[*batch_shape, H]`.
        recur: `(params, carry, projected) -> (carry, y [..., H])`.
        project: `(params, xs [..., I]) -> projected`, a pytree with the same leading axes.
        num_gates: G, how many blocks of H columns the weights have.
        activations: `(params, carry, projected) -> named tuple of [..., H]`: what the gates of a step come to, by
            name; None for a cell that has nothing to show. For diagnostics.

    Example: a cell that sums its inputs.

        >>> import jax.numpy as jnp
        >>> from rnn_jax import Cell, unroll
        >>> adder = Cell("adder", init_params=lambda key, i, h: (), init_carry=lambda batch, h: jnp.zeros((*batch, h)),
        ...              recur=lambda params, carry, x: (carry + x, carry + x))
        >>> final, ys = unroll(adder, (), jnp.ones((3, 1, 1)), carry=jnp.zeros((1, 1)))
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

    def step(self, params: P, carry: C, x: Array) -> tuple[C, Array]:
        """One step: x `[..., I]` to the new carry, arrays `[..., H]`, and y `[..., H]`.

        The definition that everything else must agree with.
        """
        return self.recur(params, carry, self.project(params, x))


def zero_carry(cell: Cell[P, C], params: P, batch_shape: tuple[int, ...]) -> C:
    """The carry that an unroll begins with: zeros `[*batch_shape, H]`, H and the dtype being those of `params.w_hh`.

    Raises: `ValueError` for parameters without `w_hh`.
    """
    w_hh = getattr(params, "w_hh", None)
    if w_hh is None:
        raise ValueError(f"give the initial carry: the parameters of {cell.name!r} do not tell its size")
    return cell.init_carry(batch_shape, w_hh.shape[0], w_hh.dtype)


def matmul(a: Array, b: Array) -> Array:
    """`a @ b`, `[..., M]` by `[M, N]` to `[..., N]`, summed and returned in float32 where both are narrower."""
    dtype = jnp.result_type(a, b)
    return jnp.matmul(a, b, preferred_element_type=jnp.promote_types(dtype, jnp.float32))


def gates(values: Array, num_gates: int) -> tuple[Array, ...]:
    """Cuts values `[..., G*H]` into G = `num_gates` arrays `[..., H]`."""
    return tuple(jnp.split(values, num_gates, axis=-1))
