"""What may happen to a carry between two steps besides the cell: padding, resets and cuts of the gradient.

Every back end runs the same `Controls`, built here once, so that lengths, resets and truncation mean the same in all.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.types import Array, Carry


class Controls(NamedTuple):
    """Per-step switches; None where a call does not use one, so that it costs nothing.

    Attributes:
        valid: `[T, *batch]` bool. False: padding, the carry is held and y is zero.
        reset: `[T, *batch]` bool. True: the carry is zeros again just before the step (padding ignores it).
        cut: `[T]` or `[T, *batch]` bool. True: no gradient flows into the carry that this step receives.
        zoneout: `[T, *batch, H]`, the share of the carry before the step that stays: 0 or 1 in training, the rate
            itself in evaluation.
        taps: arrays `[T, *batch, H]` in the form of the carry, added to it after the step. Zeros change nothing, and
            the derivative with respect to them is that with respect to the carry after each step.
    """

    valid: Array | None = None
    reset: Array | None = None
    cut: Array | None = None
    zoneout: Array | None = None
    taps: Carry | None = None


def length_mask(lengths: Array, num_steps: int) -> Array:
    """True at the steps within each length: `[*batch]` integers to `[T, *batch]` bool.

    >>> length_mask(jnp.array([0, 2]), 3).T.tolist()
    [[False, False, False], [True, True, False]]
    """
    steps = jnp.arange(num_steps).reshape(-1, *[1] * lengths.ndim)
    return steps < lengths


def cut_steps(num_steps: int, every: int, reverse: bool, lengths: Array | None = None) -> Array:
    """True at every `every`-th step after the first, counted in the order of processing: `[T]` bool.

    With `lengths` `[*batch]` each sequence counts its own steps and its padding has no cuts: `[T, *batch]`.

    >>> cut_steps(5, 2, reverse=False).tolist()
    [False, False, True, False, True]
    >>> cut_steps(5, 2, reverse=True, lengths=jnp.array([4])).ravel().tolist()
    [False, True, False, False, False]
    """
    steps = jnp.arange(num_steps)
    ends = jnp.array(num_steps) if lengths is None else lengths.astype(steps.dtype)
    steps = steps.reshape(-1, *[1] * ends.ndim)
    position = ends - 1 - steps if reverse else steps
    return (position % every == 0) & (position > 0) & (steps < ends)


def select(condition: Array, if_true: Carry, if_false: Carry) -> Carry:
    """`where` over a pytree of `[*batch, H]` arrays for a condition `[*batch]` or `[]`.

    Both branches must be finite: the gradient of the branch not taken is multiplied by zero, and 0 * inf is NaN.
    """
    return jax.tree.map(lambda a, b: jnp.where(condition[..., None], a, b), if_true, if_false)


def widen(tree: Any) -> Any:
    """Floats narrower than float32 as float32: what a sum over time runs in."""

    def wide(a: Array) -> Array:
        a = jnp.asarray(a)
        return a.astype(jnp.promote_types(a.dtype, jnp.float32)) if jnp.issubdtype(a.dtype, jnp.floating) else a

    return jax.tree.map(wide, tree)


def like(tree: Any, of: Any) -> Any:
    """`tree` in the dtypes of `of`."""
    return jax.tree.map(lambda a, o: a.astype(jnp.result_type(o)), tree, of)


def zeros_like(carry: Carry) -> Carry:
    """Zeros of the same structure."""
    return jax.tree.map(jnp.zeros_like, carry)


def previous(initial: Carry, carries: Carry, reverse: bool = False) -> Carry:
    """The carry before each step, given those after it: `[T, ...]` moved on by one step, `initial` coming in.

    With `reverse` the steps were taken from the last to the first.

    >>> previous(jnp.array(0.0), jnp.array([1.0, 2.0, 3.0])).tolist()
    [0.0, 1.0, 2.0]
    >>> previous(jnp.array(0.0), jnp.array([1.0, 2.0, 3.0]), reverse=True).tolist()
    [2.0, 3.0, 0.0]
    """

    def shift(first: Array, rest: Array) -> Array:
        first = first[None].astype(rest.dtype)
        parts = (rest[1:], first) if reverse else (first, rest[:-1])
        return jnp.concatenate(parts)[: rest.shape[0]]  # nothing comes before no steps

    return jax.tree.map(shift, initial, carries)


def split(tree: Any, num_steps: int, length: int, reverse: bool) -> tuple[Any, Any]:
    """Cuts arrays `[T, ...]` into segments `[N, K, ...]` of `length` steps and a remainder `[R, ...]`, R < K.

    The remainder is what is processed last: the end of time, or its start with `reverse`. N and R may be 0.

    >>> segments, rest = split(jnp.arange(7), 7, 3, reverse=True)
    >>> segments.tolist(), rest.tolist()
    ([[1, 2, 3], [4, 5, 6]], [0])
    """
    rest = num_steps % length
    whole = slice(rest, None) if reverse else slice(0, num_steps - rest)
    remaining = slice(0, rest) if reverse else slice(num_steps - rest, None)
    return (
        jax.tree.map(lambda a: a[whole].reshape(num_steps // length, length, *a.shape[1:]), tree),
        jax.tree.map(lambda a: a[remaining], tree),
    )


def merge(segments: Any, rest: Any, reverse: bool) -> Any:
    """The inverse of `split`."""

    def join(segments: Array, rest: Array) -> Array:
        whole = segments.reshape(segments.shape[0] * segments.shape[1], *segments.shape[2:])
        if rest.shape[0] == 0:
            return whole
        return jnp.concatenate((rest, whole) if reverse else (whole, rest))

    return jax.tree.map(join, segments, rest)
