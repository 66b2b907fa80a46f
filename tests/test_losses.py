"""Adversarial training: the value by its definition, the gradient with the shift held constant."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax import cells, unroll
from rnn_jax.losses import adversarial

T, B, D, H = 5, 3, 4, 2
CELL = cells.get("gru")


def setting():
    keys = jax.random.split(jax.random.key(0), 3)
    params = CELL.init_params(keys[0], D, H, dtype=jnp.float64)
    xs = jax.random.normal(keys[1], (T, B, D), jnp.float64)
    weights = jax.random.normal(keys[2], (B, H), jnp.float64)

    def loss(params, shift):
        final, ys = unroll(CELL, params, xs + shift, backend="manual")
        return jnp.mean(jnp.tanh(final.h * weights).sum(axis=-1)), ys

    return params, loss


def worst_shift(params, loss, size):
    """r by the definition, for each sequence."""
    gradient = np.asarray(jax.grad(lambda shift: loss(params, shift)[0])(jnp.zeros((T, B, D))))
    return np.stack([size * gradient[:, b] / np.linalg.norm(gradient[:, b]) for b in range(B)], axis=1)


@pytest.mark.parametrize("size", [0.0, 0.3, 2.0])
def test_value_and_gradient(size):
    params, loss = setting()
    shift = jnp.asarray(worst_shift(params, loss, size))

    def expected(params):
        return (loss(params, jnp.zeros((T, B, D)))[0] + loss(params, shift)[0]) / 2

    def ours(params):
        return adversarial(loss, params, (T, B, D), size)[0]

    value, gradient = jax.value_and_grad(ours)(params)
    want, wanted = jax.value_and_grad(expected)(params)
    np.testing.assert_allclose(value, want, rtol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), gradient, wanted)


def test_no_shift_of_that_size_hurts_more():
    """To first order: among many small shifts of each sequence, none raises the loss more."""
    params, loss = setting()
    size = 1e-4
    at_zero = loss(params, jnp.zeros((T, B, D)))[0]
    ours = loss(params, jnp.asarray(worst_shift(params, loss, size)))[0] - at_zero
    assert ours > 0
    for shift in np.random.default_rng(0).normal(size=(50, T, B, D)):
        shift *= size / np.linalg.norm(shift, axis=(0, 2), keepdims=True)
        assert loss(params, jnp.asarray(shift))[0] - at_zero < ours


def test_others_are_those_of_the_plain_pass():
    params, loss = setting()
    np.testing.assert_array_equal(adversarial(loss, params, (T, B, D), 0.5)[1], loss(params, jnp.zeros((T, B, D)))[1])


def test_a_sequence_without_gradient_is_not_moved():
    """Its direction is 0 / 0; nothing may become NaN."""
    value, gradient = jax.value_and_grad(
        lambda w: adversarial(
            lambda w, shift: (w * jnp.sum(jnp.where(jnp.arange(2) == 0, shift, 0.0)), None), w, (1, 2, 2), 1.0
        )[0]
    )(2.0)
    assert np.isfinite([value, gradient]).all()
    value, gradient = jax.value_and_grad(lambda w: adversarial(lambda w, shift: (w**2, None), w, (3, 2, 1), 1.0)[0])(
        2.0
    )
    assert (value, gradient) == (4.0, 4.0)
