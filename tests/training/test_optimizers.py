"""Schedules at chosen steps; what each optimizer makes of a known gradient."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rnn_jax.training.optimizers import OPTIMIZERS, SCHEDULES, learning_rate_schedule, make_optimizer


def updates(optimizer, gradients, params):
    """The updates for a sequence of gradients of the same parameters."""
    state, found = optimizer.init(params), []
    for gradient in gradients:
        update, state = optimizer.update(gradient, state, params)
        found.append(np.asarray(update))
    return found


class TestSchedules:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("constant", [0.5, 0.5, 0.5, 0.5, 0.5]),
            ("linear", [0.5, 0.375, 0.25, 0.0, 0.0]),
            ("cosine", [0.5, 0.5 * (1 + np.sqrt(0.5)) / 2, 0.25, 0.0, 0.0]),
        ],
    )
    def test_without_warm_up(self, name, expected):
        schedule = learning_rate_schedule(name, 0.5, 100)
        np.testing.assert_allclose([schedule(t) for t in (0, 25, 50, 100, 150)], expected, atol=1e-7)

    @pytest.mark.parametrize(("name", "half_way"), [("constant", 0.5), ("linear", 0.25), ("cosine", 0.25)])
    def test_with_warm_up(self, name, half_way):
        """Up over 20 steps, and from there down over the other 80."""
        schedule = learning_rate_schedule(name, 0.5, 100, warmup_steps=20)
        end = 0.5 if name == "constant" else 0.0
        expected = [0.0, 0.125, 0.475, 0.5, half_way, end]
        np.testing.assert_allclose([schedule(t) for t in (0, 5, 19, 20, 60, 100)], expected, atol=1e-7)

    @pytest.mark.parametrize("name", SCHEDULES)
    def test_warm_up_longer_than_the_run(self, name):
        schedule = learning_rate_schedule(name, 0.5, 10, warmup_steps=20)
        np.testing.assert_allclose([schedule(t) for t in (0, 5, 10)], [0, 0.125, 0.25])

    def test_unknown(self):
        with pytest.raises(ValueError, match=r"^unknown schedule 'step': take one of constant, cosine, linear$"):
            learning_rate_schedule("step", 0.5, 10)
        assert SCHEDULES == ("constant", "cosine", "linear")

    def test_the_optimizer_follows_it(self):
        optimizer = make_optimizer("sgd", learning_rate_schedule("linear", 1.0, 4))
        found = updates(optimizer, [jnp.array([2.0])] * 5, jnp.zeros(1))
        np.testing.assert_allclose(np.ravel(found), [-2, -1.5, -1, -0.5, 0])


class TestClipping:
    def test_a_large_gradient_gets_the_norm(self):
        optimizer = make_optimizer("sgd", 1.0, clip_norm=1.0)
        np.testing.assert_allclose(updates(optimizer, [jnp.array([3.0, 4.0])], jnp.zeros(2))[0], [-0.6, -0.8])

    def test_the_norm_is_over_all_arrays(self):
        optimizer = make_optimizer("sgd", 1.0, clip_norm=1.0)
        params = {"a": jnp.zeros(1), "b": jnp.zeros(1)}
        update, _ = optimizer.update({"a": jnp.array([3.0]), "b": jnp.array([4.0])}, optimizer.init(params), params)
        np.testing.assert_allclose([update["a"][0], update["b"][0]], [-0.6, -0.8])

    def test_a_small_gradient_is_left_alone(self):
        optimizer = make_optimizer("sgd", 1.0, clip_norm=6.0)
        np.testing.assert_array_equal(updates(optimizer, [jnp.array([3.0, 4.0])], jnp.zeros(2))[0], [-3, -4])

    def test_none(self):
        optimizer = make_optimizer("sgd", 1.0)
        np.testing.assert_array_equal(updates(optimizer, [jnp.array([3e5, 4e5])], jnp.zeros(2))[0], [-3e5, -4e5])


class TestOptimizers:
    def test_names(self):
        assert OPTIMIZERS == ("adam", "adamw", "sgd", "rmsprop")
        with pytest.raises(ValueError, match=r"^unknown optimizer 'adagrad': take one of adam, adamw, sgd, rmsprop$"):
            make_optimizer("adagrad", 0.1)

    def test_two_steps_of_adam(self):
        """m = 0.9 m + 0.1 g, v = 0.999 v + 0.001 g^2, both corrected for their start."""
        found = updates(make_optimizer("adam", 0.1), [jnp.array([2.0]), jnp.array([-1.0])], jnp.zeros(1))
        m, v = 0.9 * 0.1 * 2 - 0.1, 0.999 * 0.001 * 4 + 0.001
        second = -0.1 * (m / (1 - 0.9**2)) / (np.sqrt(v / (1 - 0.999**2)) + 1e-8)
        np.testing.assert_allclose(np.ravel(found), [-0.1, second], rtol=1e-5)

    def test_rmsprop(self):
        found = updates(make_optimizer("rmsprop", 0.1), [jnp.array([2.0])], jnp.zeros(1))
        np.testing.assert_allclose(found[0], [-0.1 * 2 / np.sqrt(0.1 * 4)], rtol=1e-5)

    def test_decay_of_adamw_is_decoupled(self):
        """Not divided by the gradient's size, scaled by the learning rate, and towards zero."""
        params, gradients = jnp.array([3.0, -3.0]), [jnp.zeros(2)]
        decayed = updates(make_optimizer("adamw", 0.1, weight_decay=0.5), gradients, params)[0]
        np.testing.assert_allclose(decayed, [-0.15, 0.15], rtol=1e-6)
        plain = updates(make_optimizer("adamw", 0.1), gradients, params)[0]
        np.testing.assert_array_equal(plain, [0, 0])

    @pytest.mark.parametrize("name", ["adam", "sgd", "rmsprop"])
    def test_decay_that_nothing_would_apply(self, name):
        with pytest.raises(ValueError, match=f"^weight_decay=0.5 needs optimizer=adamw, not {name}$"):
            make_optimizer(name, 0.1, weight_decay=0.5)

    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_finds_a_minimum(self, name):
        optimizer = make_optimizer(name, learning_rate_schedule("cosine", 0.3, 200), clip_norm=1.0)
        x = jnp.array([2.0, -1.0])
        state = optimizer.init(x)
        for _ in range(200):
            update, state = optimizer.update(2 * (x - 1), state, x)
            x = optax.apply_updates(x, update)
        np.testing.assert_allclose(x, [1, 1], atol=1e-2)
