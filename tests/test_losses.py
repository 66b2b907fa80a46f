"""The cross-entropy of a large vocabulary, block by block, against a softmax of all scores in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax.losses import cross_entropy, sampled_cross_entropy, token_losses

H, V = 3, 7
CASES = [(10, 4), (8, 4), (3, 4), (4, 4), (1, 4), (0, 4), (5, 512)]
"""Rows, and rows of a block: blocks and a rest, blocks alone, a rest alone, none."""


def draw(num_rows, seed=0):
    """h, W, b, targets, shares: a third of these is zero."""
    rng = np.random.default_rng(seed)
    shares = np.where(rng.random(num_rows) < 0.3, 0, rng.random(num_rows))
    h, weights, bias = (rng.normal(size=shape) for shape in ((num_rows, H), (V, H), (V,)))
    return h, weights, bias, rng.integers(0, V, num_rows), shares


def by_numpy(h, weights, bias, targets, shares):
    """The loss of each row, their sum, and its gradient with respect to h, W and b."""
    scores = h @ weights.T + bias
    scores -= scores.max(axis=1, keepdims=True)
    log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    rows = np.arange(len(h))
    losses = -log_p[rows, targets]
    d_scores = np.exp(log_p)
    d_scores[rows, targets] -= 1
    d_scores *= shares[:, None]
    return losses, (shares * losses).sum(), (d_scores @ weights, d_scores.T @ h, d_scores.sum(axis=0))


@pytest.mark.parametrize(("num_rows", "block"), CASES)
def test_values_and_gradients(num_rows, block):
    arguments = draw(num_rows)
    losses, total, gradient = by_numpy(*arguments)
    np.testing.assert_allclose(token_losses(*arguments[:4], block), losses, rtol=1e-12)
    np.testing.assert_allclose(cross_entropy(*arguments, block), total, rtol=1e-12)

    @jax.jit
    def twice(h, weights, bias):
        return 2 * cross_entropy(h, weights, bias, *map(jnp.asarray, arguments[3:]), block)

    value, found = jax.value_and_grad(twice, argnums=(0, 1, 2))(*map(jnp.asarray, arguments[:3]))
    np.testing.assert_allclose(value, 2 * total, rtol=1e-12)
    for each, want in zip(found, gradient, strict=True):
        assert each.shape == want.shape
        np.testing.assert_allclose(each, 2 * want, rtol=1e-10, atol=1e-14)


def test_targets_of_the_smallest_type_and_large_scores():
    h, weights, bias, targets, shares = draw(6)
    arguments = (1000 * h, weights, bias, targets, shares)
    losses, total, _ = by_numpy(*arguments)
    assert losses.max() > 500
    small = jnp.asarray(targets, jnp.uint8)
    np.testing.assert_allclose(token_losses(*arguments[:3], small, 4), losses, rtol=1e-12)
    value, gradient = jax.value_and_grad(cross_entropy)(*map(jnp.asarray, arguments[:3]), small, shares, 4)
    np.testing.assert_allclose(value, total, rtol=1e-12)
    assert np.isfinite(gradient).all()


def test_several_at_once():
    """`vmap`, as of seeds side by side."""
    arguments = [jnp.stack(each) for each in zip(*(draw(6, seed) for seed in (0, 1)), strict=True)]
    found = jax.vmap(jax.grad(lambda *args: cross_entropy(*args, 4), argnums=1))(*arguments)
    for seed in (0, 1):
        np.testing.assert_allclose(found[seed], by_numpy(*draw(6, seed))[2][1], rtol=1e-10)


@pytest.mark.parametrize("dtypes", [("bfloat16",) * 2, ("bfloat16", "float32"), ("float32",) * 2])
def test_narrow_types(dtypes):
    """The loss is summed up in float32, and each gradient has the type of what it belongs to."""
    num_rows = 300
    h, weights, bias, targets, _ = draw(num_rows)
    shares = np.full(num_rows, 1 / num_rows)
    h, weights, bias = (
        jnp.asarray(a, d) for a, d in zip((h, weights, bias), (dtypes[0], *dtypes[1:] * 2), strict=True)
    )
    exact = (np.asarray(a, np.float64) for a in (h, weights, bias))
    losses, total, gradient = by_numpy(*exact, targets, shares)
    tolerance = 2e-2 if "bfloat16" in dtypes else 1e-5
    found = token_losses(h, weights, bias, jnp.asarray(targets), 64)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, losses, atol=5 * tolerance, rtol=tolerance)
    value, slopes = jax.value_and_grad(cross_entropy, (0, 1, 2))(h, weights, bias, jnp.asarray(targets), shares, 64)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, total, rtol=tolerance)
    for each, want, of in zip(slopes, gradient, (h, weights, bias), strict=True):
        assert each.dtype == of.dtype
        np.testing.assert_allclose(each.astype(np.float64), want, atol=tolerance * np.abs(want).max())


class TestSampled:
    arguments = draw(V, seed=2)
    h, weights, bias = map(jnp.asarray, arguments[:3])
    targets = jnp.arange(V)

    def mean_gradient(self, argument, num_samples, num_keys, h, shares):
        """Over many keys."""

        def loss(values, key):
            inputs = [h, self.weights, self.bias]
            inputs[argument] = values
            return sampled_cross_entropy(key, *inputs, self.targets, jnp.asarray(shares), num_samples)

        @jax.jit
        def mean(keys):
            return jax.vmap(jax.grad(loss), (None, 0))((h, self.weights, self.bias)[argument], keys).mean(axis=0)

        return np.asarray(mean(jax.random.split(jax.random.key(3), num_keys)))

    @pytest.mark.parametrize("argument", [0, 1, 2])
    def test_with_many_samples_the_gradient_is_exact(self, argument):
        """For frequent targets, which are among the samples, and for rare ones."""
        shares = np.random.default_rng(4).random(V)
        exact = by_numpy(self.h, self.weights, self.bias, self.targets, shares)[2][argument]
        found = self.mean_gradient(argument, 2000, 50, self.h, shares)
        np.testing.assert_allclose(found, exact, atol=0.02 * np.abs(exact).max())

    def test_with_few_samples_the_best_model_stays_where_it_is(self):
        """Where targets come from the model's own distribution, no gradient is left, however few samples there are."""
        h = jnp.broadcast_to(self.h[0], (V, H))
        p = jax.nn.softmax(self.weights @ self.h[0] + self.bias)
        found = self.mean_gradient(2, 2, 10_000, h, p)
        assert np.abs(found).max() < 0.006
        other = self.mean_gradient(2, 2, 4_000, h, jnp.full(V, 1 / V))
        assert np.abs(other).max() > 0.05

    def test_a_sample_that_is_the_target(self):
        """The only token there is, and so every sample."""
        key, one = jax.random.key(0), jnp.zeros(1, jnp.int32)
        arguments = self.h[:1], self.weights[:1], self.bias[:1]
        gradient = jax.grad(lambda h: sampled_cross_entropy(key, h, *arguments[1:], one, jnp.ones(1), 3))(arguments[0])
        np.testing.assert_allclose(gradient, 0, atol=1e-12)

    def test_samples_are_drawn_by_the_key_and_shares_weigh_rows(self):
        def loss(seed, shares):
            key = jax.random.key(seed)
            inputs = (self.h, self.weights, self.bias, self.targets)
            return float(sampled_cross_entropy(key, *inputs, jnp.asarray(shares), 4))

        ones, first = np.ones(V), np.eye(V)[0]
        assert loss(0, ones) == loss(0, ones) != loss(1, ones)
        assert loss(0, ones) == pytest.approx(loss(0, first) + loss(0, ones - first))
        assert loss(0, 0 * ones) == 0

    def test_bfloat16(self):
        h = self.h.astype(jnp.bfloat16)
        weights, bias = (each.astype(jnp.float32) for each in (self.weights, self.bias))
        arguments = (weights, bias, self.targets, jnp.full(V, 1 / V, jnp.float32), 50)
        key = jax.random.key(0)
        value, gradient = jax.value_and_grad(lambda h: sampled_cross_entropy(key, h, *arguments))(h)
        wide = sampled_cross_entropy(key, h.astype(jnp.float32), *arguments)
        assert (value.dtype, gradient.dtype) == (jnp.float32, jnp.bfloat16)
        np.testing.assert_allclose(value, wide, rtol=2e-2)
        assert np.isfinite(gradient.astype(np.float32)).all()
