"""Kneser-Ney smoothing: against the papers' formulas over dictionaries, and what has to hold of any text."""

from collections import Counter

import numpy as np
import pytest

from rnn_jax import ngrams
from rnn_jax.ngrams.kneser_ney import FALLBACK, discounts

BEGIN = "<s>"


class Naive:
    """Chen and Goodman's equation (26), by recursion over tuples."""

    def __init__(self, tokens, order, num_tokens, end):
        self.order, self.num_tokens, self.end = order, num_tokens, end
        sentences, sentence = [], []
        for token in tokens:
            sentence.append(token)
            if token == end:
                sentences.append(sentence)
                sentence = []
        if sentence:
            sentences.append(sentence)
        if end is not None:
            sentences = [[BEGIN, *sentence] for sentence in sentences]
        self.occurrences = Counter(
            tuple(s[i : i + k]) for s in sentences for k in range(1, order + 1) for i in range(len(s) - k + 1)
        )
        before = {}
        for gram in self.occurrences:
            before.setdefault(gram[1:], set()).add(gram[0])
        self.counts = {}
        for gram, occurrences in self.occurrences.items():
            if gram == (BEGIN,):
                continue
            raw = len(gram) == order or gram[0] == BEGIN
            self.counts[gram] = occurrences if raw else len(before.get(gram, ()))
        self.discounts = [self.three(k) for k in range(1, order + 1)]

    def three(self, order):
        n = Counter(count for gram, count in self.counts.items() if len(gram) == order)
        if not all(n[k] for k in (1, 2, 3, 4)):
            return FALLBACK
        y = n[1] / (n[1] + 2 * n[2])
        found = 1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]
        return found if all(0 < d <= k for k, d in enumerate(found, 1)) else FALLBACK

    def after(self, history):
        """Of all tokens."""
        lower = self.after(history[1:]) if history else [1 / self.num_tokens] * self.num_tokens
        counts = [self.counts.get((*history, token), 0) for token in range(self.num_tokens)]
        if not sum(counts):
            return lower
        d = [0, *self.discounts[len(history)]]
        taken = sum(d[min(count, 3)] for count in counts)
        return [(c - d[min(c, 3)] + taken * p) / sum(counts) for c, p in zip(counts, lower, strict=True)]

    def history(self, before):
        before = list(before)
        if self.end is not None:
            if self.end in before:
                before = before[len(before) - before[::-1].index(self.end) :]
            before = [BEGIN, *before]
        return tuple(before[max(len(before) - self.order + 1, 0) :])

    def log_probabilities(self, tokens):
        return [np.log(self.after(self.history(tokens[:t]))[token]) for t, token in enumerate(tokens)]


def text(num_tokens, length, seed):
    """Tokens by Zipf's law, each of which favours some others after it."""
    rng = np.random.default_rng(seed)
    often = 1 / np.arange(1, num_tokens + 1) ** 1.2
    after = rng.dirichlet(often / often.sum() * 5 + 1e-3, size=num_tokens)
    tokens = [int(rng.integers(num_tokens))]
    while len(tokens) < length:
        tokens.append(int(rng.choice(num_tokens, p=after[tokens[-1]])))
    return tokens[:length]


# order, V, tokens, end
CASES = [
    (1, 1, 1, None),
    (1, 7, 50, None),
    (1, 7, 50, 0),
    (2, 1, 5, 0),
    (2, 5, 1, None),
    (2, 40, 900, None),
    (2, 40, 900, 1),
    (3, 2, 70, 1),
    (3, 30, 2000, None),
    (3, 30, 2000, 0),
    (4, 11, 300, 10),
    (5, 6, 4, None),
    (5, 6, 4, 2),
    (6, 4, 333, None),
    (6, 4, 333, 3),
]
EVERY = pytest.mark.parametrize(("order", "num_tokens", "length", "end"), CASES)


@EVERY
def test_the_papers_formulas(order, num_tokens, length, end):
    tokens, others = text(num_tokens, length, 0), np.random.default_rng(1).integers(num_tokens, size=60).tolist()
    model, naive = ngrams.fit(tokens, order, num_tokens, end=end), Naive(tokens, order, num_tokens, end)
    for scored in (tokens[:100], others):
        found = model.log_probabilities(scored)
        np.testing.assert_allclose(found, naive.log_probabilities(scored), rtol=0, atol=1e-12)
    for context in ([], others[:1], tokens[:2], tokens[3:8], tokens[-order:], others[-9:], [tokens[0]] * 9):
        expected = naive.after(naive.history(context))
        np.testing.assert_allclose(model.probabilities(context), expected, rtol=1e-12)


