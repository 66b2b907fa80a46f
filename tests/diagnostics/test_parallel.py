"""Iterations of Newton's method over time, predicted and measured."""

import math

import jax
import jax.numpy as jnp
import pytest

from rnn_jax import cells, unroll
from rnn_jax.diagnostics import (
    Predictability,
    cell_step,
    lyapunov_spectrum,
    newton_iterations,
    predictability,
    predicted_iterations,
)

# Cells, sizes, seeds and inputs that the two constants were not fitted on; exponents from -1 to 0.06.
UNSEEN = [
    ("rnn", 24, 0.6, 400),
    ("rnn", 24, 2.2, 300),
    ("mgu", 12, 1.0, 400),
    ("lstm_peephole", 6, 1.5, 400),
    ("gru", 12, 1.5, 400),
    ("lstm_coupled", 6, 1.0, 400),
]


@pytest.mark.parametrize(("name", "hidden_size", "gain", "num_steps"), UNSEEN)
def test_within_a_factor_of_one_and_a_half(name, hidden_size, gain, num_steps):
    cell = cells.get(name)
    params = cell.init_params(jax.random.key(5), 3, hidden_size, jnp.float32, init="gaussian", gain=gain)
    xs = jax.random.normal(jax.random.key(6), (num_steps, 3), jnp.float32)
    arguments = cell_step(cell, params), cell.init_carry((), hidden_size), xs
    measured = jax.jit(lambda: newton_iterations(*arguments))()
    found = jax.jit(lambda: predictability(*arguments))()
    predicted = float(predicted_iterations(found))
    assert measured.converged
    _, ys = unroll(cell, params, xs, backend="scan")
    assert jnp.abs(measured.states[:20, :hidden_size] - ys[:20]).max() < 1e-4
    assert abs(math.log(predicted / int(measured.iterations))) <= math.log(1.5) + 1e-6, (
        f"predicted {predicted}, measured {int(measured.iterations)}, exponent {float(found.exponent()):.3f}"
    )


def of(exponent, num_steps, curvature=0.5):
    return Predictability(jnp.full(num_steps, exponent), jnp.asarray(curvature), jnp.ones(num_steps))


def test_the_sign_of_the_exponent_decides():
    stable, chaotic = ([float(predicted_iterations(of(rate, n))) for n in (100, 1000)] for rate in (-0.3, 0.3))
    assert stable[1] == stable[0] < 10
    assert chaotic[1] == pytest.approx(10 * chaotic[0], rel=0.2)
    assert chaotic[0] > 20


def test_what_is_not_simulated_is_extrapolated():
    whole = float(predicted_iterations(of(0.3, 2000), max_iterations=2000))
    assert float(predicted_iterations(of(0.3, 2000), max_iterations=100)) == pytest.approx(whole, rel=0.1)


def test_a_chaotic_beginning_is_all_that_takes_long():
    """What follows it is right as soon as it is."""
    long = of(0.3, 300)
    longer = Predictability(jnp.concatenate((long.growth, jnp.full(5000, -0.5))), long.curvature, jnp.ones(5300))
    found = float(predicted_iterations(longer, max_iterations=50))
    assert found == pytest.approx(float(predicted_iterations(long, max_iterations=50)), rel=0.3)


def test_the_growth_is_that_of_the_largest_exponent():
    cell = cells.get("gru")
    step = cell_step(cell, cell.init_params(jax.random.key(0), 2, 6, jnp.float64, init="gaussian", gain=2.0))
    carry, xs = cell.init_carry((), 6, jnp.float64), jax.random.normal(jax.random.key(1), (400, 2))
    found = jax.jit(lambda: predictability(step, carry, xs))()
    spectrum = jax.jit(lambda: lyapunov_spectrum(step, carry, xs, num_exponents=1, warmup=100))()
    assert float(found.exponent(warmup=100)) == pytest.approx(float(spectrum.exponents[0]), rel=1e-6)


def test_a_linear_recurrence_has_no_curvature():
    found = predictability(lambda h, x: 0.5 * h + x, jnp.zeros(3), jnp.ones((50, 3)))
    assert float(found.exponent()) == pytest.approx(math.log(0.5))
    assert float(found.curvature) == 0
    assert found.distance[-1] == pytest.approx(math.sqrt(3) * 2)


def test_the_curvature_of_a_parabola():
    """f = s^2 in one unit: d^2 f(q, q) = 2 q^2."""
    found = predictability(lambda h, x: h**2 + x, jnp.full(1, 0.1), jnp.full((20, 1), 0.1))
    assert float(found.curvature) == pytest.approx(2)


def test_a_step_that_forgets_everything():
    found = predictability(lambda h, x: 0 * h + x, jnp.zeros(3), jnp.ones((20, 3)))
    assert float(found.exponent()) == -math.inf
    assert float(found.curvature) == 0
    assert float(predicted_iterations(found)) == 1


def test_no_prediction_of_states_that_overflow():
    found = predictability(lambda h, x: 1e3 * h + x, jnp.zeros(3, jnp.float32), jnp.ones((50, 3), jnp.float32))
    assert math.isnan(float(predicted_iterations(found)))


def test_errors():
    straight = Predictability(jnp.full(9, -0.1), jnp.array(0.0), jnp.ones(9))
    for look in (predictability, newton_iterations):
        with pytest.raises(ValueError, match=r"xs must have 1 or more steps, got shapes \[\(0, 3\)\]"):
            look(lambda h, x: h + x, jnp.zeros(3), jnp.zeros((0, 3)))
    with pytest.raises(ValueError, match="max_iterations must be 1 or more, got 0"):
        newton_iterations(lambda h, x: h + x, jnp.zeros(3), jnp.zeros((2, 3)), max_iterations=0)
    with pytest.raises(ValueError, match="max_iterations must be 1 or more, got 0"):
        predicted_iterations(straight, max_iterations=0)
