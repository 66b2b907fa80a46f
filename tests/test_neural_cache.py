"""The cache against two loops in float64."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax import neural_cache
from rnn_jax.neural_cache import Setting, cache_log_probabilities, mix, tune


def by_loops(hidden, targets, window, theta):
    """Probabilities of the cache, a pair at a time; 0 where it is empty."""
    hidden = np.asarray(hidden, np.float64)
    found = np.zeros(len(targets))
    for t in range(len(targets)):
        mine = whole = 0.0
        largest = max((theta * hidden[t] @ hidden[i] for i in range(max(t - window, 0), t)), default=0.0)
        for i in range(max(t - window, 0), t):
            weight = np.exp(theta * hidden[t] @ hidden[i] - largest)
            whole += weight
            mine += weight * (targets[i] == targets[t])
        found[t] = mine / whole if whole else 0.0
    return found


def stream(size, width=5, vocabulary=7, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(size, width)).astype(dtype)
    return jnp.asarray(hidden), jnp.asarray(rng.integers(0, vocabulary, size), jnp.int32)


@pytest.fixture(params=[4, 256])
def block(request, monkeypatch):
    """Blocks shorter and longer than windows and streams."""
    monkeypatch.setattr(neural_cache, "BLOCK", request.param)
    neural_cache._log_probabilities.clear_cache()
    yield
    neural_cache._log_probabilities.clear_cache()


@pytest.mark.parametrize("window", [1, 3, 9, 1000])
@pytest.mark.parametrize("size", [0, 1, 9, 23])
@pytest.mark.usefixtures("block")
def test_cache(size, window):
    hidden, targets = stream(size, seed=size)
    for theta in (0.0, 0.4, -1.3):
        found = cache_log_probabilities(hidden, targets, window, theta)
        expected = by_loops(hidden, np.array(targets), window, theta)
        assert (found.shape, found.dtype) == ((size,), jnp.float32)
        np.testing.assert_array_equal(np.isneginf(found), expected == 0)
        np.testing.assert_allclose(np.exp(found), expected, rtol=2e-5)


@pytest.mark.parametrize("size", [1, 12])
def test_the_first_token_meets_an_empty_cache(size):
    hidden, targets = stream(size, vocabulary=1)
    assert np.isneginf(cache_log_probabilities(hidden, targets, 4, 0.3)).tolist() == [True] + [False] * (size - 1)


def test_probabilities_of_all_tokens_sum_to_one():
    """Of each token that might have come at a time, given what came before."""
    hidden, targets = stream(20, dtype=np.float64)
    for t in (1, 5, 19):
        each = [
            cache_log_probabilities(hidden[: t + 1], targets[: t + 1].at[t].set(token), 6, 0.8)[t] for token in range(7)
        ]
        np.testing.assert_allclose(np.exp(each).sum(), 1, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_precision_is_of_the_states_and_at_least_float32(dtype):
    hidden, targets = stream(30, dtype=dtype)
    found = cache_log_probabilities(hidden, targets, 11, 0.5)
    assert found.dtype == max(dtype, np.float32, key=lambda each: np.dtype(each).itemsize)
    expected = by_loops(hidden, np.array(targets), 11, 0.5)
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-12 if dtype == np.float64 else 2e-5)


def test_large_scores_neither_overflow_nor_vanish():
    """Scores of -10,000 to 10,000: in the cache, however unlikely, is more than not in it."""
    hidden = jnp.asarray([[100.0], [-100.0], [100.0], [100.0], [-100.0]], jnp.float32)
    targets = jnp.asarray([3, 4, 3, 4, 5], jnp.int32)
    found = np.array(cache_log_probabilities(hidden, targets, 9, 1.0))
    np.testing.assert_allclose(found, [-np.inf, -np.inf, 0, -20_000 - np.log(2), -np.inf], rtol=1e-6, atol=1e-6)


def test_the_future_is_not_read():
    hidden, targets = stream(40)
    before = cache_log_probabilities(hidden, targets, 10, 0.5)
    after = cache_log_probabilities(hidden.at[25:].add(1.0), targets.at[25:].add(1), 10, 0.5)
    np.testing.assert_array_equal(before[:25], after[:25])
    assert np.any(before[25:] != after[25:])


def test_no_copy_of_the_whole_band_is_made():
    """Memory for the scores does not grow with the tokens."""
    size, window = 20_000, 50
    hidden, targets = stream(size, width=3)
    compiled = neural_cache._log_probabilities.lower(hidden, targets, (window,), jnp.ones(1)).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < size * window * 4


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_mix(share):
    p_model, p_cache = np.array([0.5, 0.2, 1e-30, 0.7]), np.array([0.0, 0.9, 0.5, 0.0])
    with np.errstate(divide="ignore"):
        found = np.exp(mix(jnp.log(p_model), jnp.log(p_cache), share))
    np.testing.assert_allclose(found, [0.5, *((1 - share) * p_model + share * p_cache)[1:]], rtol=1e-12)


def test_a_mixture_of_small_logarithms():
    found = mix(jnp.asarray([-900.0, -900.0]), jnp.asarray([-jnp.inf, -901.0]), 0.5)
    np.testing.assert_allclose(found, [-900, -900 + np.log(0.5 + 0.5 * np.exp(-1))], rtol=1e-12)


def test_mix_of_nothing():
    assert mix(jnp.zeros(0), jnp.zeros(0), 0.3).shape == (0,)


@pytest.mark.usefixtures("block")
def test_tune_finds_the_least_loss():
    """In a stream whose tokens come back after 6 steps, against the loss of every combination, by loops."""
    size = 60
    hidden, _ = stream(size, dtype=np.float64)
    tokens = np.random.default_rng(3).integers(0, 9, size)
    tokens[6:] = np.where(np.random.default_rng(4).random(size - 6) < 0.8, tokens[:-6], tokens[6:])
    log_p_model = jnp.log(jnp.asarray(np.random.default_rng(5).uniform(0.02, 0.2, size)))
    windows, thetas, shares = [2, 5, 6, 40], [0.0, 0.2, 1.0], [0.02, 0.1, 0.3, 0.6]
    losses = {}
    for window, theta, share in itertools.product(windows, thetas, shares):
        p = (1 - share) * np.exp(log_p_model) + share * by_loops(hidden, tokens, window, theta)
        losses[window, theta, share] = -np.mean([log_p_model[0], *np.log(p[1:])])
    best = min(losses, key=losses.get)
    assert best not in (next(iter(losses)), list(losses)[-1])  # which a search that finds nothing would return
    found = tune(hidden, jnp.asarray(tokens), log_p_model, windows, thetas, shares)
    assert found == best
    assert isinstance(found, Setting)


def test_tune_of_equals_takes_the_first():
    hidden, targets = stream(8)
    found = tune(hidden, targets, jnp.zeros(8), [30, 20, 10], [0.5, 0.5], [0.0, 0.0])
    assert found == Setting(30, 0.5, 0.0)


def test_theta_and_share_may_be_traced():
    hidden, targets = stream(15)
    log_p_model = jnp.full(15, -2.0)

    @jax.jit
    def loss(theta, share):
        return mix(log_p_model, cache_log_probabilities(hidden, targets, 5, theta), share).mean()

    direct = mix(log_p_model, cache_log_probabilities(hidden, targets, 5, 0.7), 0.2).mean()
    np.testing.assert_allclose(loss(0.7, 0.2), direct, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda h, t: cache_log_probabilities(h, t[:-1], 3, 1.0), r"hidden \(6, 5\) and targets \(5,\)"),
        (lambda h, t: cache_log_probabilities(h[0], t, 3, 1.0), r"hidden \(5,\) and targets \(6,\)"),
        (lambda h, t: cache_log_probabilities(h, t * 1.0, 3, 1.0), "targets must be integers, got float"),
        (lambda h, t: cache_log_probabilities(h, t, 0, 1.0), "window=0: must be at least 1"),
        (lambda h, t: mix(jnp.zeros(5), jnp.zeros(6), 0.5), r"log_p_model \(5,\) and log_p_cache \(6,\)"),
        (lambda h, t: mix(jnp.zeros((2, 3)), jnp.zeros((2, 3)), 0.5), r"log_p_model \(2, 3\)"),
        (lambda h, t: tune(h, t, jnp.zeros(5), [3], [1.0], [0.5]), r"log_p_model \(5,\) and targets \(6,\)"),
        (lambda h, t: tune(h, t, jnp.zeros(6), [3, -1], [1.0], [0.5]), "window=-1: must be at least 1"),
        (lambda h, t: tune(h, t, jnp.zeros(6), [], [1.0], [0.5]), r"6 tokens, windows=\[\]"),
        (lambda h, t: tune(h, t, jnp.zeros(6), [3], [], [0.5]), r"thetas=\[\]"),
        (lambda h, t: tune(h, t, jnp.zeros(6), [3], [1.0], []), r"shares=\[\]"),
        (lambda h, t: tune(h[:0], t[:0], jnp.zeros(0), [3], [1.0], [0.5]), "0 tokens"),
    ],
)
def test_what_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call(*stream(6))
