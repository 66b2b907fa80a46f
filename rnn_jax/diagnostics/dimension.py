"""What a Lyapunov spectrum says of an attractor: how many dimensions it has, and how fast it makes information.

    D = k + (lambda_1 + ... + lambda_k) / |lambda_{k+1}|        k: the most exponents whose sum is not negative
    h = sum of the positive exponents

D, the Kaplan-Yorke dimension, is that of a volume that neither grows nor shrinks, and conjectured to be the information
dimension of the attractor. By Pesin's identity h is the entropy rate: the nats per step by which a trajectory says more
of where it began; in general a bound from above. Both are 0 where every exponent is negative: a network that forgets
follows its inputs, and has no attractor of its own.

Sources: Kaplan and Yorke, "Chaotic behavior of multidimensional difference equations", 1979; Pesin, "Characteristic
Lyapunov exponents and smooth ergodic theory", 1977; of recurrent networks Engelken, Wolf and Abbott, "Lyapunov spectra
of chaotic recurrent neural networks", 2023.
"""

import jax.numpy as jnp

from rnn_jax.types import Array


def kaplan_yorke_dimension(exponents: Array) -> Array:
    """D of Lyapunov exponents `[..., K]` in any order: `[...]`.

    Of the K largest alone it is as exact as of all where their sum is negative; where it is not, D is K, a bound from
    below.

    Raises: `ValueError` without an exponent.

    Example: a strange attractor between a curve and a surface, a fixed point, and too few exponents.

        >>> spectra = jnp.array([[0.5, -2.0], [-0.1, -2.0], [0.5, 0.1]])
        >>> kaplan_yorke_dimension(spectra).tolist()
        [1.25, 0.0, 2.0]
    """
    if jnp.ndim(exponents) == 0 or jnp.shape(exponents)[-1] == 0:
        raise ValueError(f"exponents must be [..., K] with K >= 1, got shape {jnp.shape(exponents)}")
    falling = jnp.sort(exponents, axis=-1, descending=True)
    sums = jnp.cumsum(falling, axis=-1)
    kept = jnp.sum(sums >= 0, axis=-1, keepdims=True)  # as sums of falling numbers rise and then fall: the first ones
    last = falling.shape[-1] - 1
    held = jnp.where(kept > 0, jnp.take_along_axis(sums, jnp.maximum(kept - 1, 0), axis=-1), 0.0)
    following = jnp.take_along_axis(falling, jnp.minimum(kept, last), axis=-1)
    part = jnp.where(kept <= last, held / jnp.where(kept <= last, -following, 1.0), 0.0)
    return (kept + part)[..., 0]


def entropy_rate(exponents: Array) -> Array:
    """h of Lyapunov exponents `[..., K]`, nats per step: `[...]`.

    >>> round(float(entropy_rate(jnp.array([0.5, 0.25, -2.0]))), 3)
    0.75
    """
    return jnp.sum(jnp.maximum(exponents, 0), axis=-1)
