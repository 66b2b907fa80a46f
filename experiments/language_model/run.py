"""A run of a language model: trained beside the other rungs, or writing."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import begun, results
from experiments.common.flags import UsageError
from experiments.language_model import adaptation, documents, ladder, report, task, write
from experiments.language_model.flags import LanguageConfig
from experiments.language_model.task import look_at, make_model
from experiments.language_model.words import VOCABULARY
from rnn_jax import models
from rnn_jax.data.language.corpus import Corpus, fingerprint
from rnn_jax.training.processes import is_first

__all__ = ["look_at", "make_model", "run"]


def run(name: str, config: LanguageConfig, workdir: Path) -> None:
    """Writes with a trained model, or trains one, reads the test split once and prints the table."""
    if config.mode == "generate":
        write.generate(config, workdir)
        return

    def train() -> None:
        train_and_evaluate(name, config, workdir)

    results.run_or_show(name, workdir, train, report.show, lambda: fingerprint(task.read_corpus(config, workdir)))


def train_and_evaluate(name: str, config: LanguageConfig, workdir: Path) -> None:
    """The run itself."""
    corpus = task.read_corpus(config, workdir)
    mark = fingerprint(corpus)
    begun.check_data(workdir, mark)
    describe(corpus)
    if config.documents:
        documents.check(config, corpus)
    if config.resets and corpus.end is None:
        raise UsageError(f"--resets: {corpus.name} as {corpus.level} is one text, without a token that ends one")
    corpus.vocabulary.save(workdir / VOCABULARY)
    sizes: dict[str, Any] = {"vocab_size": corpus.vocabulary.size}
    if classes := documents.num_classes(config, corpus):
        sizes["num_classes"] = classes
    make = partial(task.make_model, config, **sizes)
    fitted = task.fit_model(name, config, corpus, make, workdir, mark)
    model = models.abstract(make)
    own = ladder.of_fitted(config, corpus, model, fitted)
    adapted = adaptation.adapted(config, corpus, model, fitted)
    found = {label: own._replace(losses=losses) for label, losses in adapted}
    found.update(ladder.rungs(name, config, corpus, workdir, mark))
    sample = write.sample_of(config, corpus, model, fitted)
    record = {
        **fitted.record,
        "model": sizes,
        "first": task.first_token(corpus, "validation"),
        "cleaning": task.cleaning(config),
    }
    if is_first():
        report.write(config, workdir, corpus, record, own, found, sample)


def describe(corpus: Corpus) -> None:
    """Prints what the text is."""
    for sentence in corpus.remarks:
        print(f"data: {sentence}")
    sizes = ", ".join(f"{len(getattr(corpus, split).tokens):,} {split}" for split in ("train", "validation", "test"))
    print(f"data: {sizes} tokens ({corpus.level}), {corpus.vocabulary.size:,} of them different; {corpus.protocol}")
    tokens = corpus.train.tokens[:1_000_000]
    commonest = np.bincount(tokens, minlength=corpus.vocabulary.size).argsort()[::-1][:8]
    print(f"data: the commonest are {', '.join(repr(corpus.vocabulary.names[i]) for i in commonest)}")
