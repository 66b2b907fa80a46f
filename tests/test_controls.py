"""What is new between two steps: zoneout, perturbations, chrono, and the cell that is wrong on purpose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from rnn_jax import bptt, cells, compose, unroll
from rnn_jax.backends import manual
from rnn_jax.controls import StepMasks
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
    carry = cell.init_carry((B,), H, jnp.float64)
    for t in range(T):
        stepped, _ = cell.step(params, carry, xs[t])
        carry = jax.tree.map(lambda new, old: jnp.where(shares[t] == 1, old, new), stepped, carry)  # noqa: B023
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
    shares = compose.zoneout_shares(jax.random.key(0), 0.3, (100, 100), jnp.float32)
    assert set(np.unique(shares)) == {0.0, 1.0}
    assert abs(float(shares.mean()) - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 1e4)


def test_zoneout_of_a_module_needs_a_rate_below_one():
    with pytest.raises(ValueError, match=r"zoneout must be in \[0, 1\), got 1.0"):
        LSTM(I, H, zoneout=1.0, rngs=None)


@pytest.mark.parametrize("lengths", [None, [T, 0, 4, 1]], ids=["full", "lengths"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("name", STATEFUL)
def test_the_derivative_with_respect_to_taps_is_that_of_the_carry(name, reverse, lengths):
    """dL/dh_t by perturbations, against a second run that begins with h_t as its initial carry."""
    cell, params, xs = draw(name)
    lengths = None if lengths is None else jnp.array(lengths)
    weights = jax.random.normal(jax.random.key(3), (T, B, H))
    size = len(cell.init_carry((B,), H))
    zeros = type(cell.init_carry((B,), H))(*jnp.zeros((size, T, B, H)))

    def loss(perturbations):
        ys = unroll(cell, params, xs, perturbations=perturbations, lengths=lengths, reverse=reverse)[1]
        return jnp.vdot(weights, ys**2)

    assert_allclose(loss(zeros), jnp.vdot(weights, unroll(cell, params, xs, lengths=lengths, reverse=reverse)[1] ** 2))
    slopes = jax.grad(loss)(zeros)
    for row in range(B):
        steps = range(T if lengths is None else int(lengths[row]))
        order = list(reversed(steps)) if reverse else list(steps)
        for done, t in enumerate(order):
            carry = cell.init_carry((), H, jnp.float64)
            for s in order[: done + 1]:
                carry, _ = cell.step(params, carry, xs[s, row])

            def later(carry, done=done, t=t, row=row, order=order):
                total = jnp.vdot(weights[t, row], carry.h**2)
                for s in order[done + 1 :]:
                    carry, y = cell.step(params, carry, xs[s, row])
                    total += jnp.vdot(weights[s, row], y**2)
                return total

            for got, want in zip(slopes, jax.grad(later)(carry), strict=True):
                assert_allclose(got[t, row], want, rtol=1e-11, atol=1e-13)
        for got in slopes:
            assert_array_equal(got[len(order) :, row], 0)  # nothing depends on padding


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_without_dc_values_are_right_and_the_gradient_is_the_lectures(reverse):
    """The lecture's backward pass, written out: the hand-derived step with a dc of zero put in and thrown away."""
    cell, params, xs = draw("lstm")
    rule = bptt.RULES["lstm"]
    weights = jnp.asarray(np.random.default_rng(4).normal(size=(T, B, H)))

    def gradient(cell, backend):
        def loss(params, xs):
            return jnp.vdot(weights, unroll(cell, params, xs, backend=backend, reverse=reverse)[1])

        return jax.value_and_grad(loss, (0, 1))(params, xs)

    def step_of_the_lecture(params, local, dcarry):
        dbefore, dz = rule.step(params, local, dcarry._replace(c=jnp.zeros_like(dcarry.c)))
        return dbefore._replace(c=jnp.zeros_like(dbefore.c)), dz

    start = cell.init_carry((B,), H, jnp.float64)
    _, _, carries = manual.forward(cell, reverse, params, start, xs, StepMasks())
    lecture = rule._replace(step=step_of_the_lecture)
    printed = bptt.backward(lecture, params, xs, start, carries, weights, start, StepMasks(), reverse)

    value, wrong = gradient(cells.get("lstm_without_dc"), "auto")
    right_value, right = gradient(cell, "manual")
    assert_allclose(value, right_value, rtol=1e-13)
    for got, want, true in zip(*map(jax.tree.leaves, (wrong, (printed.params, printed.xs), right)), strict=True):
        assert_allclose(got, want, rtol=1e-10, atol=1e-13)
        assert np.abs(got - true).max() > 0.05 * np.abs(true).max()


