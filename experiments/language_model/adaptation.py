"""A trained model that follows the text it reads: dynamic evaluation, and a cache of what was said."""

import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.fit import Fitted
from experiments.language_model import task
from experiments.language_model.flags import LanguageConfig
from rnn_jax import dynamic_evaluation, models, neural_cache
from rnn_jax.data.language.corpus import Corpus
from rnn_jax.types import Array, Params

CHUNK = 20
"""Tokens between two steps of dynamic evaluation."""
RATES, DECAYS, EPSILONS = (1e-4, 3e-4, 1e-3), (3e-4, 3e-3), (2e-5, 2e-4)
"""Of dynamic evaluation, tried on the beginning of the validation split. The second epsilon is for large vocabularies:
words that the training tokens below hardly have seem to have no gradient, and would leap."""
WINDOWS, THETAS, SHARES = (500, 2000), (0.1, 0.2, 0.4, 0.8), (0.05, 0.1, 0.2, 0.3)
"""Of the cache, tried on the validation split."""
TRIED = 10_000
"""Tokens of the validation split on which settings are tried."""
TRAINING_TOKENS = 40_000
"""Tokens of the training split from which the size of gradients is taken."""


def adapted(config: LanguageConfig, corpus: Corpus, model: Any, fitted: Fitted) -> Iterator[tuple[str, np.ndarray]]:
    """What `--dynamic` and `--cache` ask for: by the name of its row the loss of each test token, `[1, N]`."""
    if config.dynamic:
        yield "dynamic evaluation", dynamic(config, corpus, model, fitted.first)
    if config.cache:
        yield "neural cache", cached(config, corpus, model, fitted.first)


def dynamic(config: LanguageConfig, corpus: Corpus, model: Any, params: Params) -> np.ndarray:
    """The loss of each test token while the parameters follow the text; settings chosen on validation."""
    losses_of, _ = models.pure(model, "token_losses")
    begin, _ = models.pure(model, "begin")
    reset_at = task.reset_at(config, corpus)

    def loss(params: Params, chunk: tuple[Array, Array, Array], carry: Any) -> tuple[Array, Any]:
        tokens, targets, valid = chunk
        resets = None if reset_at is None else tokens[None] == reset_at
        carry, losses = losses_of(params, tokens[None], targets[None], carry, resets=resets)
        return jnp.sum(losses * valid) / jnp.maximum(valid.sum(), 1), carry

    def chunks(tokens: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        number = -(-len(tokens) // CHUNK)
        whole = np.zeros(number * CHUNK + 1, np.int32)
        whole[0], whole[1 : len(tokens) + 1] = first, tokens
        valid = np.arange(number * CHUNK) < len(tokens)
        return tuple(each.reshape(number, CHUNK) for each in (whole[:-1], whole[1:], valid.astype(np.float32)))  # type: ignore[return-value]

    start = jax.tree.map(jnp.asarray, params)
    carry = jax.jit(lambda p: begin(p, 1))(start)
    train = corpus.train.tokens[:TRAINING_TOKENS]
    squares = dynamic_evaluation.squared_gradients(loss, start, chunks(train, int(train[0])), carry)
    tried = chunks(corpus.validation.tokens[:TRIED], task.first_token(corpus, "validation"))
    settings = list(itertools.product(RATES, DECAYS, EPSILONS))

    def run(data: Any, rate: float, decay: float, epsilon: float) -> np.ndarray:
        found, _ = dynamic_evaluation.evaluate(
            loss, start, data, carry, rate=rate, decay=decay, mean_squares=squares, epsilon=epsilon
        )
        return np.asarray(found, np.float64)

    means = [np.nan_to_num(run(tried, *setting).mean(), nan=np.inf) for setting in settings]
    setting = rate, decay, epsilon = settings[int(np.argmin(means))]
    print(f"dynamic evaluation: rate {rate:g}, decay {decay:g}, epsilon {epsilon:g} (validation)")
    data = chunks(corpus.test.tokens, task.first_token(corpus, "test"))
    losses = np.repeat(run(data, *setting), CHUNK)  # the mean of its chunk for each token: their sum is right
    return losses[None, : len(corpus.test.tokens)]


def cached(config: LanguageConfig, corpus: Corpus, model: Any, params: Params) -> np.ndarray:
    """The loss of each test token with a cache of the last ones; its settings are chosen on validation."""
    read, _ = models.pure(model, "read")
    losses_of, _ = models.pure(model, "state_losses")
    begin, _ = models.pure(model, "begin")
    reset_at = task.reset_at(config, corpus)

    @jax.jit
    def of(params: Params, tokens: Array, first: Array) -> tuple[Array, Array]:
        inputs = jnp.concatenate((first[None], tokens[:-1])).astype(jnp.int32)
        resets = None if reset_at is None else inputs[None] == reset_at
        _, states = read(params, inputs[None], begin(params, 1), resets=resets)
        return states[0], -losses_of(params, states, tokens[None])[0]

    def both(split: str, count: int | None = None) -> tuple[Array, Array, Array]:
        tokens = jnp.asarray(getattr(corpus, split).tokens[:count])
        states, log_p = of(params, tokens, jnp.asarray(task.first_token(corpus, split), jnp.int32))
        return states, tokens.astype(jnp.int32), log_p

    setting = neural_cache.tune(*both("validation", TRIED), WINDOWS, THETAS, SHARES)
    print(f"neural cache: {setting.window} tokens, theta {setting.theta:g}, share {setting.share:g} (validation)")
    states, targets, log_p = both("test")
    log_cache = neural_cache.cache_log_probabilities(states, targets, setting.window, setting.theta)
    return -np.asarray(neural_cache.mix(log_p, log_cache, setting.share), np.float64)[None]
