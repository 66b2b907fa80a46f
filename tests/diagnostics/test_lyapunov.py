"""Lyapunov exponents where theory or the literature gives them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.maps import LORENZ_STEP, henon, lorenz
from numpy.testing import assert_allclose

from rnn_jax import cells
from rnn_jax.diagnostics.lyapunov import lyapunov_spectrum
from rnn_jax.diagnostics.steps import cell_step


def test_of_a_linear_map_they_are_the_logarithms_of_the_eigenvalues_moduli():
    """A matrix with real eigenvalues that is far from normal; the error of a mean over T steps is O(1/T)."""
    basis = np.random.default_rng(0).normal(size=(4, 4))
    moduli = np.array([1.5, 0.9, 0.5, 0.01])
    matrix = jnp.asarray(basis @ np.diag(moduli) @ np.linalg.inv(basis))
    spectrum = lyapunov_spectrum(lambda h, x: matrix @ h, jnp.zeros(4), jnp.zeros((1000, 0)), warmup=500)
    assert_allclose(spectrum.exponents, np.log(moduli), atol=1e-9)


def test_of_an_orthogonal_map_they_are_zero_and_a_factor_adds_its_logarithm():
    q = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (6, 6), jnp.float64))[0]
    for factor in (1.0, 0.25):
        spectrum = lyapunov_spectrum(lambda h, x: factor * (q @ h), jnp.zeros(6), jnp.zeros((50, 0)))  # noqa: B023
        assert_allclose(spectrum.exponents, math.log(factor), atol=1e-12)


def test_henon_map():
    """0.419 and -1.62 at a = 1.4, b = 0.3; their sum is log b exactly.

    Over 20,000 steps the largest has a standard error of about 0.005.
    """

    run = jax.jit(lambda: lyapunov_spectrum(henon, (0.1, 0.1), jnp.zeros((20_000, 0)), warmup=100))
    exponents = run().exponents
    assert_allclose(exponents, [0.419, -1.623], atol=0.015)
    assert_allclose(exponents.sum(), math.log(0.3), rtol=1e-12)


def test_lorenz_system():
    """0.906, 0 and -14.57 per unit of time at sigma = 10, rho = 28, beta = 8/3; the sum is -(sigma + 1 + beta).

    Fourth-order Runge-Kutta with steps of 0.01 over 500 units: a standard error of about 0.02 in the largest.
    """
    start = jnp.array([1.0, 1.0, 20.0])
    run = jax.jit(lambda: lyapunov_spectrum(lorenz, start, jnp.zeros((50_000, 0)), warmup=1_000, qr_every=10))
    exponents = run().exponents / LORENZ_STEP
    assert_allclose(exponents, [0.906, 0.0, -14.57], atol=0.05)
    assert_allclose(exponents.sum(), -(10 + 1 + 8 / 3), rtol=1e-4)


@pytest.mark.parametrize(("gain", "chaotic"), [(0.5, False), (0.8, False), (1.5, True), (3.0, True)])
def test_a_random_tanh_network_is_chaotic_above_gain_one(gain, chaotic):
    """Sompolinsky, Crisanti and Sommers, 1988: the transition is at gain 1 for large H, without input.

    Below it the origin is stable and the exponents are those of the linear map: log |eigenvalues of W|.
    """
    hidden = 100
    rnn = cells.get("rnn")
    params = rnn.init_params(jax.random.key(1), 1, hidden, jnp.float64, init="gaussian", gain=gain)
    carry = jax.tree.map(lambda c: c + 0.1, rnn.init_carry((), hidden, jnp.float64))
    run = jax.jit(
        lambda: lyapunov_spectrum(
            cell_step(rnn, params), carry, jnp.zeros((2_000, 1)), num_exponents=2, warmup=500, qr_every=5
        )
    )
    largest = float(run().exponents[0])
    if chaotic:
        assert largest > 0.02
    else:
        assert_allclose(largest, np.log(np.abs(np.linalg.eigvals(params.w_hh)).max()), atol=2e-3)


def test_fewer_exponents_are_the_largest_and_blocks_change_nothing():
    gru = cells.get("gru")
    params = gru.init_params(jax.random.key(0), 3, 5, jnp.float64)
    xs = jax.random.normal(jax.random.key(1), (600, 3), jnp.float64)
    start = gru.init_carry((), 5, jnp.float64)
    whole = lyapunov_spectrum(cell_step(gru, params), start, xs, warmup=300)
    some = lyapunov_spectrum(cell_step(gru, params), start, xs, warmup=300, num_exponents=2)
    blocks = lyapunov_spectrum(cell_step(gru, params), start, xs, warmup=300, qr_every=4)
    # Directions start elsewhere, and turn to the same ones as fast as the exponents differ: here by 1e-3 per step.
    assert_allclose(some.exponents, whole.exponents[:2], atol=2e-3)
    assert_allclose(blocks.exponents, whole.exponents, atol=1e-9)
    assert blocks.growth.shape == (150, 5)
    assert jax.tree.map(jnp.shape, whole.carry) == jax.tree.map(jnp.shape, start)


def test_errors():
    for options, message in (
        ({"num_exponents": 3}, r"num_exponents must be in 1\.\.2, the size of the carry, got 3"),
        ({"qr_every": 3}, "qr_every=3 must divide T=10"),
        ({"warmup": 10}, r"warmup must be in 0\.\.9"),
    ):
        with pytest.raises(ValueError, match=message):
            lyapunov_spectrum(lambda h, x: h, jnp.zeros(2), jnp.zeros((10, 0)), **options)
