"""What a run of a language model leaves: the table, plots, a sample."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from experiments.common import results
from experiments.common.plots import draw
from experiments.language_model import documents
from experiments.language_model.flags import LanguageConfig
from experiments.language_model.ladder import Rung
from rnn_jax.data.language import grammar
from rnn_jax.data.language.corpus import Corpus
from rnn_jax.plotting import gradients, language, training
from rnn_jax.training.log import read_log

METRICS = ("loss", "bits_per_character", "perplexity")


def measured(losses: np.ndarray, num_characters: int) -> dict[str, Any]:
    """Of the losses of a split's tokens, nats `[S, N]`, the metrics over seeds.

    loss = mean        perplexity = exp(loss)        bits per character = sum / log 2 / characters
    """
    means, sums = losses.mean(axis=1), losses.sum(axis=1)
    return {
        "loss": results.spread(means.tolist()),
        "bits_per_character": results.spread((sums / np.log(2) / num_characters).tolist()),
        "perplexity": results.spread(np.exp(means).tolist()),
    }


def write(
    config: LanguageConfig,
    workdir: Path,
    corpus: Corpus,
    record: Mapping[str, Any],
    own: Rung,
    others: Mapping[str, Rung],
    sample: str,
) -> None:
    """Measures, writes the sample and `results.json`, draws.

    Args:
        config, workdir, corpus: of the run.
        record: what the training says of itself.
        own: the run's model.
        others: the other rows of the table, by name.
        sample: a text that the model has written.
    """
    characters = num_characters(config, corpus)
    figures = {name: measured(rung.losses, characters) for name, rung in others.items()}
    metrics = measured(own.losses, characters)
    known = known_limits(config, corpus)
    found = {
        **record,
        "dataset": corpus.name,
        "protocol": corpus.protocol,
        "level": corpus.level,
        "metrics": metrics,
        "baselines": figures,
        "costs": {
            name: {"num_params": rung.num_params, "train_seconds": rung.seconds}
            for name, rung in {own_name(record): own, **others}.items()
        },
        "num_test": int(own.losses.shape[1]),
        "num_test_characters": characters,
        "sample": sample,
        **known,
    }
    records = read_log(workdir / "metrics.jsonl")
    rows = {own_name(record): metrics, **figures}
    losses = {name: row["loss"]["mean"] for name, row in rows.items()}
    (workdir / "sample.txt").write_text(sample, encoding="utf-8")
    results.write(workdir, found)
    folder, unit = workdir / "plots", "nats per token of the test split"
    draw(gradients.flow_from_log, folder / "gradient_flow.png", records)
    draw(gradients.spectrum_from_log, folder / "spectrum.png", records)
    draw(training.loss_curves, folder / "loss.png", [record for record in records if "loss" in record])
    draw(language.ladder, folder / "ladder.png", losses, unit, known.get("limit"))


def num_characters(config: LanguageConfig, corpus: Corpus) -> int:
    """Of the test text that is read."""
    if not config.documents:
        return corpus.test.num_characters
    return len(corpus.vocabulary.decode(corpus.test.tokens[documents.counted(config, corpus.test)]))


def own_name(record: Mapping[str, Any]) -> str:
    """The name of the run's own row."""
    return results.with_seeds(record["cell"], record["seeds"])


def known_limits(config: LanguageConfig, corpus: Corpus) -> dict[str, Any]:
    """Of the grammar: its entropy, what a perfect model has on the test tokens, and the best that n-grams can have."""
    if corpus.entropy is None or config.reverse:
        return {}
    orders = [order for order in config.ngram_orders if order <= 6]
    return {
        "entropy": corpus.entropy,
        "limit": grammar.perfect_loss(corpus.test.tokens),
        "best_ngram_losses": {str(order): grammar.best_ngram_loss(order) for order in orders},
    }


def show(workdir: Path) -> None:
    """Prints the results of a finished run."""
    found = results.read(workdir)
    assert found is not None
    print(f"\n{found['dataset']}, {found['level']}; {found['protocol']}; {found['num_test']:,} test tokens:\n")
    print(table(found))
    if "limit" in found:
        print(
            f"\nThe language has an entropy of {found['entropy']:.4f} nats per token; a perfect model has "
            f"{found['limit']:.4f} on these test tokens."
        )
        if best := ", ".join(f"{order}: {loss:.4f}" for order, loss in found["best_ngram_losses"].items()):
            print(
                f"The lowest loss of any model that reads n - 1 tokens back, by n, however long it counts: {best}:\n"
                "verbs agree with subjects that stand further back than that."
            )
    print(f"\na sample (sample.txt):\n\n{indented(found['sample'])}")
    print(f"\n{results.costs(found)}\nplots: {workdir / 'plots'}")


def table(found: Mapping[str, Any]) -> str:
    """The ladder as Markdown, the best last."""
    head = ["", *METRICS, *(["above perfect"] if "limit" in found else []), "parameters", "seconds"]
    body = []
    rows = {own_name(found): found["metrics"], **found["baselines"]}
    for name, metrics in sorted(rows.items(), key=lambda row: -row[1]["loss"]["mean"]):
        cells = [name, *(results.cell(metrics[each], digits) for each, digits in zip(METRICS, (4, 4, 2), strict=True))]
        if "limit" in found:
            cells.append(f"{metrics['loss']['mean'] / found['limit'] - 1:.2%}")
        costs = found["costs"][name]
        body.append([*cells, f"{costs['num_params']:,}", f"{costs['train_seconds']:.1f}"])
    return tabulate(body, headers=head, tablefmt="pipe", disable_numparse=True)


def indented(text: str, width: int = 100) -> str:
    """The beginning of a text, for the terminal."""
    lines = []
    for line in text.splitlines()[:20]:
        while len(line) > width:
            cut = line.rfind(" ", 0, width)
            cut = width if cut <= 0 else cut
            lines.append(line[:cut])
            line = line[cut:].lstrip()
        lines.append(line)
    return "\n".join(f"    {line}" for line in lines[:20])
