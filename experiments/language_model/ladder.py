"""The models beside the one that is asked for, on the same tokens: counts, a fixed context, other cells."""

import dataclasses
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.common.fit import Fitted
from experiments.language_model import documents, task
from experiments.language_model.flags import CELLS, LanguageConfig
from rnn_jax import models, ngrams
from rnn_jax.data.language.corpus import Corpus


class Rung(NamedTuple):
    """A model of the table.

    Attributes:
        losses: of the test split's tokens, nats `[S, N]`.
        num_params: numbers learnt; n-grams counted.
        seconds: of training or counting, on average over seeds.
    """

    losses: np.ndarray
    num_params: int
    seconds: float


def rungs(
    name: str, config: LanguageConfig, corpus: Corpus, workdir: Path, fingerprint: str
) -> Iterator[tuple[str, Rung]]:
    """Every model that `--rungs` names, by the name of its row."""
    if "ngrams" in config.rungs:
        for order in sorted(config.ngram_orders):
            yield count(config, corpus, order)
    if "feedforward" in config.rungs:
        make = partial(task.make_feedforward, config, vocab_size=corpus.vocabulary.size)
        print(f"feed-forward network of {config.context} tokens:")
        folder = workdir / "rungs" / "feedforward"
        yield f"feed-forward, {config.context} tokens", trained(name, config, corpus, make, folder, fingerprint)
    for cell in (each for each in CELLS if each in config.rungs and each != config.cell):
        print(f"{cell}:")
        other = dataclasses.replace(config, cell=cell)
        if cell == "rnn" and config.rnn_learning_rate is not None:
            other = dataclasses.replace(other, learning_rate=config.rnn_learning_rate)
        classes = documents.num_classes(config, corpus)
        make_cell = partial(task.make_model, other, vocab_size=corpus.vocabulary.size, num_classes=classes)
        yield cell, trained(name, other, corpus, make_cell, workdir / "rungs" / cell, fingerprint)


def count(config: LanguageConfig, corpus: Corpus, order: int) -> tuple[str, Rung]:
    """An n-gram model with Kneser-Ney's smoothing, of the first `--ngram_tokens` tokens."""
    started = time.perf_counter()
    tokens = corpus.train.tokens[: config.ngram_tokens]
    model = ngrams.fit(tokens, order, corpus.vocabulary.size, end=corpus.end)
    seconds = time.perf_counter() - started
    label = f"{order}-gram, Kneser-Ney"
    if len(tokens) < len(corpus.train.tokens):
        label += f", of {len(tokens):,} tokens"
    start = None if corpus.end is not None else corpus.train.tokens[-order:]
    losses = -model.log_probabilities(corpus.test.tokens, start=start)
    if config.documents:
        losses = losses[documents.counted(config, corpus.test)]
    print(f"{label}: {model.num_params:,} n-grams, {np.exp(losses.mean()):.4g} of perplexity")
    return label, Rung(losses[None], model.num_params, seconds)


def trained(name: str, config: LanguageConfig, corpus: Corpus, make: Any, folder: Path, fingerprint: str) -> Rung:
    """A network, trained as the run's own is."""
    fitted = task.fit_model(name, config, corpus, make, folder, fingerprint)
    return of_fitted(config, corpus, models.abstract(make), fitted)


def of_fitted(config: LanguageConfig, corpus: Corpus, model: Any, fitted: Fitted) -> Rung:
    """A network that has been trained."""
    losses = task.split_losses(config, corpus, model, fitted)
    return Rung(losses, fitted.record["num_params"], fitted.record["train_seconds"] / config.num_seeds)
