"""The shapes of use: many to one, many to many, one to many."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax import cells, unroll
from rnn_jax.generate import generate
from rnn_jax.models import SequenceModel
from rnn_jax.models.recurrent import Recurrent

NAMES = ("rnn", "lstm", "gru")


@pytest.mark.parametrize("name", NAMES)
def test_one_to_many_is_a_loop_of_steps(name):
    cell = cells.get(name)
    key_params, key_x, key_out = jax.random.split(jax.random.key(0), 3)
    params = cell.init_params(key_params, 4, 5, jnp.float64)
    out = jax.random.normal(key_out, (5, 4), jnp.float64)
    x = jax.random.normal(key_x, (3, 4), jnp.float64)
    final, ys = generate(cell, params, x, 6, lambda y: y @ out)
    carry, expected = cell.init_carry((3,), 5, jnp.float64), []
    for _ in range(6):
        carry, y = cell.step(params, carry, x)
        x = y @ out
        expected.append(y)
    np.testing.assert_allclose(ys, jnp.stack(expected), rtol=1e-12)
    np.testing.assert_allclose(final.h, carry.h, rtol=1e-12)


def test_a_prompt_is_continued_from_its_carry():
    cell = cells.get("gru")
    params = cell.init_params(jax.random.key(1), 2, 5, jnp.float64)
    xs = jax.random.normal(jax.random.key(2), (7, 3, 2), jnp.float64)
    carry, _ = unroll(cell, params, xs[:4])
    _, whole = unroll(cell, params, xs)
    inputs = iter([xs[5], xs[6], xs[6]])
    with jax.disable_jit():  # so that the feedback can hand out the real inputs one by one
        _, continued = generate(cell, params, xs[4], 3, lambda y: next(inputs), carry=carry)
    np.testing.assert_allclose(continued, whole[4:], rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_many_to_one_and_many_to_many_shapes(name):
    xs = jnp.ones((2, 7, 3), jnp.float32)
    assert SequenceModel(name, 3, 5, output_size=4, rngs=nnx.Rngs(0))(xs).shape == (2, 4)
    assert Recurrent(name, 3, 5, rngs=nnx.Rngs(0))(xs)[1].shape == (2, 7, 5)


def test_no_steps_and_negative_steps():
    cell = cells.get("lstm")
    params = cell.init_params(jax.random.key(0), 4, 5)
    final, ys = generate(cell, params, jnp.ones((3, 4), jnp.float32), 0, lambda y: y[:, :4])
    assert ys.shape == (0, 3, 5)
    assert not final.c.any()
    with pytest.raises(ValueError, match="num_steps must be at least 0, got -1"):
        generate(cell, params, jnp.ones((3, 4), jnp.float32), -1, lambda y: y[:, :4])
