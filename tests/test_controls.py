"""What may happen to a carry between two steps besides padding, resets and cuts: zoneout, perturbations."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from rnn_jax import cells, compose, dropout, unroll
from rnn_jax.models.recurrent import LSTM

T, B, I, H = 7, 4, 3, 5  # noqa: E741  # the axes' letters
STATEFUL = ("rnn", "lstm", "gru", "lstm_coupled")


def draw(name, num_steps=T):
    cell = cells.get(name)
    params = cell.init_params(jax.random.key(0), I, H, jnp.float64)
    xs = jax.random.normal(jax.random.key(1), (num_steps, B, I), jnp.float64)
    return cell, params, xs


@pytest.mark.parametrize("name", STATEFUL)
def test_zoneout_mixes_the_carry_before_with_the_one_after(name):
    cell, params, xs = draw(name)
    shares = jax.random.bernoulli(jax.random.key(2), 0.4, (T, B, H)).astype(jnp.float64)
    final, ys = unroll(cell, params, xs, zoneout=shares)
    carry, step = cell.init_carry((B,), H, jnp.float64), jax.jit(cell.step)
    for t in range(T):
        stepped, _ = step(params, carry, xs[t])
        carry = jax.tree.map(lambda new, old: np.where(shares[t] == 1, old, new), stepped, carry)  # noqa: B023
        assert_allclose(ys[t], carry.h, rtol=1e-13, atol=1e-15)
    for got, want in zip(final, carry, strict=True):
        assert_allclose(got, want, rtol=1e-13, atol=1e-15)


def test_zoneout_of_all_units_keeps_everything_and_of_none_nothing():
    cell, params, xs = draw("lstm")
    start = cells.LSTMCarry(jnp.full((B, H), 0.3), jnp.full((B, H), -0.2))
    held, ys = unroll(cell, params, xs, carry=start, zoneout=jnp.ones((T, B, H)))
    assert_array_equal(held.c, start.c)
    assert_array_equal(ys, jnp.broadcast_to(start.h, ys.shape))
    assert_allclose(unroll(cell, params, xs, zoneout=jnp.zeros((T, B, H)))[1], unroll(cell, params, xs)[1], rtol=1e-13)


def test_zoneout_of_a_stack_is_random_in_training_and_the_rate_in_evaluation():
    cell, _, xs = draw("lstm")
    params = compose.init_stack(jax.random.key(0), cell, I, H, 2, bidirectional=True, dtype=jnp.float64)

    @partial(jax.jit, static_argnums=1)
    def run(key, rate):
        return compose.unroll_stack(cell, params, xs, zoneout_rate=rate, key=key)[1]

    first, again, other = (run(jax.random.key(seed), 0.5) for seed in (0, 0, 1))
    assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    assert_array_equal(run(jax.random.key(0), 0.0), run(None, 0.0))
    rate = jnp.full((T, B, H), 0.25)
    layer = compose.unroll_stack(cell, params[:1], xs, zoneout_rate=0.25)[1]
    assert_allclose(layer, compose.unroll_bidirectional(cell, params[0], xs, zoneout=rate)[1], rtol=1e-13)


def test_zoneout_shares_have_the_rate():
    shares = dropout.zoneout_shares(jax.random.key(0), 0.3, (100, 100), jnp.float32)
    assert set(np.unique(shares)) == {0.0, 1.0}
    assert abs(float(shares.mean()) - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 1e4)


def test_zoneout_of_a_module_needs_a_rate_below_one():
    with pytest.raises(ValueError, match=r"zoneout must be in \[0, 1\), got 1.0"):
        LSTM(I, H, zoneout=1.0, rngs=None)


@pytest.mark.parametrize("lengths", [None, [T, 0, 4, 1]], ids=["full", "lengths"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_the_derivative_with_respect_to_perturbations_is_that_of_the_carry(name, reverse, lengths):
    """dL/dh_t by perturbations, against a second run that begins with h_t as its initial carry."""
    cell, params, xs = draw(name)
    lengths = None if lengths is None else jnp.array(lengths)
    weights = jax.random.normal(jax.random.key(3), (T, B, H))
    size = len(cell.init_carry((B,), H))
    zeros = type(cell.init_carry((B,), H))(*jnp.zeros((size, T, B, H)))

    def loss(perturbations):
        ys = unroll(cell, params, xs, perturbations=perturbations, lengths=lengths, reverse=reverse)[1]
        return jnp.vdot(weights, ys**2)

    value, slopes = jax.jit(jax.value_and_grad(loss))(zeros)
    ys = unroll(cell, params, xs, lengths=lengths, reverse=reverse)[1]
    assert_allclose(value, np.vdot(weights, np.asarray(ys) ** 2))
    for row in range(B):
        steps = np.arange(T if lengths is None else int(lengths[row]))
        order = steps[::-1] if reverse else steps
        for t, wanted in zip(order, slopes_one_by_one(cell, params, xs[order, row], weights[order, row]), strict=True):
            for got, want in zip(slopes, wanted, strict=True):
                assert_allclose(got[t, row], want, rtol=1e-11, atol=1e-13)
        for got in slopes:
            assert_array_equal(got[len(order) :, row], 0)  # nothing depends on padding


@partial(jax.jit, static_argnums=0)
def slopes_one_by_one(cell, params, xs, weights):
    """dL/dcarry for the carry after each step, L = sum_t w_t . y_t^2, each by a run that begins there."""

    def later(carry, done):
        total = jnp.vdot(weights[done], carry.h**2)
        for s in range(done + 1, len(xs)):
            carry, y = cell.step(params, carry, xs[s])
            total += jnp.vdot(weights[s], y**2)
        return total

    carry, found = cell.init_carry((), H, jnp.float64), []
    for done in range(len(xs)):
        carry, _ = cell.step(params, carry, xs[done])
        found.append(jax.grad(later)(carry, done))
    return found
