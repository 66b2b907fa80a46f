"""Padding to what the kernels take: B to a multiple of 16 rows, H to a power of two of at least 16.

Triton's products want it so. Padding is zeros, and the cells keep zeros at zero: a padded unit sees no input and no
other unit.
"""

import jax.numpy as jnp

from rnn_jax.cells.cell import gates
from rnn_jax.controls import StepMasks
from rnn_jax.types import Array, GateWeights, Tree, tree_map

TILE = 16
"""Sequences per program, the least that a product on tensor cores takes: with more, fewer processors have work."""


def padded_size(hidden_size: int) -> int:
    """H as the kernels see it: a power of two, at least 16.

    >>> padded_size(5), padded_size(64), padded_size(65)
    (16, 64, 128)
    """
    return max(TILE, 1 << (hidden_size - 1).bit_length())


def padded(array: Array, rows: int, columns: int) -> Array:
    """`array` `[..., M, N]` with zeros behind it, `[..., rows, columns]`."""
    more = [(0, rows - array.shape[-2]), (0, columns - array.shape[-1])]
    return jnp.pad(array, [(0, 0)] * (array.ndim - 2) + more)


def whole_tiles(rows: int) -> int:
    """`rows` as the kernels see them: the next multiple of `TILE`."""
    return -(-rows // TILE) * TILE


def blocks(params: GateWeights, num_gates: int) -> tuple[Array, ...]:
    """W_hh as G arrays `[H', H']`."""
    size = padded_size(params.w_hh.shape[0])
    return tuple(padded(block, size, size) for block in gates(params.w_hh, num_gates))


def pad(params: GateWeights, tree: Tree) -> Tree:
    """Arrays `[..., B, H]` as the kernels want them."""
    size = padded_size(params.w_hh.shape[0])
    return tree_map(lambda a: padded(a, whole_tiles(a.shape[-2]), size), tree)


def unpad(params: GateWeights, batch_size: int, tree: Tree) -> Tree:
    """The inverse of `pad`."""
    return tree_map(lambda a: a[..., :batch_size, : params.w_hh.shape[0]], tree)


def pad_masks(masks: StepMasks) -> StepMasks:
    """Masks `[T, B]` with rows added that are False."""
    return tree_map(lambda mask: padded(mask, mask.shape[0], whole_tiles(mask.shape[1])), masks)
