"""Entropies in closed form against enumeration, sampling and languages whose entropy anyone can write down."""

import itertools
from collections import Counter, defaultdict

import numpy as np
import pytest

from rnn_jax.data.language.automaton import (
    Automaton,
    entropy,
    generate,
    log_probabilities,
    ngram_loss,
    stationary,
)


def random_automaton(states, tokens, seed):
    """Any state may follow, and some tokens cannot come; `end`, the token 0, can come everywhere."""
    rng = np.random.default_rng(seed)
    chances = rng.dirichlet(np.ones(tokens), states) * (rng.random((states, tokens)) < 0.7)
    chances[:, 0] += 0.1
    following = rng.integers(states, size=(states, tokens)) * (chances > 0)
    following[:, 0] = 0
    following[0, 1:] = np.arange(1, tokens) % states * (chances[0, 1:] > 0)
    return Automaton(chances / chances.sum(axis=1, keepdims=True), following, 0)


def coin(p):
    return Automaton(np.array([[p, 1 - p]]), np.zeros((1, 2), np.int64), 0)


def fixed(length):
    """Always the same sentence."""
    chances = np.eye(length)
    following = np.zeros((length, length), np.int64)
    following[np.arange(length - 1), np.arange(length - 1)] = np.arange(1, length)
    return Automaton(chances, following, length - 1)


# Words are 1, 2, 3 of a class each; then four times 4, which tells nothing; then the word of the beginning again; 0.
def remembered():
    chances, following = np.zeros((19, 5)), np.zeros((19, 5), np.int64)
    chances[0, 1:4] = 0.5, 0.3, 0.2
    for word in (1, 2, 3):
        first = 1 + 6 * (word - 1)
        following[0, word] = first
        for step, token in enumerate((4, 4, 4, 4, word, 0)):
            chances[first + step, token] = 1
            following[first + step, token] = 0 if token == 0 else first + step + 1
    return Automaton(chances, following, 0)


AUTOMATA = {
    "coin": coin(0.3),
    "fair coin": coin(0.5),
    "fixed": fixed(4),
    "remembered": remembered(),
    "random 2": random_automaton(2, 3, 0),
    "random 5": random_automaton(5, 4, 1),
    "random 7": random_automaton(7, 6, 2),
}
every = pytest.mark.parametrize("language", AUTOMATA.values(), ids=AUTOMATA.keys())
CLASSES = -(0.5 * np.log(0.5) + 0.3 * np.log(0.3) + 0.2 * np.log(0.2))


def test_known_entropies():
    assert entropy(coin(0.5)) == pytest.approx(np.log(2))
    assert entropy(coin(0.3)) == pytest.approx(-0.3 * np.log(0.3) - 0.7 * np.log(0.7))
    assert entropy(fixed(4)) == pytest.approx(0, abs=1e-12)
    assert entropy(remembered()) == pytest.approx(CLASSES / 7)  # one choice for seven tokens


@pytest.mark.parametrize("order", [3, 4, 5])
def test_what_no_short_context_sees(order):
    """The second word of a class stands after four others: up to order 5 it is guessed again."""
    # Which 4 of a row of four it is, three and fewer tokens do not tell: one more choice there.
    unclear = {3: lambda: position(2), 4: lambda: position(3), 5: lambda: 0.0}[order]()
    assert ngram_loss(remembered(), order) == pytest.approx((2 * CLASSES + unclear) / 7)


def position(seen):
    """The entropy left where the context is `seen` times 4: the next is 4 again or, after the last, a word; without the
    share of the word itself, which `CLASSES` has. Of the 4 places with so many 4 before, the last alone ends."""
    places = 4 - seen + 1
    ends = 1 / places
    return -places * (ends * np.log(ends) + (1 - ends) * np.log(1 - ends))


def test_a_context_that_reaches_the_beginning_sees_all():
    assert ngram_loss(remembered(), 6) == pytest.approx(entropy(remembered()))


@every
def test_stationary(language):
    """As a random walk of matrix products has it."""
    size = len(language.probabilities)
    moves = np.zeros((size, size))
    for state, token in itertools.product(range(size), range(language.probabilities.shape[1])):
        moves[state, language.following[state, token]] += language.probabilities[state, token]
    lazy = np.linalg.matrix_power((moves + np.eye(size)) / 2, 10_000)  # lazy: no period
    np.testing.assert_allclose(stationary(language), lazy[0], atol=1e-10)


