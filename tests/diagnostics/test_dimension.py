"""Kaplan-Yorke dimension and entropy rate: of numbers, of maps whose dimensions are published, of random networks."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.maps import LORENZ_STEP, henon, lorenz
from numpy.testing import assert_allclose

from rnn_jax import cells
from rnn_jax.diagnostics.dimension import entropy_rate, kaplan_yorke_dimension
from rnn_jax.diagnostics.lyapunov import lyapunov_spectrum
from rnn_jax.diagnostics.steps import cell_step


@pytest.mark.parametrize(
    ("exponents", "dimension", "entropy"),
    [
        ([-0.1, -3.0], 0.0, 0.0),
        ([-0.5], 0.0, 0.0),
        ([0.0, -1.0], 1.0, 0.0),
        ([0.2, 0.1, -1.0], 2.3, 0.3),
        ([-1.0, 0.1, 0.2], 2.3, 0.3),  # in any order
        ([0.3, 0.0, -0.1, -0.4, -5.0], 3.5, 0.3),
        ([0.3, -0.1, -math.inf], 2.0, 0.3),  # a direction that is killed at once
        ([0.3, 0.2, -0.1], 3.0, 0.5),  # volumes grow: all dimensions there are
    ],
)
def test_of_numbers(exponents, dimension, entropy):
    assert_allclose(kaplan_yorke_dimension(jnp.array(exponents)), dimension, rtol=1e-12)
    assert_allclose(entropy_rate(jnp.array(exponents)), entropy, rtol=1e-12)


def test_of_many_spectra_at_once():
    spectra = jnp.asarray(np.random.default_rng(0).normal(-0.5, 1, (3, 4, 5)))
    for function in (kaplan_yorke_dimension, entropy_rate):
        found = function(spectra)
        assert found.shape == (3, 4)
        assert_allclose(found[1, 2], function(spectra[1, 2]))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_without_an_exponent(shape):
    with pytest.raises(ValueError, match=re.escape(f"exponents must be [..., K] with K >= 1, got shape {shape}")):
        kaplan_yorke_dimension(jnp.ones(shape))


def test_published_exponents_have_the_published_dimensions():
    """Sprott, "Lyapunov exponent spectrum software", 2005: of the map of Henon and the system of Lorenz."""
    assert_allclose(kaplan_yorke_dimension(jnp.array([0.419217, -1.623190])), 1.258267, atol=1e-6)
    assert_allclose(kaplan_yorke_dimension(jnp.array([0.90563, 0.0, -14.57219])), 2.06215, atol=5e-6)


def test_henon_and_lorenz():
    """1.258 and 2.062, of exponents that are measured: 0.4192 per step, 0.9056 per unit of time."""
    run = jax.jit(lambda: lyapunov_spectrum(henon, (0.1, 0.1), jnp.zeros((100_000, 0)), warmup=100, qr_every=10))
    exponents = run().exponents
    assert_allclose(exponents, [0.4192, -1.6232], atol=0.005)
    assert_allclose(kaplan_yorke_dimension(exponents), 1.258, atol=0.004)
    assert_allclose(entropy_rate(exponents), 0.4192, atol=0.005)
    start = jnp.array([1.0, 1.0, 20.0])
    run = jax.jit(lambda: lyapunov_spectrum(lorenz, start, jnp.zeros((50_000, 0)), warmup=1_000, qr_every=10))
    exponents = run().exponents / LORENZ_STEP
    assert_allclose(kaplan_yorke_dimension(exponents), 2.062, atol=0.002)
    assert_allclose(entropy_rate(exponents), 0.9056, atol=0.03)


def variance(gain):
    """Of x_{t+1} = g J tanh(x_t) at large N: v = g^2 E[tanh(sqrt(v) z)^2], z standard normal."""
    z = np.linspace(-8, 8, 4001)
    weights = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    v = gain**2
    for _ in range(1000):
        v = gain**2 * (weights * np.tanh(np.sqrt(v) * z) ** 2).sum()
    return v, z, weights


def mean_field_exponent(gain):
    """The largest: 1/2 log(g^2 E[tanh'(x)^2]), since in this limit J is as if it was drawn anew at each step."""
    v, z, weights = variance(gain)
    return 0.5 * np.log(gain**2 * (weights * (1 - np.tanh(np.sqrt(v) * z) ** 2) ** 2).sum())


def random_network(gain, size, num_exponents, num_steps):
    """The spectrum of h_{t+1} = tanh(W h_t), W `[size, size]` with entries of variance g^2 / size."""
    rnn = cells.get("rnn")
    params = rnn.init_params(jax.random.key(1), 1, size, jnp.float64, init="gaussian", gain=gain)
    carry = jax.tree.map(lambda c: jax.random.normal(jax.random.key(2), c.shape), rnn.init_carry((), size, jnp.float64))

    def run():
        xs, warmup = jnp.zeros((num_steps, 1)), num_steps // 5
        return lyapunov_spectrum(cell_step(rnn, params), carry, xs, num_exponents=num_exponents, warmup=warmup)

    return jax.jit(run)().exponents


@pytest.mark.parametrize(
    ("gain", "expected", "error"),
    [
        (0.5, math.log(0.5), 0.04),  # of one matrix the spectral radius is above 1, by 3 % at this size
        *((gain, mean_field_exponent(gain), 0.015) for gain in (2.0, 3.0, 8.0)),
    ],
)
def test_the_largest_exponent_of_a_random_network_is_that_of_mean_field_theory(gain, expected, error):
    """Sompolinsky, Crisanti and Sommers, 1988: log g below a gain of 1. One network of 1,000 units, 800 steps."""
    assert_allclose(random_network(gain, 1000, 1, 1000)[0], expected, atol=error)


def test_dimension_and_entropy_of_a_random_network_are_the_published_ones():
    """0.2872 N and 0.02511 N at gain 3 (Clark, "Lyapunov spectrum of random neural networks", N = 4096).

    One network of 200 units, 400 steps.
    """
    exponents = random_network(3.0, 200, 64, 500)
    assert exponents.sum() < 0, "as many as the dimension needs"
    assert_allclose(kaplan_yorke_dimension(exponents) / 200, 0.2872, rtol=0.06)
    assert_allclose(entropy_rate(exponents) / 200, 0.02511, rtol=0.12)
