"""Relative frequencies, counted once more."""

import numpy as np
import pytest

from rnn_jax import ngrams


def relative_frequency(tokens, history, token):
    """c(h w) / c(h) in a stream, 0 for 0 / 0."""
    n = len(history)
    followers = [tokens[i + n] for i in range(len(tokens) - n) if tokens[i : i + n] == history]
    return followers.count(token) / max(len(followers), 1)


@pytest.mark.parametrize(("order", "num_tokens", "length"), [(1, 1, 1), (1, 4, 30), (2, 4, 30), (3, 2, 50), (5, 3, 90)])
def test_relative_frequencies(order, num_tokens, length):
    rng = np.random.default_rng(length)
    tokens, other = (rng.integers(num_tokens, size=size).tolist() for size in (length, 40))
    model = ngrams.fit(tokens, order, num_tokens, smoothing="none")
    for scored in (tokens, other):
        expected = [
            relative_frequency(tokens, scored[max(t - order + 1, 0) : t], token) for t, token in enumerate(scored)
        ]
        found = model.log_probabilities(scored)
        np.testing.assert_allclose(np.exp(found), expected, rtol=1e-14)
        np.testing.assert_array_equal(found == -np.inf, np.array(expected) == 0)


def test_a_history_at_the_end_of_the_text_tells_nothing():
    model = ngrams.fit([0, 1, 0, 2], 2, 3, smoothing="none")
    assert model.probabilities([2]).tolist() == [0, 0, 0]
    assert model.probabilities([0]).tolist() == [0, 0.5, 0.5]


def test_sums():
    tokens = np.random.default_rng(0).integers(4, size=60)
    for end in (None, 2):
        model = ngrams.fit(tokens, 3, 4, end=end, smoothing="none")
        sums = [model.probabilities(tokens[i : i + 2]).sum() for i in range(50)] + [model.probabilities([]).sum()]
        np.testing.assert_allclose(sums, 1, rtol=1e-14)
