"""The shapes of use: many to one, many to many, one to many."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax import cells, compose, unroll
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
    final, ys, *_ = generate(cell, params, x, 6, lambda y: y @ out)
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
        continued = generate(cell, params, xs[4], 3, lambda y: next(inputs), carry=carry).ys
    np.testing.assert_allclose(continued, whole[4:], rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_many_to_one_and_many_to_many_shapes(name):
    xs = jnp.ones((2, 7, 3), jnp.float32)
    assert SequenceModel(name, 3, 5, output_size=4, rngs=nnx.Rngs(0))(xs).shape == (2, 4)
    assert Recurrent(name, 3, 5, rngs=nnx.Rngs(0))(xs)[1].shape == (2, 7, 5)


def test_no_steps_and_negative_steps():
    cell = cells.get("lstm")
    params = cell.init_params(jax.random.key(0), 4, 5)
    final, ys, *_ = generate(cell, params, jnp.ones((3, 4), jnp.float32), 0, lambda y: y[:, :4])
    assert ys.shape == (0, 3, 5)
    assert not final.c.any()
    with pytest.raises(ValueError, match="num_steps must be at least 0, got -1"):
        generate(cell, params, jnp.ones((3, 4), jnp.float32), -1, lambda y: y[:, :4])


V, END = 6, 0


def speaker(num_layers=2):
    """A stack that reads and writes tokens: its parameters, their embedding and their scores."""
    cell = compose.stacked(cells.get("gru"), num_layers)
    params = cell.init_params(jax.random.key(0), 4, 5, jnp.float64)
    table, out = (jax.random.normal(jax.random.key(n), (V, size), jnp.float64) for n, size in ((1, 4), (2, 5)))
    return cell, params, lambda token: table[token], lambda y: 3 * y @ out.T


def test_sampled_tokens_of_a_stack_read_back():
    """Read by the unroll of the layers, what was written gives the outputs that it was chosen from."""
    cell, params, embed, scores = speaker()
    first = jnp.array([1, 2, 3])

    def choose(y, key):
        return jax.random.categorical(key, scores(y))

    run = jax.jit(lambda key: generate(cell, params, first, 9, choose, embed=embed, key=key))
    found, again, other = run(jax.random.key(0)), run(jax.random.key(0)), run(jax.random.key(1))
    np.testing.assert_array_equal(found.choices, again.choices)
    assert (found.choices != other.choices).any()
    assert found.choices.dtype == first.dtype
    read = jnp.concatenate((first[None], found.choices[:-1]))
    final, ys = compose.unroll_stack(cells.get("gru"), params, embed(read))
    np.testing.assert_allclose(found.ys, ys, rtol=1e-12)
    np.testing.assert_allclose(found.carry[1].h, final[1].h, rtol=1e-12)


def test_a_sequence_ends_where_it_says_so():
    cell, params, embed, scores = speaker()
    first = jnp.array([1, 2, 3, 4])

    def run(num_steps, stop):
        return generate(
            cell, params, first, num_steps, lambda y, key: jax.random.categorical(key, scores(y)), embed=embed,
            key=jax.random.key(3), stop=stop,
        )  # fmt: skip

    endless, ending = run(30, None), run(30, lambda token: token == END)
    np.testing.assert_array_equal(endless.lengths, [30] * 4)
    for b in range(4):
        ends = np.flatnonzero(endless.choices[:, b] == END)
        steps = ends[0] + 1 if ends.size else 30
        assert ending.lengths[b] == steps
        np.testing.assert_array_equal(ending.choices[:steps, b], endless.choices[:steps, b])
        assert ending.choices[steps - 1 :, b].tolist() == [ending.choices[steps - 1, b]] * (31 - steps)
        assert not ending.ys[steps:, b].any()
        np.testing.assert_allclose(ending.carry[0].h[b], run(int(steps), None).carry[0].h[b], rtol=1e-12)
    assert set(ending.lengths.tolist()) != {30}, "none has ended: the test shows nothing"


def test_what_is_known_beforehand_and_teacher_forcing():
    """With every target read, generation is an unroll over [target of the step before, known]."""
    cell = cells.get("lstm")
    params = cell.init_params(jax.random.key(0), 1 + 2, 5, jnp.float64)
    known, targets = (jax.random.normal(jax.random.key(n), (7, 3, size), jnp.float64) for n, size in ((1, 2), (2, 1)))
    first = jnp.ones((3, 1), jnp.float64)

    def run(**options):
        return generate(cell, params, first, 7, lambda y, *key: y[..., :1], known=known, **options)

    forced = run(targets=targets)
    read = jnp.concatenate((first[None], targets[:-1]))
    _, ys = unroll(cell, params, jnp.concatenate((read, known), axis=-1))
    np.testing.assert_allclose(forced.ys, ys, rtol=1e-12)
    np.testing.assert_allclose(forced.choices, ys[..., :1], rtol=1e-12)

    free, never, always, some = (
        run(),
        *(run(targets=targets, target_rate=rate, key=jax.random.key(5)) for rate in (0.0, 1.0, 0.5)),
    )
    np.testing.assert_allclose(never.ys, free.ys, rtol=1e-12)
    np.testing.assert_allclose(always.ys, forced.ys, rtol=1e-12)
    assert (abs(some.ys - free.ys) > 1e-3).any()
    assert (abs(some.ys - forced.ys) > 1e-3).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"known": jnp.ones((6, 3, 2))}, r"known must be \[7, \*batch, \.\.\.\], got \(6, 3, 2\)"),
        ({"targets": jnp.ones((8, 3, 4))}, r"targets must be \[7, "),
        ({"targets": jnp.ones((7, 3, 4)), "target_rate": 0.5}, "give a key"),
    ],
)
def test_errors(options, message):
    cell = cells.get("rnn")
    params = cell.init_params(jax.random.key(0), 4, 5)
    with pytest.raises(ValueError, match=message):
        generate(cell, params, jnp.ones((3, 4)), 7, lambda y: y[:, :4], **options)