def test_some_texts_tell_their_discounts():
    """Else the cases would compare fallbacks alone."""
    for order, num_tokens, length, end in ((3, 30, 2000, None), (3, 30, 2000, 0)):
        naive = Naive(text(num_tokens, length, 0), order, num_tokens, end)
        assert [three == FALLBACK for three in naive.discounts].count(False) >= 2


@EVERY
def test_a_distribution_after_every_context(order, num_tokens, length, end):
    tokens = text(num_tokens, length, 2)
    model = ngrams.fit(tokens, order, num_tokens, end=end)
    rng = np.random.default_rng(3)
    contexts = [tokens[i : i + k] for k in range(order + 2) for i in range(0, length, 17)]
    contexts += [rng.integers(num_tokens, size=k).tolist() for k in range(order + 2) for _ in range(5)]
    for context in contexts:
        found = model.probabilities(context)
        assert found.min() > 0
        assert abs(found.sum() - 1) < 1e-10


@pytest.mark.parametrize("end", [None, 0])
@pytest.mark.parametrize("order", [1, 2, 5])
@pytest.mark.parametrize(
    "tokens",
    [[0] * 40, [1] * 40, [2, 0] * 20, list(range(9)), [*range(9), *range(9)], [0, 0, 1], [1, 1, 1, 0, 0]],
    ids=["ends", "equal", "turns", "once", "twice", "empty_sentences", "short"],
)
def test_texts_without_counts_of_some_kind(tokens, order, end):
    model = ngrams.fit(tokens, order, 10, end=end)
    assert np.isfinite(model.log_probabilities([*tokens, 9, 8, 0, 9])).all()
    for context in ([], [0], [9], tokens[:order], tokens[-order:], tokens[:1] * order):
        assert abs(model.probabilities(context).sum() - 1) < 1e-10


def test_orders_beyond_the_text_change_nothing():
    five, nine = (ngrams.fit([1, 2, 1, 3], order, 4) for order in (5, 9))
    np.testing.assert_array_equal(five.log_probabilities([1, 2, 1, 1, 3]), nine.log_probabilities([1, 2, 1, 1, 3]))


def counts_of(*numbers):
    """n_1 counts of 1, n_2 counts of 2, ..., in no order."""
    return np.random.default_rng(0).permutation(np.repeat(np.arange(1, len(numbers) + 1), numbers))


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((8, 4, 2, 1), (0.5, 1.25, 2.0)),  # Y = 8 / 16
        ((6, 3, 3, 3), (0.5, 0.5, 1.0)),  # Y = 6 / 12
        ((6, 3, 3, 3, 50), (0.5, 0.5, 1.0)),  # counts of 5 and more have no part
        ((), FALLBACK),
        ((0, 4, 2, 1), FALLBACK),
        ((8, 0, 2, 1), FALLBACK),
        ((8, 4, 0, 1), FALLBACK),
        ((8, 4, 2, 0), FALLBACK),
        ((2, 2, 5, 1), FALLBACK),  # D_2 = 2 - 2.5
        ((2, 2, 4, 1), FALLBACK),  # D_2 = 0 would leave nothing to others
        ((8, 4, 1, 9), FALLBACK),  # D_3 = 3 - 18
    ],
)
def test_discounts(numbers, expected):
    found = discounts(counts_of(*numbers))
    np.testing.assert_allclose(found, (0.0, *expected), rtol=1e-15)
    np.testing.assert_array_equal(discounts(np.append(counts_of(*numbers), [0, 0, 0])), found)


def test_a_token_that_stands_after_many_others():
    """Why counts are of different tokens: 9 is frequent, but only after 8 (Kneser and Ney's "San Francisco")."""
    tokens = [token for other in range(6) for token in (other, 7)] * 3 + [8, 9] * 30
    after_unseen = ngrams.fit(tokens, 2, 11).probabilities([10])
    assert after_unseen[7] > 4 * after_unseen[9]
    assert ngrams.fit(tokens, 1, 11).probabilities([])[9] > ngrams.fit(tokens, 1, 11).probabilities([])[7]
