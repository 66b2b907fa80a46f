"""Flossing: known exponents, the derivative against finite differences, also where the one of QR is infinite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax import cells
from rnn_jax.diagnostics.flossing import SMALLEST, floss, flossing_loss, largest_exponents, orthonormalize


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape, jnp.float64)


def by_qr(jacobians, start):
    """Exponents by NumPy's QR, from the Jacobian of each step `[T, N, N]`."""
    q, growth = np.linalg.qr(start)[0], []
    for jacobian in jacobians:
        q, r = np.linalg.qr(jacobian @ q)
        growth.append(np.log(np.abs(np.diag(r))))
    return np.mean(growth, axis=0)


class TestOrthonormalize:
    def test_is_the_qr_of_numpy(self):
        vectors = normal(0, 7, 4)
        q, lengths = orthonormalize(vectors)
        expected_q, r = np.linalg.qr(vectors)
        signs = np.sign(np.diag(r))
        np.testing.assert_allclose(q, expected_q * signs, atol=1e-10)
        np.testing.assert_allclose(lengths, np.diag(r) * signs, rtol=1e-10)

    def test_nearly_dependent_columns_stay_orthogonal(self):
        a = normal(1, 9)
        q, _ = orthonormalize(jnp.stack((a, a + 1e-4 * normal(2, 9), a - 1e-4 * normal(3, 9)), axis=1))
        np.testing.assert_allclose(q.T @ q, np.eye(3), atol=1e-3)  # short by SMALLEST against 1e-4
        assert float(jnp.abs(q.T @ q - jnp.diag(jnp.diag(q.T @ q))).max()) < 1e-9

    @pytest.mark.parametrize("matrix", [jnp.zeros((5, 3)), jnp.ones((5, 3)), jnp.eye(5)[:, jnp.array([0, 0, 1])]])
    def test_dependent_columns_have_moderate_derivatives(self, matrix):
        """Where those of `jnp.linalg.qr` are NaN or beyond all measure."""

        def largest(lengths):
            return float(jnp.abs(jax.jit(jax.grad(lambda m: jnp.log(lengths(m)).sum()))(matrix)).max())

        assert largest(lambda m: orthonormalize(m)[1]) < 10 / SMALLEST
        assert not largest(lambda m: jnp.abs(jnp.diag(jnp.linalg.qr(m)[1]))) < 10 / SMALLEST


def exponents(step, carry, xs, k):
    """`largest_exponents`, compiled in one."""
    return jax.jit(lambda carry, xs: largest_exponents(step, carry, xs, k))(carry, xs)


class TestExponents:
    def test_of_a_linear_map(self):
        """The logarithms of the moduli of its eigenvalues, here of a matrix that is not normal."""
        basis, rates = normal(0, 4, 4), jnp.array([1.3, 0.9, 0.5, 0.2])
        matrix = basis @ jnp.diag(rates) @ jnp.linalg.inv(basis)
        found = exponents(lambda h, x: matrix @ h + x, jnp.zeros(4), jnp.zeros((2000, 4)), 4)
        np.testing.assert_allclose(found, np.log(rates), atol=5e-3)

    @pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
    def test_of_a_cell_against_jacobians_and_qr(self, name):
        cell = cells.get(name)
        params = cell.init_params(jax.random.key(0), 3, 5, jnp.float64)
        xs, carry = normal(1, 40, 3), cell.init_carry((), 5, jnp.float64)
        found = exponents(lambda c, x: cell.step(params, c, x)[0], carry, xs, 4)

        flat, unravel = jax.flatten_util.ravel_pytree(carry)
        start = jax.random.normal(jax.random.key(0), (flat.size, 4), jnp.float64)

        @jax.jit
        def step(state, x):
            return jax.flatten_util.ravel_pytree(cell.step(params, unravel(state), x)[0])[0]

        jacobian, jacobians = jax.jit(jax.jacfwd(step)), []
        for x in xs:
            jacobians.append(np.asarray(jacobian(flat, x)))
            flat = step(flat, x)
        np.testing.assert_allclose(found, by_qr(jacobians, start), rtol=1e-6)

    def test_sizes(self):
        for k in (0, 3):
            with pytest.raises(ValueError, match=f"from 1 to 2, the size of the carry, got {k}"):
                largest_exponents(lambda h, x: h, jnp.zeros(2), jnp.zeros((5, 1)), k)
        with pytest.raises(ValueError, match=r"got xs of shape \(0, 1\)"):
            largest_exponents(lambda h, x: h, jnp.zeros(2), jnp.zeros((0, 1)), 1)


def tanh_loss(weights, xs, k=3):
    return flossing_loss(lambda h, x: jnp.tanh(weights @ h + x), jnp.zeros(len(weights)), xs, k)


value_and_gradient = jax.jit(jax.value_and_grad(tanh_loss))


class TestLoss:
    def test_is_the_mean_over_the_batch_of_the_sum_of_squares(self):
        weights, xs = normal(0, 4, 4), normal(1, 12, 5, 4)
        run = jax.jit(lambda xs: largest_exponents(lambda h, x: jnp.tanh(weights @ h + x), jnp.zeros(4), xs, 3))
        each = [np.asarray(run(xs[:, b])) for b in range(5)]
        assert float(tanh_loss(weights, xs)) == pytest.approx(float(np.mean([np.sum(e**2) for e in each])))

    def test_derivative_against_finite_differences(self):
        weights, xs, direction = 1.2 * normal(0, 4, 4), normal(1, 12, 2, 4), normal(2, 4, 4)
        step = 1e-6
        loss = jax.jit(tanh_loss)
        ahead, behind = (loss(weights + sign * step * direction, xs) for sign in (1, -1))
        along = jnp.vdot(jax.jit(jax.grad(tanh_loss))(weights, xs), direction)
        assert float(along) == pytest.approx(float((ahead - behind) / (2 * step)), rel=1e-5)

    @pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
    @pytest.mark.parametrize("weights", [jnp.zeros((4, 4)), jnp.ones((4, 4)), jnp.diag(jnp.array([1e3, 1.0, 0, 0]))])
    def test_derivative_is_finite_where_steps_lose_directions(self, weights, dtype):
        xs = normal(1, 50, 2, 4).astype(dtype)
        value, gradient = value_and_gradient(weights.astype(dtype), xs)
        assert jnp.isfinite(gradient).all()
        assert 0 <= value <= 3 * np.log(SMALLEST) ** 2 + 100


class Descent:
    """Gradient descent by steps of at most 0.05: as small as an optimizer can be."""

    def init(self, params):
        return ()

    def update(self, gradient, state, params):
        return -0.05 * gradient / jnp.maximum(1.0, jnp.linalg.norm(gradient)), state


@pytest.mark.parametrize("scale", [0.3, 2.5])
def test_flossing_moves_exponents_to_zero(scale):
    """From a network that forgets at once and from one that is chaotic."""
    weights = scale * normal(0, 8, 8) / np.sqrt(8)

    def loss(weights, key):
        return tanh_loss(weights, 0.3 * jax.random.normal(key, (20, 4, 8), jnp.float64), k=2)

    flossed, losses = jax.jit(lambda w: floss(loss, w, Descent(), 60, jax.random.key(1)))(weights)
    assert losses.shape == (60,)
    of = jax.jit(loss)
    before, after = (float(of(w, jax.random.key(99))) for w in (weights, flossed))
    assert float(losses[0]) == pytest.approx(float(of(weights, jax.random.fold_in(jax.random.key(1), 0))))
    assert after < 0.5 * before  # of the chaotic one rounding decides how far it comes
