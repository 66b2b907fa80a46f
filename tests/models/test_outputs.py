"""What is said of a value: placed and scored by hand, and nothing of what was not measured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax.models import Gaussian, Point, Quantiles

NAN = np.nan
LEVELS = (0.1, 0.5, 0.8)
OUTPUTS = {
    "mse": Point("mse"), "mae": Point("mae"), "huber": Point("huber"),
    "gaussian": Gaussian(), "quantiles": Quantiles(LEVELS),
}  # fmt: skip


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape) * 3)


def by_hand(name, outputs, target, unit):
    error = (target - outputs) / unit
    if name == "mse":
        return error[0] ** 2
    if name == "mae":
        return abs(error[0])
    if name == "huber":
        return error[0] ** 2 if abs(error[0]) < 1 else 2 * abs(error[0]) - 1
    if name == "gaussian":
        deviation = outputs[1] / unit
        return 0.5 * (error[0] / deviation) ** 2 + np.log(deviation)
    return np.mean([2 * (level * e if e > 0 else (level - 1) * e) for level, e in zip(LEVELS, error, strict=True)])


@pytest.mark.parametrize("name", OUTPUTS)
def test_loss(name):
    output = OUTPUTS[name]
    raw, targets = draw(5, 4, 2, output.size), draw(5, 4, 2, seed=1)
    targets = jnp.where(draw(5, 4, 2, seed=2) > 2, NAN, targets)
    unit = jnp.abs(draw(4, 2, seed=3)) + 0.5
    placed = output.place(raw, targets * 0 + 1, unit + targets * 0)
    outputs = np.where(np.isnan(placed), 1.0, placed)
    each = [
        by_hand(name, outputs[at], targets[at], unit[at[1:]])
        for at in np.ndindex(targets.shape)
        if not np.isnan(targets[at])
    ]
    assert 0 < len(each) < targets.size
    np.testing.assert_allclose(output.loss(outputs, targets, unit), np.mean(each), rtol=1e-12)


@pytest.mark.parametrize("name", OUTPUTS)
def test_no_gradient_of_what_was_not_measured(name):
    output = OUTPUTS[name]
    raw, targets = draw(6, 3, output.size), jnp.where(jnp.arange(18).reshape(6, 3) % 4 == 1, NAN, draw(6, 3, seed=1))

    def loss(raw, targets):
        return output.loss(output.place(raw, jnp.zeros((6, 3)), jnp.full((6, 3), 2.0)), targets, jnp.full(3, 0.7))

    gradient = np.asarray(jax.grad(loss)(raw, targets))
    assert np.isfinite(gradient).all()
    missing = np.isnan(targets)
    np.testing.assert_array_equal(gradient[missing], 0)
    assert np.abs(gradient[~missing]).sum(axis=-1).min() > 0
    nothing = jnp.full((6, 3), NAN)
    assert float(loss(raw, nothing)) == 0
    np.testing.assert_array_equal(jax.grad(loss)(raw, nothing), 0)


@pytest.mark.parametrize("name", OUTPUTS)
def test_placing(name):
    """Base and unit are the scale and the shift of everything, and `shift` moves what says where."""
    output = OUTPUTS[name]
    raw, base, unit = draw(7, output.size), draw(7, seed=1), jnp.abs(draw(7, seed=2)) + 0.1
    plain = output.place(raw, jnp.zeros(7), jnp.ones(7))
    placed = output.place(raw, base, unit)
    moved = base[:, None] if name != "gaussian" else jnp.stack([base, 0 * base], axis=1)
    np.testing.assert_allclose(placed, moved + unit[:, None] * plain, rtol=1e-12)
    np.testing.assert_allclose(output.location(placed), base + unit * output.location(plain), rtol=1e-12)
    np.testing.assert_allclose(output.shift(placed, base), placed + moved, rtol=1e-12)


def test_quantiles_are_sorted():
    output = Quantiles(LEVELS)
    placed = np.asarray(output.place(draw(50, 3), draw(50, seed=1), jnp.ones(50)))
    assert (np.diff(placed, axis=-1) >= 0).all()
    np.testing.assert_array_equal(output.location(placed), placed[:, 1])


def test_a_deviation_is_above_zero():
    placed = Gaussian().place(jnp.array([[0.0, -1e3], [0.0, 1e3]]), jnp.zeros(2), jnp.full(2, 2.0))
    np.testing.assert_allclose(placed[:, 1], [2e-3, 2000.002])


@pytest.mark.parametrize(("level", "expected"), [(0.5, 2.0), (0.1, 0.4), (0.9, 3.6)])
def test_pinball(level, expected):
    """Twice the level times how far the target lies above; at 0.5 the absolute error."""
    loss = Quantiles((level,)).loss(jnp.array([[1.0]]), jnp.array([3.0]), jnp.ones(()))
    assert float(loss) == pytest.approx(expected)
