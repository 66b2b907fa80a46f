"""What a run of text classification leaves: results, plots, mistakes and the embedding's files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import results
from experiments.common.plots import draw
from experiments.text.flags import TextConfig
from experiments.text.task import Corpus
from rnn_jax import metrics
from rnn_jax.data.text import vocabulary
from rnn_jax.data.text.projector import write_projector
from rnn_jax.data.text.reviews import repeated_in_train
from rnn_jax.plotting import gradients, training
from rnn_jax.plotting import text as plots
from rnn_jax.training.log import read_log

METRICS = ("accuracy", "accuracy_unrepeated", "f1")
NUM_MISTAKES = 20
LENGTH_QUANTILES = 8


def write(
    config: TextConfig,
    workdir: Path,
    corpus: Corpus,
    record: Mapping[str, Any],
    params: Any,
    probabilities: np.ndarray,
    baselines: Mapping[str, Sequence[np.ndarray]],
) -> None:
    """Measures, writes `results.json`, draws.

    Args:
        config, workdir, corpus: of the run.
        record: what the training says of itself.
        params: the best of the first seed.
        probabilities: of the test split by seed, `[S, N_test, C]`.
        baselines: by name the same, a list of `[N_test, C]`.
    """
    labels, repeated = corpus.data.test.labels, repeated_in_train(corpus.original)
    num_classes = len(corpus.data.classes)

    def evaluate(probabilities: Sequence[np.ndarray]) -> dict[str, Any]:
        measured = []
        for each in probabilities:
            predicted = each.argmax(axis=-1)
            found = metrics.classification(labels, predicted, num_classes)
            found["accuracy_unrepeated"] = float(np.mean((predicted == labels)[~repeated]))
            measured.append(found)
        return {name: results.spread([each[name] for each in measured]) for name in METRICS}

    figures = {name: evaluate(each) for name, each in baselines.items()}
    first = {name: each[0] for name, each in baselines.items()}
    words = _write_words(workdir, corpus, params)
    (workdir / "mistakes.txt").write_text(mistakes(corpus, probabilities[0]), encoding="utf-8")
    found = {
        **record,
        "dataset": corpus.data.name,
        "protocol": "lecture" if config.lecture else "standard",
        "metrics": evaluate(list(probabilities)),
        "baselines": figures,
        "num_test": len(labels),
        "num_test_repeated": int(repeated.sum()),
        "compiled_lengths": list(corpus.bounds.lengths),
        "padding": corpus.padding(),
    }
    results.write(workdir, found)
    _plot(config, workdir, corpus, probabilities[0], first, figures)
    draw(plots.telling_words, workdir / "plots" / "words.png", *words, num_words=60)


def _plot(
    config: TextConfig,
    workdir: Path,
    corpus: Corpus,
    probabilities: np.ndarray,
    baselines: Mapping[str, np.ndarray],
    figures: Mapping[str, Any],
) -> None:
    folder, labels = workdir / "plots", corpus.data.test.labels
    records = read_log(workdir / "metrics.jsonl")
    draw(gradients.flow_from_log, folder / "gradient_flow.png", records)
    draw(gradients.spectrum_from_log, folder / "spectrum.png", records)
    records = [record for record in records if "loss" in record]
    draw(training.loss_curves, folder / "loss.png", records)
    levels = {f"{name}, test": figure["accuracy"]["mean"] for name, figure in figures.items()}
    draw(plots.accuracy_curves, folder / "accuracy.png", records, levels)
    counts = metrics.confusion(labels, probabilities.argmax(axis=-1), len(corpus.data.classes))
    draw(plots.confusion_matrix, folder / "confusion.png", counts, corpus.data.classes)
    # By the length of the whole text, also where only part of it is read.
    whole = np.array([len(text.split()) for text in corpus.data.test.texts])
    lower = np.quantile(whole, np.arange(LENGTH_QUANTILES) / LENGTH_QUANTILES).astype(int)
    edges = np.unique([*lower, whole.max() + 1])
    rows = {
        name: metrics.accuracy_by_length(each.argmax(axis=-1) == labels, whole, edges.tolist())
        for name, each in {config.cell: probabilities, **baselines}.items()
    }
    draw(plots.accuracy_by_length, folder / "length.png", rows)


def _write_words(workdir: Path, corpus: Corpus, params: Any) -> tuple[np.ndarray, list[str], np.ndarray]:
    """The embedding for the Embedding Projector; returns its vectors, words and how telling of the class each word is.

    That is the log-count ratio of the training texts it occurs in, times the root of how often it occurs.
    """
    words, vectors = vocabulary.words(corpus.vocabulary), np.asarray(params["embedding"]["table"], np.float32)
    counts, ratio = word_counts(corpus, slice(0, corpus.first[1]), len(words))
    columns = {"count": counts.tolist(), "log_count_ratio": [f"{value:.3f}" for value in ratio]}
    write_projector(workdir / "projector", vectors, words, columns)
    return vectors, words, ratio * np.sqrt(counts)


def word_counts(corpus: Corpus, part: slice, num_words: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each word, `[V]`: how often it occurs, and log(p / q) of its shares p, q in the last and first class."""
    labels = corpus.labels()[part]
    owner = np.repeat(labels, corpus.tokens.lengths[part])
    values = corpus.tokens.values[: len(owner)]
    by_class = [np.bincount(values[owner == c], minlength=num_words) for c in (0, len(corpus.data.classes) - 1)]
    shares = [(count + 1) / (count.sum() + num_words) for count in by_class]
    return np.sum(by_class, axis=0), np.log(shares[1] / shares[0])


def mistakes(corpus: Corpus, probabilities: np.ndarray) -> str:
    """The test texts that the model is most surely wrong about, as text."""
    test = corpus.data.test
    of_truth = probabilities[np.arange(len(test.labels)), test.labels]
    lines = []
    for index in np.argsort(of_truth, kind="stable")[:NUM_MISTAKES]:
        if probabilities[index].argmax() == test.labels[index]:
            break
        truth = corpus.data.classes[test.labels[index]]
        lines.append(
            f"{test.names[index]}: {truth}, given a probability of {of_truth[index]:.4f}\n{test.texts[index]}\n"
        )
    return "\n".join(lines) or "no mistakes\n"


def show(workdir: Path) -> None:
    """Prints the results of a finished run."""
    found = results.read(workdir)
    assert found is not None
    print(f"\n{found['dataset']}, protocol {found['protocol']}, {found['num_test']:,} test texts:\n")
    print(results.table(results.rows(found), METRICS))
    if found["num_test_repeated"]:
        print(
            f"\naccuracy_unrepeated: without {found['num_test_repeated']} test texts that occur in the training split"
        )
    print(
        f"\n{results.costs(found)}\nplots: {workdir / 'plots'}; the surest mistakes: {workdir / 'mistakes.txt'}; "
        f"for the Embedding Projector: {workdir / 'projector'}"
    )
