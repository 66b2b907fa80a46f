"""Dynamic evaluation against loops in NumPy, and what it must not see."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax import cells, unroll
from rnn_jax.dynamic_evaluation import evaluate, squared_gradients


def square(params, chunk, carry):
    """A number for every row, drawn towards the rows of a chunk; the carry counts them."""
    return ((params["level"] * params["scale"] - chunk) ** 2).mean(), carry + len(chunk)


def gradient_of_square(params, chunk):
    error = params["level"] * params["scale"] - chunk  # [rows, 2]
    return {
        "level": 2 * (error * params["scale"]).sum(axis=0) / error.size,
        "scale": 2 * (error * params["level"]).sum() / error.size,
    }


def by_loop(params, chunks, rate, decay, mean_squares, epsilon):
    """NumPy, a parameter at a time."""
    first = {name: np.float64(p) for name, p in params.items()}
    now, losses = dict(first), []
    if mean_squares is not None:
        rms = {name: np.sqrt(np.float64(square)) for name, square in mean_squares.items()}
        mean = np.concatenate([np.ravel(each) for each in rms.values()]).mean()
    for chunk in np.float64(chunks):
        losses.append(np.mean((now["level"] * now["scale"] - chunk) ** 2))
        gradient, moved = gradient_of_square(now, chunk), {}
        for name, p in now.items():
            step = rate if mean_squares is None else rate / (rms[name] + epsilon)
            draw = decay if mean_squares is None else decay * np.minimum(rms[name] / mean, 1 / max(decay, 1e-300))
            moved[name] = p - step * gradient[name] + draw * (first[name] - p)
        now = moved
    return losses, now


PARAMS = {"level": np.array([0.5, -1.0]), "scale": np.array(1.5)}
CHUNKS = np.random.default_rng(0).normal(size=(9, 3, 2)) + 1
SQUARES = {"level": np.array([4.0, 0.01]), "scale": np.array(0.25)}  # RMS of 2, 0.1 and 0.5


@pytest.mark.parametrize("mean_squares", [None, SQUARES], ids=["sgd", "rms"])
@pytest.mark.parametrize("decay", [0.0, 0.1, 0.9])  # 0.9 * 2 / mean(RMS) is above 1, and clipped
@pytest.mark.parametrize("rate", [0.0, 0.02])
@pytest.mark.parametrize("number", [0, 1, 9])
def test_evaluate(number, rate, decay, mean_squares):
    params = jax.tree.map(jnp.asarray, PARAMS)
    squares = None if mean_squares is None else jax.tree.map(jnp.asarray, mean_squares)
    losses, final = evaluate(
        square, params, jnp.asarray(CHUNKS[:number]), 0, rate=rate, decay=decay, mean_squares=squares, epsilon=0.3
    )
    expected, moved = by_loop(PARAMS, CHUNKS[:number], rate, decay, mean_squares, 0.3)
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12), final, moved)


def line(params, chunk, carry):
    return ((params - chunk) ** 2).mean(), carry


def test_one_parameter_by_hand():
    """g = 2 (1 - 3) = -4, RMS = 8: 1 + 0.5 * 4 / (8 + 0) = 1.25; then g = -3.5, RMS / mean(RMS) = 1:
    1.25 + 0.5 * 3.5 / 8 + 0.2 (1 - 1.25) = 1.41875."""
    losses, final = evaluate(
        line, jnp.asarray(1.0), jnp.asarray([[3.0], [3.0]]), None,
        rate=0.5, decay=0.2, mean_squares=jnp.asarray(64.0), epsilon=0.0,
    )  # fmt: skip
    np.testing.assert_allclose(losses, [4, 1.75**2])
    np.testing.assert_allclose(final, 1.41875)


def test_parameters_without_a_gradient_stay():
    """`epsilon` keeps 0 / 0 away, and nothing is drawn where the mean of RMS is 0."""
    losses, final = evaluate(
        line, jnp.asarray(1.0), jnp.ones((3, 2)), None, rate=0.5, decay=0.2, mean_squares=jnp.asarray(0.0)
    )
    assert losses.tolist() == [0, 0, 0]
    assert final == 1


def test_squared_gradients():
    params = jax.tree.map(jnp.asarray, PARAMS)
    found = squared_gradients(square, params, jnp.asarray(CHUNKS), 0)
    each = [gradient_of_square(PARAMS, chunk) for chunk in CHUNKS]
    for name in PARAMS:
        np.testing.assert_allclose(found[name], np.mean([g[name] ** 2 for g in each], axis=0), rtol=1e-12)


def network(seed=0, size=4, vocabulary=6):
    """A small language model: one-hot tokens, a GRU, a read-out; chunks are pairs of inputs and targets `[T]`."""
    cell = cells.get("gru")
    key_cell, key_out = jax.random.split(jax.random.key(seed))
    params = (
        cell.init_params(key_cell, vocabulary, size, jnp.float64),
        jax.random.normal(key_out, (size, vocabulary), jnp.float64),
    )

    def loss(params, chunk, carry):
        tokens, targets = chunk
        carry, ys = unroll(cell, params[0], jax.nn.one_hot(tokens, vocabulary, dtype=jnp.float64), carry=carry)
        log_p = jax.nn.log_softmax(ys @ params[1])
        return -jnp.take_along_axis(log_p, targets[:, None], 1).mean(), carry

    return loss, params, cell.init_carry((), size, jnp.float64)


def text(tokens, length):
    number = (len(tokens) - 1) // length
    return tuple(jnp.asarray(tokens[at : at + number * length].reshape(number, length)) for at in (0, 1))


TOKENS = np.random.default_rng(1).integers(0, 6, 61)


@pytest.mark.parametrize("with_rms", [False, True])
def test_rate_0_is_plain_evaluation_in_one_piece(with_rms):
    """The carry goes from chunk to chunk."""
    loss, params, carry = network()
    chunks = text(TOKENS, 5)
    squares = squared_gradients(loss, params, chunks, carry) if with_rms else None
    losses, final = evaluate(loss, params, chunks, carry, rate=0.0, decay=0.01, mean_squares=squares)
    whole, _ = loss(params, [part.ravel() for part in chunks], carry)
    np.testing.assert_allclose(losses.mean(), whole, rtol=1e-12)
    jax.tree.map(np.testing.assert_array_equal, final, params)


@pytest.mark.parametrize("with_rms", [False, True])
def test_a_loss_has_seen_neither_its_tokens_nor_later_ones(with_rms):
    loss, params, carry = network()
    squares = squared_gradients(loss, params, text(TOKENS[::-1], 5), carry) if with_rms else None
    run = partial(evaluate, loss, params, carry=carry, rate=0.05, decay=0.01, mean_squares=squares)
    losses, _ = run(text(TOKENS, 5))
    inputs, targets = text(TOKENS, 5)
    for changed in range(12):
        other, _ = run((inputs.at[changed + 1 :].set(0), targets.at[changed:].set((targets[changed:] + 1) % 6)))
        np.testing.assert_array_equal(other[:changed], losses[:changed])
        assert np.all(other[changed:] != losses[changed:])


def test_the_gradient_is_cut_where_the_chunk_begins():
    """A step is that of the chunk alone, with a carry that is a number."""
    loss, params, carry = network()
    chunks, now = tuple(part[:4] for part in text(TOKENS, 5)), params
    for number in range(4):
        chunk = tuple(part[number] for part in chunks)
        gradient = jax.grad(lambda p, chunk=chunk, carry=carry: loss(p, chunk, carry)[0])(now)
        _, carry = loss(now, chunk, carry)
        now = jax.tree.map(lambda p, g: p - 0.3 * g, now, gradient)
    _, final = evaluate(loss, params, chunks, network()[2], rate=0.3, decay=0.0)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-10), final, now)


def test_squared_gradients_are_those_of_the_text_read_on():
    """The carry goes from chunk to chunk: the second gradient is not that of a text that begins there."""
    loss, params, carry = network()
    first, second = (tuple(part[number] for part in text(TOKENS, 5)) for number in (0, 1))
    _, between = loss(params, first, carry)
    gradients = [
        jax.grad(lambda p: loss(p, first, carry)[0])(params),
        jax.grad(lambda p: loss(p, second, between)[0])(params),
    ]
    expected = jax.tree.map(lambda one, other: (one**2 + other**2) / 2, *gradients)
    found = squared_gradients(loss, params, tuple(part[:2] for part in text(TOKENS, 5)), carry)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-10), found, expected)


def unigrams(params, chunk, carry):
    return -jax.nn.log_softmax(params)[chunk].mean(), carry


@pytest.mark.parametrize(("with_rms", "rate"), [(False, 2.0), (True, 0.05)])
def test_dynamic_beats_static_where_the_text_changes(with_rms, rate):
    """Topics of 200 tokens, each with its own few words: a model of all topics knows none."""
    rng = np.random.default_rng(2)
    tokens = np.concatenate([rng.choice(rng.permutation(20)[:4], 200) for _ in range(10)]).reshape(-1, 5)
    params, chunks = jnp.zeros(20), jnp.asarray(tokens)
    squares = squared_gradients(unigrams, params, jnp.asarray(rng.integers(0, 20, (99, 5))), None) if with_rms else None
    run = partial(evaluate, unigrams, params, chunks, None, mean_squares=squares)
    static, dynamic = (run(rate=each, decay=0.02)[0].mean() for each in (0.0, rate))
    np.testing.assert_allclose(static, np.log(20))
    assert dynamic < static - 0.5


def test_rates_are_tuned_by_vmap_and_compiled_once():
    traces = []

    def counted(params, chunk, carry):
        traces.append(1)
        return line(params, chunk, carry)

    run = partial(evaluate, counted, jnp.asarray(1.0), jnp.asarray([[3.0], [2.0], [5.0]]), None)
    rates = np.array([0.0, 0.1, 0.4])
    one_by_one = []
    for rate in rates:
        one_by_one.append(run(rate=float(rate), decay=0.1)[0])
        traces.append(0)
    assert traces[traces.index(0) :] == [0, 0, 0]
    together = jax.vmap(lambda rate: run(rate=rate, decay=0.1)[0])(jnp.asarray(rates))
    np.testing.assert_allclose(together, np.array(one_by_one), rtol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_parameters_keep_their_type(dtype):
    losses, final = evaluate(
        line, jnp.ones(2, dtype), jnp.ones((3, 2), dtype), None, rate=0.1, decay=0.1, mean_squares=jnp.ones(2, dtype)
    )
    assert final.dtype == losses.dtype == dtype


ONES = jnp.ones((3, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: run(ONES, rate=-0.1, decay=0.0), r"rate=-0\.1: must be at least 0"),
        (lambda run: run(ONES, rate=float("nan"), decay=0.0), "rate=nan"),
        (lambda run: run(ONES, rate=0.1, decay=1.5), r"decay=1\.5: must be between 0 and 1"),
        (lambda run: run((ONES, ONES[:2]), rate=0.1, decay=0.0), r"chunks must be .* got \[\(3, 2\), \(2, 2\)\]"),
        (lambda run: run((ONES, jnp.ones(())), rate=0.1, decay=0.0), r"got \[\(3, 2\), \(\)\]"),
        (lambda run: run((), rate=0.1, decay=0.0), r"got \[\]"),
        (lambda run: run(ONES, rate=0.1, decay=0.0, mean_squares=jnp.ones(2)), r"\[\(2,\)\] and \[\(\)\]"),
        (lambda run: run(ONES, rate=0.1, decay=0.0, mean_squares=(jnp.ones(()),)), "mean_squares must be like params"),
    ],
)
def test_what_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call(lambda chunks, **options: evaluate(line, jnp.ones(()), chunks, None, **options))


def test_squared_gradients_of_no_chunk():
    with pytest.raises(ValueError, match="there is no chunk"):
        squared_gradients(line, jnp.ones(()), ONES[:0], None)
