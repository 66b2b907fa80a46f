"""The state of one seed, in its parts: how a gradient moves it and what an evaluation makes of it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.toy_tasks import assert_same_bits

from rnn_jax.training.state import apply_gradient, init_state, note_validation

RATE, DECAY = 0.5, 0.6
PARAMS = {"w": jnp.float32([[1.0, -2.0, 0.5], [3.0, 0.0, 4.0]]), "b": jnp.float32([0.5, -1.0])}


def begin(averaged=False, params=PARAMS):
    return init_state(jnp.uint32(7), params, optax.sgd(RATE), averaged)


def norm(tree):
    return np.sqrt(sum((np.asarray(leaf, np.float64) ** 2).sum() for leaf in jax.tree.leaves(tree)))


class TestInit:
    @pytest.mark.parametrize("averaged", [False, True])
    def test_no_two_arrays_share_a_buffer(self, averaged):
        """Training consumes what it is given: an array that stands in two places would be consumed twice."""
        state = begin(averaged)
        assert (state.average is not None) == averaged
        leaves = [leaf for tree in (state.params, state.average, state.best_params) for leaf in jax.tree.leaves(tree)]
        assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)
        assert_same_bits(state.best_params, PARAMS)

    def test_counters(self):
        state = begin()
        assert (int(state.seed), float(state.best_loss), int(state.best_epoch), int(state.stale)) == (7, np.inf, 0, 0)
        assert bool(state.active)


class TestApplyGradient:
    def test_parameters_average_and_norms_against_numpy(self):
        """Ten steps of gradient descent, the first of them with a smaller decay than that of the average."""
        rng = np.random.default_rng(0)
        state = begin(averaged=True)
        params = {name: np.asarray(array, np.float64) for name, array in PARAMS.items()}
        average = params
        for t in range(10):
            gradient = {name: rng.normal(size=array.shape).astype(np.float32) for name, array in PARAMS.items()}
            state, norms = apply_gradient(state, gradient, optax.sgd(RATE), jnp.int32(t), DECAY)
            params = {name: array - RATE * gradient[name] for name, array in params.items()}
            d = min(DECAY, (1 + t) / (10 + t))
            average = {name: d * average[name] + (1 - d) * params[name] for name in params}
            expected = {"grad_norm": norm(gradient), "update_norm": RATE * norm(gradient), "param_norm": norm(params)}
            assert set(norms) == set(expected)
            for name, value in expected.items():
                np.testing.assert_allclose(norms[name], value, rtol=1e-5, err_msg=name)
        for name in params:
            np.testing.assert_allclose(state.params[name], params[name], rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(state.average[name], average[name], rtol=1e-4, atol=1e-6)
        assert_same_bits(state.best_params, PARAMS)

    def test_without_an_average(self):
        state, _ = apply_gradient(begin(), PARAMS, optax.sgd(RATE), jnp.int32(0))
        assert state.average is None
        np.testing.assert_array_equal(state.params["w"], RATE * PARAMS["w"])


class TestNoteValidation:
    def note(self, losses, patience=None):
        """The states after evaluations of these losses; the parameters of epoch e are the number e."""
        state, states = begin(params=jnp.float32(-1)), []
        for epoch, loss in enumerate(losses):
            state = note_validation(state, jnp.float32(epoch), jnp.float32(loss), jnp.int32(epoch), patience)
            states.append(state)
        return states

    @pytest.mark.parametrize(
        ("losses", "best", "best_epoch", "stale"),
        [
            ([4, 2, 3, 5], 1, 2, 2),
            ([2, 2, 2], 0, 1, 2),  # the same loss again is no improvement
            ([np.nan, np.nan, 7], 2, 3, 0),
            ([3, np.nan, 2], 2, 3, 0),
            ([np.inf], -1, 0, 1),
        ],
    )
    def test_keeps_the_best(self, losses, best, best_epoch, stale):
        last = self.note(losses)[-1]
        assert (float(last.best_params), int(last.best_epoch), int(last.stale)) == (best, best_epoch, stale)
        assert bool(last.active)

    def test_stops_when_patience_ends_and_stays_as_it_is(self):
        states = self.note([4, 5, 3, 4, 6, 1, 0], patience=2)
        assert [bool(state.active) for state in states] == [True, True, True, True, False, False, False]
        assert_same_bits(states[4], states[6])
        assert float(states[6].best_params) == 2
