"""Segments of time, the carry before each step, and the types that sums over time run in."""

import jax.numpy as jnp

from rnn_jax.types import Array, C, Tree, tree_map


def widen(tree: Tree) -> Tree:
    """`tree` with its floats narrower than float32 as float32: what a sum over time runs in."""

    def wide(a: Array) -> Array:
        a = jnp.asarray(a)
        return a.astype(jnp.promote_types(a.dtype, jnp.float32)) if jnp.issubdtype(a.dtype, jnp.floating) else a

    return tree_map(wide, tree)


def like(tree: Tree, of: object) -> Tree:
    """`tree` in the dtypes of `of`, a pytree of the same structure."""
    return tree_map(lambda a, o: a.astype(jnp.result_type(o)), tree, of)


def previous(initial: C, carries: C, reverse: bool = False) -> C:
    """The carry before each step, given those after it: moved on by one step, `initial` coming in.

    Args:
        initial: the carry before the first step, arrays `[...]`.
        carries: the carry after each step, arrays `[T, ...]`.
        reverse: the steps were taken from the last to the first.

    Returns: arrays `[T, ...]` in the dtypes of `carries`.

    >>> previous(jnp.array(0.0), jnp.array([1.0, 2.0, 3.0])).tolist()
    [0.0, 1.0, 2.0]
    >>> previous(jnp.array(0.0), jnp.array([1.0, 2.0, 3.0]), reverse=True).tolist()
    [2.0, 3.0, 0.0]
    """

    def shift(first: Array, rest: Array) -> Array:
        first = first[None].astype(rest.dtype)
        parts = (rest[1:], first) if reverse else (first, rest[:-1])
        return jnp.concatenate(parts)[: rest.shape[0]]  # nothing comes before no steps

    return tree_map(shift, initial, carries)


def split(tree: Tree, num_steps: int, length: int, reverse: bool) -> tuple[Tree, Tree]:
    """Cuts arrays `[T, ...]` into segments `[N, K, ...]` and a remainder `[R, ...]`, R < K; N and R may be 0.

    Args:
        tree: a pytree of the arrays.
        num_steps: T.
        length: K, at least 1.
        reverse: the remainder is what is processed last: the end of time, or with `reverse` its start.

    >>> segments, rest = split(jnp.arange(7), 7, 3, reverse=True)
    >>> segments.tolist(), rest.tolist()
    ([[1, 2, 3], [4, 5, 6]], [0])
    """
    rest = num_steps % length
    whole = slice(rest, None) if reverse else slice(0, num_steps - rest)
    remaining = slice(0, rest) if reverse else slice(num_steps - rest, None)
    return (
        tree_map(lambda a: a[whole].reshape(num_steps // length, length, *a.shape[1:]), tree),
        tree_map(lambda a: a[remaining], tree),
    )


def merge(segments: Tree, rest: Tree, reverse: bool) -> Tree:
    """The inverse of `split`: segments `[N, K, ...]` and rest `[R, ...]` to arrays `[N * K + R, ...]`.

    With `reverse` the rest comes first.
    """

    def join(segments: Array, rest: Array) -> Array:
        whole = segments.reshape(segments.shape[0] * segments.shape[1], *segments.shape[2:])
        if rest.shape[0] == 0:
            return whole
        return jnp.concatenate((rest, whole) if reverse else (whole, rest))

    return tree_map(join, segments, rest)
