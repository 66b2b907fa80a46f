"""Losses beyond those of optax."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rnn_jax.types import Array, Params

Loss = Callable[[Params, Array], tuple[Array, Any]]
"""`(params, shift [T, B, I]) -> (scalar, others)`: a mean over the batch, with `shift` added to the inputs."""


def adversarial(loss: Loss, params: Params, shift_shape: tuple[int, int, int], size: Array) -> tuple[Array, Any]:
    """The mean of a loss and of the same loss after the inputs of each sequence were moved the way that hurts most.

        g_b = dL/dx_b        r_b = size g_b / |g_b|_2        (L(x) + L(x + r)) / 2

    with r a constant for the gradient. The norm is over steps and features of one sequence b. To first order no shift
    of that size raises the loss more.

    Both gradients that the first pass offers are taken from one backward pass: that of the inputs makes r, that of the
    parameters is kept. So a step costs two forward and two backward passes.

    Args:
        loss: `(params, shift) -> (scalar, others)`.
        params: what the result is differentiated by.
        shift_shape: of the inputs, `[T, B, I]`.
        size: the length of r, in units of the inputs.

    Returns: the mean, and the others of the first pass.

    Source: Miyato, Dai and Goodfellow, "Adversarial training methods for semi-supervised text classification", 2017.

    Example: with the loss w x and x moved by 0.1 along its gradient, the mean over both is w x + 0.05 |w|:

        >>> x = jnp.ones((1, 1, 1))
        >>> value, _ = adversarial(lambda w, shift: (jnp.sum(w * (x + shift)), None), -2.0, x.shape, 0.1)
        >>> f"{value:.3f}"
        '-1.900'
    """
    constants = jax.lax.stop_gradient(params)
    shift = jnp.zeros(shift_shape)
    (value, others), (dparams, dshift) = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(constants, shift)
    norms = jnp.sqrt(jnp.sum(dshift**2, axis=(0, 2), keepdims=True))
    worst = jax.lax.stop_gradient(size * dshift / jnp.maximum(norms, jnp.finfo(norms.dtype).tiny))
    return (_with_gradient(value, params, dparams) + loss(params, worst)[0]) / 2, others


def _with_gradient(value: Array, params: Params, gradient: Params) -> Array:
    """`value`, with the gradient that is known already."""
    fixed = jax.lax.stop_gradient((params, gradient))
    terms = jax.tree.map(lambda p, at, g: jnp.sum((p - at) * g), params, *fixed)
    return jax.lax.stop_gradient(value) + sum(jax.tree.leaves(terms))
