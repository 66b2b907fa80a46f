"""Random keys of training: one for each seed and purpose."""

import jax

from rnn_jax.types import Array, Key

INIT, ORDER, DROPOUT, PLAN = range(4)
"""A seed's key is folded with one of these, so that each purpose draws its own random numbers."""


def seed_key(seed: Array, purpose: int) -> Key:
    """The key of one seed, `[]` uint32, for one purpose."""
    return jax.random.fold_in(jax.random.key(seed), purpose)
