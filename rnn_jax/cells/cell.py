"""What a cell is: a few pure functions under one name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from rnn_jax.types import Array, Carry, Params, Projected


def no_projection(params: Params, xs: Array) -> Projected:
    """Leaves the inputs as they are, for a cell whose `recur` takes them unprojected."""
    del params
    return xs


@dataclass(frozen=True)
class Cell:
    """A recurrent cell: `carry, y = step(params, carry, x)`, any leading axes being batch axes.

    A step falls into what does not depend on the carry, `project`, which an unroll computes for many steps in one
    large product, and what does, `recur`. Any pair of functions with these signatures makes a cell that `unroll`
    can run, a plain counter too.

    Attributes:
        name: a word for messages and results.
        init_params: `(key, input_size, hidden_size, dtype=float32, ...) -> params`.
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
    init_params: Callable[..., Params]
    init_carry: Callable[..., Carry]
    recur: Callable[[Params, Carry, Projected], tuple[Carry, Array]]
    project: Callable[[Params, Array], Projected] = no_projection
    num_gates: int = 1
    activations: Callable[[Params, Carry, Projected], Any] | None = None

    def step(self, params: Params, carry: Carry, x: Array) -> tuple[Carry, Array]:
        """One step: x `[..., I]` to y `[..., H]`. The definition that everything else must agree with."""
        return self.recur(params, carry, self.project(params, x))


def matmul(a: Array, b: Array) -> Array:
    """`a @ b`, summed and returned in float32 where the operands are narrower."""
    dtype = jnp.result_type(a, b)
    return jnp.matmul(a, b, preferred_element_type=jnp.promote_types(dtype, jnp.float32))


def gates(values: Array, num_gates: int) -> tuple[Array, ...]:
    """Cuts `[..., G*H]` into G arrays `[..., H]`."""
    return tuple(jnp.split(values, num_gates, axis=-1))
