"""From the outputs of all steps to one vector per sequence: over valid steps only, whatever the padding holds."""

import jax.numpy as jnp

from rnn_jax.controls import length_mask
from rnn_jax.types import Array

FINAL = ("last", "last_backward")
POOLS = (*FINAL, "mean", "max", "mean_max")


def pool_steps(ys: Array, lengths: Array, pool: str) -> Array:
    """Summarizes outputs over time.

        mean      1 / length * sum_{t < length} y_t
        max       max_{t < length} y_t, feature by feature
        mean_max  both, side by side

    The final state is no function of the outputs: in a bidirectional layer the backward pass ends at step 0. `FINAL`
    names the ways to take it from the final carry, see `rnn_jax.models`.

    Args:
        ys: outputs `[T, B, F]`.
        lengths: `[B]` integers, 0..T.
        pool: `mean`, `max` or `mean_max`.

    Returns: `[B, F]`, or `[B, 2F]` of `mean_max`, in float32 or wider; zeros for an empty sequence.
    Raises: `ValueError` for another pool, or shapes that do not fit.

    Source: Collobert and Weston, "A unified architecture for natural language processing", 2008 (max over time).

    >>> ys = jnp.array([[[1.0, -1.0]], [[3.0, -5.0]], [[9.0, 9.0]]])
    >>> pool_steps(ys, jnp.array([2]), "mean_max").tolist()
    [[2.0, -3.0, 3.0, -1.0]]
    """
    if pool not in POOLS[len(FINAL) :]:
        raise ValueError(f"unknown pool {pool!r}: take one of {', '.join(POOLS[len(FINAL) :])}")
    if ys.ndim != 3 or lengths.shape != ys.shape[1:2]:
        raise ValueError(f"ys must be [T, B, F] and lengths [B], got {ys.shape} and {lengths.shape}")
    ys = ys.astype(jnp.promote_types(ys.dtype, jnp.float32))
    valid = length_mask(lengths, ys.shape[0])[..., None]
    steps = jnp.maximum(lengths, 1)[:, None].astype(ys.dtype)
    parts = []
    if pool in ("mean", "mean_max"):
        parts.append(jnp.where(valid, ys, 0).sum(axis=0) / steps)
    if pool in ("max", "mean_max"):
        largest = jnp.where(valid, ys, -jnp.inf).max(axis=0, initial=-jnp.inf)
        parts.append(jnp.where(lengths[:, None] > 0, largest, 0))
    return jnp.concatenate(parts, axis=-1)
