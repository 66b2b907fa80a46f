"""What may happen to a carry around a step besides the cell: padding, resets, cuts of the gradient, zoneout.

Every back end runs the same masks, built here once, so that lengths, resets and truncation mean the same in all.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnn_jax.cells.cell import Cell
from rnn_jax.types import Array, C, Carry, P, Projected, Tree, tree_map


class StepMasks(NamedTuple):
    """What is said of each step; None where a call does not use one, so that it costs nothing.

    Attributes:
        valid: `[T, *batch]` bool. False: padding, the carry is held and y is zero.
        holes: `valid` once more where it may have holes, and not the form of lengths, which is all that some back ends
            know.
        reset: `[T, *batch]` bool. True: the carry is zeros again just before the step (padding ignores it).
        truncate: `[T]` or `[T, *batch]` bool. True: no gradient flows into the carry that this step receives.
        zoneout: `[T, *batch, H]`, the share of the carry before the step that stays: 0 or 1 in training, the rate
            itself in evaluation; one array for all parts of the carry, or one for each, in the form of the carry.
        perturbations: arrays `[T, *batch, H]` in the form of the carry, added to it after the step. Zeros change
            nothing, and the derivative with respect to them is that with respect to the carry after each step.
    """

    valid: Array | None = None
    holes: Array | None = None
    reset: Array | None = None
    truncate: Array | None = None
    zoneout: Array | Carry | None = None
    perturbations: Carry | None = None


def length_mask(lengths: Array, num_steps: int) -> Array:
    """True at the steps within each length: lengths, integers `[*batch]`, to `[T, *batch]` bool, T = `num_steps`.

    >>> length_mask(jnp.array([0, 2]), 3).T.tolist()
    [[False, False, False], [True, True, False]]
    """
    steps = jnp.arange(num_steps).reshape(-1, *[1] * lengths.ndim)
    return steps < lengths


def valid_steps(num_steps: int, lengths: Array | None, mask: Array | None) -> Array | None:
    """Which steps are none of the padding, `[T, *batch]` bool: within `lengths` `[*batch]` and of `mask`; None: all."""
    if lengths is None:
        return mask
    within = length_mask(jnp.asarray(lengths), num_steps)
    return within if mask is None else within & mask


def entered_from_behind(resets: Array, valid: Array | None) -> Array:
    """Where a pass from the last step to the first comes into a new segment, `[T, *batch]` bool.

    A segment that begins at a step, by `resets` `[T, *batch]`, ends at the step before: the one before in `valid`,
    `[T, *batch]`, None: all. A reset in the padding begins nothing.

    >>> flags = jnp.array([False, False, True, False])
    >>> entered_from_behind(flags, None).tolist()
    [False, True, False, False]
    >>> entered_from_behind(flags, jnp.array([True, False, True, True])).tolist()
    [True, False, False, False]
    """
    num_steps = resets.shape[0]
    if valid is None:
        valid = jnp.ones(resets.shape, bool)
    steps = jnp.arange(num_steps).reshape(-1, *[1] * (resets.ndim - 1))
    following = lax.cummin(jnp.where(valid, steps, num_steps), axis=0, reverse=True)
    none = jnp.full_like(following[:1], num_steps)
    following = jnp.concatenate((following[1:], none))  # the next valid step after each
    begins = jnp.concatenate((resets & valid, jnp.zeros_like(resets[:1])))
    return jnp.take_along_axis(begins, following, axis=0) & valid


def truncation_mask(num_steps: int, every: int, reverse: bool, valid: Array | None = None) -> Array:
    """True at every `every`-th step after the first, counted in the order of processing: `[T]` bool.

    Args:
        num_steps: T.
        every: k, at least 1.
        reverse: the steps are taken from the last to the first.
        valid: `[T, *batch]` bool: each sequence counts its own steps and its padding has no cuts; the result is
            `[T, *batch]`.

    >>> truncation_mask(5, 2, reverse=False).tolist()
    [False, False, True, False, True]
    >>> truncation_mask(5, 2, reverse=True, valid=length_mask(jnp.array([4]), 5)).ravel().tolist()
    [False, True, False, False, False]
    """
    if valid is None:
        valid = jnp.ones(num_steps, bool)
    position = lax.cumsum(valid.astype(jnp.int32), axis=0, reverse=reverse) - 1
    return (position % every == 0) & (position > 0) & valid


def select(condition: Array, if_true: Tree, if_false: Tree) -> Tree:
    """`jnp.where(condition, if_true, if_false)` over pytrees of `[*batch, ...]` arrays, condition `[*batch]` or `[]`.

    Both branches must be finite: the gradient of the branch not taken is multiplied by zero, and 0 * inf is NaN.
    """

    def where(a: Array, b: Array) -> Array:  # a state may have any number of axes after those of the batch
        return jnp.where(condition.reshape(condition.shape + (1,) * (a.ndim - condition.ndim)), a, b)

    return tree_map(where, if_true, if_false)


def zeros_like(tree: Tree) -> Tree:
    """Zeros of the structure, shapes and dtypes of `tree`."""
    return tree_map(jnp.zeros_like, tree)


def controlled_step(cell: Cell[P, C], params: P, carry: C, projected: Projected, masks: StepMasks) -> tuple[C, Array]:
    """One step of the cell between its masks.

    Args:
        cell: a cell.
        params: its parameters.
        carry: before the step, arrays `[*batch, ...]`.
        projected: what `Cell.project` makes of the step's input, arrays `[*batch, ...]`.
        masks: of this step, without their axis T.

    Returns: the carry after the step, and y `[*batch, O]`: where `cell.output` says how, that of the carry as changed.
    """
    if masks.truncate is not None:
        carry = select(masks.truncate, lax.stop_gradient(carry), carry)
    held = carry
    if masks.reset is not None:
        carry = select(masks.reset, zeros_like(carry), carry)
    before = carry
    carry, y = cell.recur(params, carry, projected)
    if masks.zoneout is not None:
        shares = jax.tree.map(lambda _: masks.zoneout, carry) if isinstance(masks.zoneout, Array) else masks.zoneout
        carry = tree_map(lambda a, b, share: ((1 - share) * a + share * b).astype(b.dtype), carry, before, shares)
    if masks.perturbations is not None:
        carry = tree_map(lambda a, perturbation: a + perturbation.astype(a.dtype), carry, masks.perturbations)
    if cell.output is not None and (masks.zoneout is not None or masks.perturbations is not None):
        y = cell.output(carry).astype(y.dtype)
    if masks.valid is not None:
        carry = select(masks.valid, carry, held)
        y = select(masks.valid, y, jnp.zeros_like(y))
    return carry, y
