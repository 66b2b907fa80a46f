"""The loss of every token of a text: against a loop token by token, in streams and chunks."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax.models import FeedForwardLanguageModel, LanguageModel, pure, text_losses

V, D, H, N = 7, 3, 5, 23
END = 2
TEXT = np.random.default_rng(0).integers(0, V, N).astype(np.uint8)


def model(cell="lstm", gain=2.0, **options):
    return LanguageModel(
        V, D, cell, H, embedding_scale=1.0, param_dtype=jnp.float64, gain=gain, rngs=nnx.Rngs(0), **options
    )


LSTM = model(num_layers=2)
FORGETFUL = model("gru", tied=True, gain=1.0)
FIXED = FeedForwardLanguageModel(V, D, 4, H, embedding_scale=1.0, param_dtype=jnp.float64, rngs=nnx.Rngs(0))


def read(model, tokens, first, num_streams=1, **options):
    losses_of, params = pure(model, "token_losses")
    carry = model.begin(num_streams)
    run = jax.jit(partial(text_losses, losses_of, num_streams=num_streams, **options))
    return np.asarray(run(params, carry, jnp.asarray(tokens), first))


def one_by_one(model, tokens, first, reset_at=None):
    """A step per token, whose scores are of the next."""
    carry, losses = model.begin(1), []
    for token, target in zip([first, *tokens.tolist()], tokens.tolist(), strict=False):
        carry = model.begin(1) if token == reset_at else carry
        carry, scores = model.step(carry, jnp.array([token]))
        scores = np.asarray(scores[0])
        losses.append(np.log(np.exp(scores).sum()) - scores[target])
    return np.array(losses)


@pytest.fixture(scope="module")
def expected():
    """Of the whole text, with and without resets."""
    return {reset_at: one_by_one(LSTM, TEXT, 4, reset_at) for reset_at in (None, END)}


@pytest.mark.parametrize("reset_at", [None, END])
@pytest.mark.parametrize("chunk", [1, 5, N, 256])
def test_one_stream_is_a_loop(expected, chunk, reset_at):
    found = read(LSTM, TEXT, 4, chunk=chunk, reset_at=reset_at)
    assert found.shape == (N,)
    np.testing.assert_allclose(found, expected[reset_at], rtol=1e-9)


def test_the_two_expectations_differ(expected):
    """By what stands before the last end of a text."""
    last = N - 1 - TEXT[::-1].tolist().index(END)
    assert np.abs(expected[None] - expected[END])[last + 1 :].max() > 1e-3
    alone = one_by_one(LSTM, TEXT[last + 1 :], END)
    np.testing.assert_allclose(expected[END][last + 1 :], alone, rtol=1e-9)


@pytest.mark.parametrize("size", [1, 2])
def test_short_texts(expected, size):
    np.testing.assert_allclose(read(LSTM, TEXT[:size], 4, chunk=5), expected[None][:size], rtol=1e-9)
    assert read(LSTM, TEXT[:size], 4, 3, chunk=5).shape == (size,)


def test_first_matters(expected):
    """A text is read after what ended the one before it."""
    other = read(LSTM, TEXT, 5, chunk=5)
    assert abs(other[0] - expected[None][0]) > 1e-3


@pytest.mark.parametrize(
    ("num_streams", "warm_up", "chunk"), [(2, 3, 4), (5, 4, 8), (3, 9, 256), (N, 3, 1), (30, 3, 7)]
)
def test_streams_of_a_model_with_a_short_memory(num_streams, warm_up, chunk):
    """A network of a fixed context knows all after that many tokens: parts side by side are the whole."""
    whole = read(FIXED, TEXT, 4)
    found = read(FIXED, TEXT, 4, num_streams, warm_up=warm_up, chunk=chunk)
    np.testing.assert_allclose(found, whole, rtol=1e-9)


def test_a_longer_warm_up_comes_closer():
    """And is exact where it holds all of the text before."""
    whole = one_by_one(FORGETFUL, TEXT, 4)
    off = [np.abs(read(FORGETFUL, TEXT, 4, 4, warm_up=warm_up, chunk=8) - whole) for warm_up in (0, 4, 12)]
    for each, exact in zip(off, (6, 6, 18), strict=True):
        assert each[:exact].max() < 1e-9
        assert each[exact:].max() > 1e-9
    assert off[0][6:].max() > 1e-2
    assert off[0].mean() > 2 * off[1].mean() > 4 * off[2].mean()
    assert off[2].max() < 1e-2


def test_streams_with_resets_are_exact_after_one():
    """Where each part's warm-up holds the end of a text."""
    text = np.where(np.arange(N) % 4 == 0, END, TEXT)
    found = read(LSTM, text, END, 3, warm_up=6, chunk=8, reset_at=END)
    np.testing.assert_allclose(found, one_by_one(LSTM, text, END, END), rtol=1e-9)
