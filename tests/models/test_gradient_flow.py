"""The gradient through time of whole models."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_allclose

from rnn_jax import cells, unroll
from rnn_jax.cells import LSTMCarry
from rnn_jax.models import Forecaster, SequenceModel, pure
from rnn_jax.models.gradient_flow import by_lag, make_gradient_flow
from rnn_jax.models.text import TextClassifier

B, T, H = 4, 9, 5


def test_of_a_forecaster_it_is_the_derivative_with_respect_to_the_carry_of_each_step():
    model = SequenceModel("lstm", 3, H, output_size=2, backend="auto", param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    xs = jax.random.normal(jax.random.key(0), (B, T, 3), jnp.float64)
    _, params = pure(model)
    found = jax.jit(make_gradient_flow(model, lambda y: y.sum(axis=-1)))(params, xs)
    assert list(found) == ["layer 0"]
    lstm = cells.get("lstm")
    weights = cells.LSTMParams(**params["recurrent"]["layers"][0])
    for lag in (0, 3, T - 1):
        first = T - lag  # steps before the one looked at, and that one

        def rest(carry, first=first):
            carry, _ = unroll(lstm, weights, jnp.swapaxes(xs, 0, 1)[first:], carry=carry)
            return (carry.h @ params["head"]["kernel"] + params["head"]["bias"]).sum()

        carry, _ = unroll(lstm, weights, jnp.swapaxes(xs, 0, 1)[:first])
        slopes = jax.jit(jax.grad(rest))(carry)
        norms = np.sqrt((np.asarray(slopes.h) ** 2 + np.asarray(slopes.c) ** 2).sum(-1))
        assert_allclose(found["layer 0"][lag], np.log10(norms).mean(), rtol=1e-10)


@pytest.mark.parametrize("pool", ["last", "mean_max"])
def test_of_a_bidirectional_stack_each_layer_and_direction_has_its_own(pool):
    options = {"num_layers": 2, "bidirectional": True, "backend": "auto", "pool": pool}
    model = TextClassifier(11, 3, "gru", H, 2, rngs=nnx.Rngs(0), **options)
    tokens, lengths = jnp.ones((B, T), int), jnp.array([T - 1, 3, 1, 6])
    flow = jax.jit(make_gradient_flow(model, lambda scores: scores[:, 1] - scores[:, 0]))
    found = flow(pure(model)[1], tokens, lengths, lengths=lengths)
    assert set(found) == {f"layer {layer} {way}" for layer in (0, 1) for way in ("forward", "backward")}
    for values in found.values():
        assert np.isfinite(values[: T - 1]).all()
        assert np.isnan(values[T - 1])  # no text is that long


def test_lags_are_counted_within_each_length_and_from_the_start_in_reverse():
    norms = np.array([[1.0, 10.0], [100.0, 1000.0], [7.0, 1e4]])  # [T, B]; the 7 is padding
    slopes = LSTMCarry(jnp.asarray(norms)[..., None] * jnp.array([0.6]), jnp.asarray(norms)[..., None] * 0.8)
    lengths = jnp.array([2, 3])
    assert_allclose(by_lag(slopes, lengths), [(2 + 4) / 2, (0 + 3) / 2, 1], rtol=1e-6)
    assert_allclose(by_lag(slopes, lengths, reverse=True), [(0 + 1) / 2, (2 + 3) / 2, 4], rtol=1e-6)


def test_small_gradients_are_not_lost_in_their_squares():
    slopes = (jnp.full((1, 1, 4), 1e-30, jnp.float32), jnp.zeros((1, 1, 4), jnp.float32))
    assert_allclose(by_lag(slopes, jnp.array([1])), [np.log10(2e-30)], rtol=1e-5)
    zero = by_lag(jnp.zeros((1, 1, 4), jnp.float32), jnp.array([1]))
    assert_allclose(zero, [np.log10(np.finfo(np.float32).tiny)], rtol=1e-6)


def test_where_the_layers_read_other_steps_than_the_model():
    """Three segments of three rows, and each target as an example of its own."""
    options = {"num_targets": 2, "lag": T, "ahead": 3, "segment": 3, "separate": True, "normalize": "mean"}
    model = Forecaster("gru", 4, H, **options, rngs=nnx.Rngs(0))
    xs = jax.random.normal(jax.random.key(0), (B, T, 4))
    flow = jax.jit(make_gradient_flow(model, lambda outputs: outputs.reshape(B, -1).sum(axis=-1)))
    found = flow(pure(model)[1], xs, jnp.zeros((B, 3, 0)))
    assert found["layer 0"].shape == (3,)
    assert np.isfinite(found["layer 0"]).all()
