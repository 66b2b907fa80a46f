"""What the diagnostics look at: any function `step(carry, x) -> carry`, a cell's or your own.

The carry is a pytree of floating-point arrays. Where a diagnostic speaks of one trajectory, its arrays have no batch
axis; `jax.vmap` over the initial carry and the inputs gives a batch.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from rnn_jax.cells.cell import Cell
from rnn_jax.types import Array, C, DType, P

X = TypeVar("X")
"""The input of a step, a pytree of arrays, or the inputs of all of them, arrays `[T, ...]`."""

Step = Callable[[C, X], C]
"""`(carry, x) -> carry`: one step of any recurrent system."""


def cell_step(cell: Cell[P, C], params: P) -> Step[C, Array]:
    """A cell's step: x `[..., I]`, the carry's arrays `[..., H]`.

    >>> from rnn_jax import cells
    >>> gru = cells.get("gru")
    >>> step = cell_step(gru, gru.init_params(jax.random.key(0), 3, 5))
    >>> step(gru.init_carry((), 5), jnp.ones(3)).h.shape
    (5,)
    """
    return lambda carry, x: cell.step(params, carry, x)[0]


def carries_before(step: Step[C, X], carry: C, xs: X) -> tuple[C, C]:
    """Runs T steps from `carry` over `xs`, arrays `[T, ...]`: the carry before each step, `[T, ...]`, and the last."""

    def body(carry: C, x: X) -> tuple[C, C]:
        return step(carry, x), carry

    final, before = jax.lax.scan(body, carry, xs)
    return before, final


def flat_step(step: Step[C, X], carry: C) -> tuple[Step[Array, X], Array, Callable[[Array], C]]:
    """The step and the carry on vectors `[N]`, N the number of entries of the carry, and the way back to its form.

    Raises: `ValueError` for a carry that is not floating point throughout.
    """
    kinds = {jnp.result_type(leaf) for leaf in jax.tree.leaves(carry)}
    if not kinds or not all(jnp.issubdtype(kind, jnp.floating) for kind in kinds):
        raise ValueError(f"the carry must be floating-point arrays, got {sorted(str(kind) for kind in kinds)}")
    vector, unravel = ravel_pytree(carry)

    def flat(vector: Array, x: X) -> Array:
        return ravel_pytree(step(unravel(vector), x))[0]

    return flat, vector, unravel


def push(flat: Step[Array, X], vector: Array, columns: Array, x: X) -> tuple[Array, Array]:
    """One step of `flat_step` with differences beside it: `[N]` to the vector after it, `[N, K]` to J times each."""
    after, tangent = jax.linearize(lambda vector: flat(vector, x), vector)
    return after, jax.vmap(tangent, in_axes=1, out_axes=1)(columns)


def num_directions(argument: str, count: int | None, size: int) -> int:
    """How many directions are followed: what the argument says, or with None all. Raises `ValueError`."""
    wanted = size if count is None else count
    if not 1 <= wanted <= size:
        raise ValueError(f"{argument} must be in 1..{size}, the size of the carry, got {wanted}")
    return wanted


def general_directions(size: int, count: int, dtype: DType) -> Array:
    """Orthonormal columns `[size, count]` in general position, the same at every call.

    An axis may be an eigenvector, and would never turn to where growth is largest.
    """
    return jnp.linalg.qr(jax.random.normal(jax.random.key(0), (size, count), dtype))[0]


def num_steps(xs: object, least: int = 0) -> int:
    """T of inputs `[T, ...]`. Raises: `ValueError` where arrays differ in T, there is none, or T is below `least`."""
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(xs)]
    lengths = {shape[0] if shape else -1 for shape in shapes}
    if len(lengths) != 1 or -1 in lengths:
        raise ValueError(f"xs must be arrays [T, ...] of one T, got shapes {shapes}")
    if (length := lengths.pop()) < least:
        raise ValueError(f"xs must have {least} or more steps, got shapes {shapes}")
    return length


def add_exactly(total: tuple[Array, Array], more: Array) -> tuple[Array, Array]:
    """A running sum as (sum, what rounding took from it), `total`, and one term `more`: the next such pair.

    Of 100,000 terms it is as exact as of one.

    Source: Kahan, "Further remarks on reducing truncation errors", 1965.
    """
    value, lost = total
    more = more + lost
    after = value + more
    return after, more - (after - value)


def log_norm(values: Array) -> Array:
    """log of the Euclidean norm over the last axis, values `[..., N]` to `[...]`, natural logarithms, -inf of zeros.

    Squares neither under- nor overflow.
    """
    largest = jnp.max(jnp.abs(values), axis=-1, keepdims=True, initial=0.0)
    scale = jnp.where(largest > 0, largest, 1)
    return jnp.log(jnp.linalg.norm(values / scale, axis=-1)) + jnp.log(scale[..., 0])