def test_without_dc_has_no_hand_derived_rule():
    cell, params, xs = draw("lstm_without_dc")
    with pytest.raises(ValueError, match="no hand-derived rule for this cell, 'lstm_without_dc'"):
        unroll(cell, params, xs, backend="manual")


class TestChrono:
    @pytest.mark.parametrize("name", ["lstm", "lstm_peephole", "lstm_layer_norm"])
    def test_forget_and_input_biases_of_an_lstm(self, name):
        hidden, longest = 4000, 1000
        b = np.asarray(cells.get(name).init_params(jax.random.key(0), I, hidden, chrono=longest).b).reshape(4, hidden)
        assert_array_equal(b[0], -b[1])
        memory = np.exp(b[1])  # uniform from 1 to T - 1
        assert 1 <= memory.min() < 5
        assert longest - 5 < memory.max() <= longest - 1 + 1e-2
        assert abs(memory.mean() - longest / 2) < 4 * (longest - 2) / np.sqrt(12 * hidden)
        plain = np.asarray(cells.get(name).init_params(jax.random.key(0), I, hidden).b).reshape(4, hidden)
        assert_array_equal(b[2:], plain[2:])

    def test_the_gate_that_keeps(self):
        for name, gate, sign in (("gru", 1, 1), ("lstm_coupled", 0, -1)):
            b = np.asarray(cells.get(name).init_params(jax.random.key(0), I, H, chrono=100).b).reshape(3, H)
            memory = np.exp(sign * b[gate])
            assert np.all((memory >= 1) & (memory <= 99.01))

    def test_errors(self):
        init = cells.get("lstm").init_params
        with pytest.raises(ValueError, match="chrono must be at least 3"):
            init(jax.random.key(0), I, H, chrono=2)
        with pytest.raises(ValueError, match=r"forget_bias=1.0 and chrono=9 both set .*: give one"):
            init(jax.random.key(0), I, H, chrono=9, forget_bias=1.0)


@pytest.mark.parametrize("name", cells.CELLS)
def test_gain_multiplies_the_recurrent_weights_alone(name):
    init = cells.get(name).init_params
    plain, doubled = (init(jax.random.key(0), I, H, init="gaussian", gain=gain) for gain in (1.0, 2.0))
    for field, value in plain._asdict().items():
        assert_array_equal(getattr(doubled, field), 2 * value if field == "w_hh" else value)


def test_gaussian_recurrent_weights_fill_the_unit_disc():
    w_hh = np.asarray(cells.get("rnn").init_params(jax.random.key(0), I, 400, init="gaussian").w_hh)
    assert abs(w_hh.std() * 20 - 1) < 0.02
    assert abs(np.abs(np.linalg.eigvals(w_hh)).max() - 1) < 0.1


@pytest.mark.parametrize("name", cells.CELLS)
def test_activations_are_those_of_the_equations(name):
    cell, params, xs = draw(name)
    carry = cell.init_carry((B,), H, jnp.float64)
    for x in xs[:3]:
        shown = cell.activations(params, carry, cell.project(params, x))
        after, _ = cell.step(params, carry, x)
        if name == "gru":
            assert_allclose(after.h, (1 - shown.z) * shown.n + shown.z * carry.h, rtol=1e-12)
        elif name.startswith("lstm"):
            i, f, g = (getattr(shown, gate, 1.0) for gate in "ifg")
            f = 1 - i if name == "lstm_coupled" else f
            assert_allclose(after.c, f * carry.c + i * g, rtol=1e-12, atol=1e-15)
        else:
            assert_array_equal(after.h, shown.h)
        carry = after
