"""The order in which an epoch goes through the data: a function of (seed, epoch), so the position in it is the step.

Examples of one shape are shuffled, and that is all. Examples of several lengths are padded, to what the longest of
their batch needs, and padding costs time: so batches are cut from the examples sorted by length, and then shuffled.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from rnn_jax.training.keys import ORDER, PLAN, seed_key
from rnn_jax.types import Array


class Plan(NamedTuple):
    """An epoch of M batches of B examples whose lengths differ.

    Attributes:
        used: `[M B]` integers, the examples of the epoch.
        rows: `[M]` integers: step m takes batch `rows[m]` of those cut from the examples sorted by length.
        lengths: `[M]` int32, the number of the length that the batch of each step is padded to.
    """

    used: Array
    rows: Array
    lengths: Array


def shuffle(seed: Array, epoch: ArrayLike, num_examples: int) -> Array:
    """All examples in the order of an epoch.

    Args:
        seed: `[]` uint32.
        epoch: `[]` integer.
        num_examples: N.

    Returns: `[N]` integers, a permutation.
    """
    return jax.random.permutation(_key(seed, epoch), num_examples)


def plan(epoch: ArrayLike, length_index: np.ndarray, batch_size: int) -> Plan:
    """Which examples an epoch uses, and the length of the batch of each step.

    Not a function of the seed: side by side on an accelerator, replicas have batches of one length at a time.

    Args:
        epoch: `[]` integer.
        length_index: `[N]` int32, the number of each example's length, in ascending order of the lengths.
        batch_size: B. An epoch has M = N // B steps: what is left over is seen in another epoch.
    """
    steps = len(length_index) // batch_size
    keys = jax.random.split(jax.random.fold_in(seed_key(jnp.uint32(0), PLAN), epoch))
    used = jax.random.permutation(keys[0], len(length_index))[: steps * batch_size]
    rows = jax.random.permutation(keys[1], steps)
    longest = jnp.sort(jnp.asarray(length_index)[used])[batch_size - 1 :: batch_size]
    return Plan(used, rows, longest[rows])


def shuffle_by_length(seed: Array, epoch: ArrayLike, length_index: np.ndarray, batch_size: int) -> Array:
    """The examples of `plan` in the order of an epoch, batch after batch.

    A batch has examples of one length, or of two and more where one length ends and the next begins. Examples of one
    length are spread over their batches at random, by the seed.

    Args:
        seed: `[]` uint32.
        epoch: `[]` integer.
        length_index, batch_size: as for `plan`.

    Returns: `[M B]` integers, no example twice.
    """
    key = _key(seed, epoch)
    planned = plan(epoch, length_index, batch_size)
    shuffled = jax.random.permutation(key, planned.used)
    by_length = shuffled[jnp.argsort(jnp.asarray(length_index)[shuffled])]
    return by_length.reshape(-1, batch_size)[planned.rows].ravel()


def _key(seed: Array, epoch: ArrayLike) -> Array:
    return jax.random.fold_in(seed_key(seed, ORDER), epoch)