def test_no_single_stationary_distribution():
    apart = Automaton(np.full((2, 2), 0.5), np.array([[0, 0], [1, 1]]), 0)
    with pytest.raises(ValueError, match="the automaton of 2 states has no single stationary distribution"):
        entropy(apart)


def by_enumeration(language, order):
    """Sum over all contexts of P(context) H(next | context), by dictionaries."""
    joint = defaultdict(float)
    for start, share in enumerate(stationary(language)):
        strings = {((), start): share}
        for _ in range(order):
            longer = defaultdict(float)
            for (string, state), chance in strings.items():
                for token, p in enumerate(language.probabilities[state]):
                    if p > 0:
                        longer[(*string, token), int(language.following[state, token])] += chance * p
            strings = longer
        for (string, _), chance in strings.items():
            joint[string] += chance
    contexts = defaultdict(float)
    for string, chance in joint.items():
        contexts[string[:-1]] += chance
    return -sum(chance * np.log(chance / contexts[string[:-1]]) for string, chance in joint.items() if chance > 0)


@every
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_ngram_loss(language, order):
    assert ngram_loss(language, order) == pytest.approx(by_enumeration(language, order), abs=1e-12)


@every
def test_longer_contexts_never_lose(language):
    losses = [ngram_loss(language, order) for order in range(1, 7)]
    assert np.all(np.diff(losses) <= 1e-12)
    assert losses[-1] >= entropy(language) - 1e-12


def test_no_order():
    with pytest.raises(ValueError, match="order must be at least 1, got 0"):
        ngram_loss(coin(0.5), 0)


@every
@pytest.mark.parametrize("size", [0, 1, 2, 5_000])
def test_generated_tokens(language, size):
    tokens = generate(language, size, np.random.default_rng(0))
    assert tokens.shape == (size,)
    assert tokens.dtype == np.int64
    state = 0
    for token in tokens.tolist():
        assert language.probabilities[state, token] > 0
        state = language.following[state, token]


@every
def test_a_longer_text_begins_as_a_shorter_one(language):
    long = generate(language, 9_000, np.random.default_rng(3))
    assert generate(language, 50, np.random.default_rng(3)).tolist() == long[:50].tolist()
    if entropy(language) > 0.01:
        assert generate(language, 50, np.random.default_rng(4)).tolist() != long[:50].tolist()


def test_no_size():
    with pytest.raises(ValueError, match="num_tokens must be at least 0, got -1"):
        generate(coin(0.5), -1, np.random.default_rng(0))


@every
def test_generated_tokens_have_the_probabilities(language):
    """How often each token comes in each state, within 5 standard errors."""
    tokens = generate(language, 60_000, np.random.default_rng(1))
    counts, state = Counter(), 0
    for token in tokens.tolist():
        counts[state, token] += 1
        state = int(language.following[state, token])
    for state, chances in enumerate(language.probabilities):
        seen = sum(counts[state, token] for token in range(len(chances)))
        for token, p in enumerate(chances):
            error = 5 * np.sqrt(max(p * (1 - p) * seen, 1))
            assert abs(counts[state, token] - p * seen) <= error


@every
def test_entropy_is_the_mean_of_what_the_perfect_model_loses(language):
    tokens = generate(language, 200_000, np.random.default_rng(2))
    losses = -log_probabilities(language, tokens)
    blocks = losses.reshape(200, -1).mean(axis=1)  # neighbours are not independent, blocks nearly are
    assert losses.mean() == pytest.approx(entropy(language), abs=1e-9 + 5 * blocks.std() / np.sqrt(200))


@every
def test_log_probabilities(language):
    tokens = generate(language, 300, np.random.default_rng(5))
    state, expected = 0, []
    for token in tokens.tolist():
        expected.append(np.log(language.probabilities[state, token]))
        state = language.following[state, token]
    np.testing.assert_allclose(log_probabilities(language, tokens.astype(np.uint8)), expected)


def test_a_token_that_cannot_come():
    """It costs everything, and what follows is read as a new sentence."""
    found = log_probabilities(remembered(), np.array([1, 4, 2, 3, 4, 4, 4, 4, 3, 0, 2]))
    expected = [0.5, 1, 0, 0.2, 1, 1, 1, 1, 1, 1, 0.3]
    np.testing.assert_allclose(np.exp(found), expected)


@pytest.mark.parametrize("bad", [[-1], [0, 5]])
def test_no_tokens(bad):
    with pytest.raises(ValueError, match="tokens must be 0 to 4, got"):
        log_probabilities(remembered(), np.array(bad))


def test_nothing_to_read():
    assert log_probabilities(coin(0.5), np.array([], np.int64)).shape == (0,)
