"""What every model of n-grams does: histories and begins, what it returns, and input that does not fit."""

import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax import ngrams

RNG = np.random.default_rng(0)
TEXT = RNG.integers(5, size=200)
OTHER = RNG.integers(5, size=31)

EVERY = pytest.mark.parametrize(
    ("order", "end", "smoothing"),
    [(order, end, smoothing) for order in (1, 2, 4) for end in (None, 3) for smoothing in ("kneser_ney", "none")],
)


@pytest.fixture
def model(order, end, smoothing):
    return ngrams.fit(TEXT, order, 6, end=end, smoothing=smoothing)


@EVERY
def test_a_text_is_scored_token_by_token(model):
    found = model.log_probabilities(OTHER)
    assert (found.shape, found.dtype) == ((31,), np.float64)
    with np.errstate(divide="ignore"):
        expected = [np.log(model.probabilities(OTHER[:t])[token]) for t, token in enumerate(OTHER)]
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@EVERY
@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 30, 31])
def test_what_came_before(model, length):
    found = model.log_probabilities(OTHER[length:], start=OTHER[:length])
    np.testing.assert_array_equal(found, model.log_probabilities(OTHER)[length:])


@EVERY
def test_only_the_last_tokens_of_a_context_count(model, order):
    for length in range(order - 1, 9):
        context = OTHER[:length]
        np.testing.assert_array_equal(
            model.probabilities(np.concatenate((TEXT[:7], context))), model.probabilities([0, 1, 2, 3, 4, *context])
        )


@EVERY
def test_the_end_of_a_sentence_is_a_begin(model, end):
    begun = [1, 2, 0]
    same = [np.array_equal(model.probabilities([4, 3, *begun[:n]]), model.probabilities(begun[:n])) for n in range(4)]
    if end == 3:
        assert all(same)
        np.testing.assert_array_equal(model.log_probabilities(begun, start=[3]), model.log_probabilities(begun))
    elif model.order > 1:
        assert not same[0]


def test_no_n_gram_crosses_an_end():
    """The first token after an end is predicted as at the begin of the text, not from what stands before the end."""
    tokens = [1, 2, 0] * 20 + [1, 4, 0] * 20
    with_end, stream = (ngrams.fit(tokens, 3, 5, end=end, smoothing="none") for end in (0, None))
    np.testing.assert_allclose(with_end.probabilities([]), [0, 1, 0, 0, 0])
    np.testing.assert_allclose(with_end.probabilities([1]), [0, 0, 0.5, 0, 0.5])
    np.testing.assert_allclose(with_end.probabilities([3, 3, 0, 1]), [0, 0, 0.5, 0, 0.5])
    np.testing.assert_allclose(stream.probabilities([0, 1]), [0, 0, 19 / 39, 0, 20 / 39])
    assert stream.probabilities([3, 1]).sum() == 0


@EVERY
def test_stored_n_grams(model, order, end):
    sentences, begin = [[]], [] if end is None else ["begin"]
    for token in TEXT.tolist():
        sentences[-1].append(token)
        if token == end:
            sentences.append([])
    padded = [begin + sentence for sentence in sentences if sentence]
    different = {tuple(s[i : i + k]) for s in padded for k in range(2, order + 1) for i in range(len(s) - k + 1)}
    assert model.num_params == 6 + len(different)
    assert (model.order, model.num_tokens, model.end) == (order, 6, end)


@EVERY
@pytest.mark.parametrize("convert", [list, tuple, np.uint8, np.int32, jnp.asarray])
def test_tokens_of_any_kind(model, order, end, smoothing, convert):
    text, other = (tuple(map(int, part)) for part in (TEXT, OTHER))
    if convert in (np.uint8, np.int32):
        text, other = (np.array(part, convert) for part in (text, other))
    else:
        text, other = convert(text), convert(other)
    again = ngrams.fit(text, order, 6, end=end, smoothing=smoothing)
    np.testing.assert_array_equal(again.log_probabilities(other), model.log_probabilities(OTHER))
    np.testing.assert_array_equal(again.probabilities(other), model.probabilities(OTHER))


@EVERY
def test_nothing_to_score(model):
    for start in (None, [], [3], OTHER):
        assert model.log_probabilities([], start=start).shape == (0,)


def test_a_large_vocabulary():
    """Keys of n-grams do not run over: V^5 would not fit 64 bits."""
    tokens = 999_990 + RNG.integers(10, size=500)
    small, large = (
        ngrams.fit(text, 5, size, smoothing="none") for text, size in ((tokens - 999_990, 10), (tokens, 10**6))
    )
    np.testing.assert_array_equal(large.log_probabilities(tokens), small.log_probabilities(tokens - 999_990))


@pytest.mark.parametrize(
    ("tokens", "order", "settings", "message"),
    [
        ([0, 1], 0, {}, r"^order must be at least 1, got 0$"),
        ([], 2, {}, r"^no tokens to count: tokens are \(0,\)$"),
        ([0, 4], 2, {}, r"^tokens must be 0 to 3, got 0 to 4$"),
        ([-1, 2], 2, {}, r"^tokens must be 0 to 3, got -1 to 2$"),
        ([[0, 1]], 2, {}, r"^tokens must be \[N\] integers, got int64 \(1, 2\)$"),
        ([0.0, 1.0], 2, {}, r"^tokens must be \[N\] integers, got float64 \(2,\)$"),
        ([0, 1], 2, {"end": 4}, r"^end must be 0 to 3, got 4$"),
        ([0, 1], 2, {"end": -1}, r"^end must be 0 to 3, got -1$"),
        ([0, 1], 2, {"smoothing": "laplace"}, r"^smoothing must be one of kneser_ney, none, got 'laplace'$"),
    ],
)
def test_input_that_does_not_fit(tokens, order, settings, message):
    with pytest.raises(ValueError, match=message):
        ngrams.fit(tokens, order, 4, **settings)


def test_tokens_to_score_that_do_not_fit():
    model = ngrams.fit([0, 1, 3], 2, 4)
    with pytest.raises(ValueError, match=r"^tokens must be 0 to 3, got 2 to 4$"):
        model.log_probabilities([2, 4])
    with pytest.raises(ValueError, match=r"^start must be 0 to 3, got -3 to -3$"):
        model.log_probabilities([2], start=[-3])
    with pytest.raises(ValueError, match=r"^context must be \[N\] integers, got int64 \(\)$"):
        model.probabilities(2)
