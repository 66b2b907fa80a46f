"""A run of text classification: a classifier, beside classifiers without recurrence; or prediction with one."""

from functools import partial
from pathlib import Path
from typing import Any

from experiments.common import begun, results
from experiments.text import predict, pretrained, report, task
from experiments.text.baselines import linear_probabilities, networks_without_recurrence
from experiments.text.flags import TextConfig
from experiments.text.task import look_at, make_model
from rnn_jax.data.text import count_ratios, vocabulary
from rnn_jax.data.text.reviews import fingerprint
from rnn_jax.training.processes import is_first

__all__ = ["look_at", "make_model", "run"]


def run(name: str, config: TextConfig, workdir: Path) -> None:
    """Classifies texts with a trained model, or trains one, evaluates the test split once and prints the table."""
    if config.mode == "predict":
        predict.predict(config, workdir)
        return

    def train() -> None:
        train_and_evaluate(name, config, workdir)

    def mark() -> str:
        return pretrained.mark_of(fingerprint(task.read_reviews(config)), pretrained.load(config))

    results.run_or_show(name, workdir, train, report.show, mark)


def train_and_evaluate(name: str, config: TextConfig, workdir: Path) -> None:
    """The run itself."""
    original = task.read_reviews(config)
    given = pretrained.load(config)
    mark = pretrained.mark_of(fingerprint(original), given)
    begun.check_data(workdir, mark)  # before minutes of counting
    corpus = task.make_corpus(config, original)
    describe(corpus)
    corpus.vocabulary.save(str(workdir / predict.TOKENIZER))
    count_ratios.save(corpus.ratios, workdir / predict.RATIOS)
    sizes: dict[str, Any] = {"vocab_size": corpus.vocabulary.get_vocab_size(), "num_classes": len(corpus.data.classes)}

    make = partial(task.make_model, config, **sizes)
    words = vocabulary.words(corpus.vocabulary)
    for model in given:
        print(f"start: {pretrained.rows_of(model, words)[1].sum():,} of {len(words):,} words from {model.folder}")
    start = pretrained.make_start(given, words, config.embedding_scale)
    fitted, probabilities = task.fit_classifier(name, config, corpus, make, workdir, mark, start)
    baselines = {}
    if config.baselines:
        for network, other in networks_without_recurrence(config, corpus).items():
            print(f"baseline {network}:")
            folder = workdir / "baselines" / network
            baselines[network] = list(task.fit_classifier(name, config, corpus, other, folder, mark)[1])
        for linear, longest in (("nbsvm_bigrams", 2), ("nbsvm_trigrams", 3)):
            print(f"baseline {linear}")
            baselines[linear] = [linear_probabilities(corpus, longest)]
    record = {
        **fitted.record,
        "model": sizes,
        "classes": list(corpus.data.classes),
        "init_from": pretrained.noted(given),
    }
    if is_first():
        report.write(config, workdir, corpus, record, fitted.first, probabilities, baselines)


def describe(corpus: Any) -> None:
    """Prints what the reviews are, and how they are batched."""
    for sentence in corpus.data.remarks:
        print(f"data: {sentence}")
    sizes = ", ".join(f"{corpus.part(s).stop - corpus.part(s).start:,} {s}" for s in ("train", "validation", "test"))
    unknown = (corpus.tokens.values[: corpus.tokens.starts[corpus.first[1]]] == 1).mean()
    print(f"data: {sizes} reviews; {corpus.vocabulary.get_vocab_size():,} tokens, {unknown:.1%} of the words unknown")
    shapes = ", ".join(map(str, corpus.bounds.lengths))
    print(f"batches: {len(corpus.bounds.lengths)} compiled lengths ({shapes}); {corpus.padding():.1%} of steps padding")
