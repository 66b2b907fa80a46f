"""The tables of language models, from the files of `docs/results`.

Every function takes the parsed files by name, without ".json", and returns Markdown. What others have published stands
as a literal.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from docs.figures import Files, bold, mean, seconds, spread, table
from experiments.common.results import with_seeds

HEAD = ["model", "nats per token", "bits per character", "perplexity", "parameters", "training"]


FOLLOWING = ("dynamic evaluation", "neural cache")
"""Ways to evaluate the run's own model once more."""


class Row(NamedTuple):
    """A row before it is written: the loss that it is sorted by, its cells, and whether it was measured here."""

    loss: float
    cells: list[str]
    measured: bool = True


def ladder(found: Mapping[str, Any], own: str) -> list[Row]:
    """The rows of a run: its `results.json`, and what its model is called."""
    name_there = with_seeds(found["cell"], found["seeds"])
    rows = []
    for name, metrics in {name_there: found["metrics"], **found["baselines"]}.items():
        cost = found["costs"][name]
        figures = [spread(metrics["loss"], 4), mean(metrics["bits_per_character"], 3), spread(metrics["perplexity"], 2)]
        shown = own if name == name_there else f"{own}, {name}" if name in FOLLOWING else name
        cells = [shown, *figures, f"{cost['num_params']:,}", seconds(cost["train_seconds"])]
        rows.append(Row(metrics["loss"]["mean"], cells))
    return rows


def with_baselines(found: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """A run with no baselines but those named: the others are rows of another run."""
    return {**found, "baselines": {name: found["baselines"][name] for name in names}}


def written(head: Sequence[str], rows: Sequence[Row]) -> str:
    """The table of rows, the worst first; the least loss that was measured is bold."""
    best = min(row.loss for row in rows if row.measured)
    lines = []
    for loss, (name, figure, *others), measured in sorted(rows, key=lambda row: -row.loss):
        lines.append([name, bold(figure, measured and loss == best), *others])
    return table(head, lines)


PENN = {
    "Kneser-Ney 3-gram (Mikolov 2012)": "148.3",
    "Kneser-Ney 5-gram (Mikolov 2012)": "141.2",
    "feed-forward network (Mikolov 2012)": "140.2",
    "RNN (Mikolov 2012)": "124.7",
    "LSTM, medium, 39 epochs (Zaremba et al. 2014)": "82.7",
    "AWD-LSTM, 500 epochs (Merity et al. 2018)": "57.3",
}
"""Published perplexities."""


def penn_treebank(files: Files) -> str:
    """Words of the Penn Treebank, the test split."""
    published = [
        Row(math.log(float(perplexity)), [f"{name}, published", "", "", perplexity, "", ""], measured=False)
        for name, perplexity in PENN.items()
    ]
    own = [
        *ladder(files["ptb"], "LSTM, 2 layers, H 512, 8 epochs"),
        *ladder(with_baselines(files["ptb_20_minutes"]), "LSTM, H 800, 7 epochs"),
        *ladder(with_baselines(files["ptb_hour"], *FOLLOWING), "LSTM, H 800, 23 epochs"),
        *ladder(with_baselines(files["ptb_gru"]), "GRU, 2 layers, H 512"),
        *ladder(with_baselines(files["ptb_rnn"]), "RNN, H 512"),
        *ladder(files["ptb_feedforward"], "RNN, H 300"),
    ]
    return written(HEAD, [*own, *published])


def grammar(files: Files) -> str:
    """The made-up language, and how far each model is from a perfect one."""
    limit = files["grammar"]["limit"]
    rows = []
    for row in ladder(files["grammar"], "LSTM, H 64"):
        name, figure, _, *others = row.cells
        rows.append(row._replace(cells=[name, figure, f"{row.loss / limit - 1:.1%}", *others]))
    perfect = Row(limit, ["a perfect model", f"{limit:.4f}", "0.0%", "", "", ""], measured=False)
    return written([*HEAD[:2], "above a perfect model", *HEAD[3:]], [*rows, perfect])


NANOGPT = (
    ("nanoGPT on a CPU, published, 20 batches", "1.88", ""),
    ("nanoGPT on an A100, published, best of the training", "1.4697", "10.65 million"),
)
"""Published losses of about three minutes of training, and parameters."""


def tiny_shakespeare(files: Files) -> str:
    """Characters of tiny Shakespeare; n-grams are those of the first file."""
    deep = with_baselines(files["tiny_shakespeare_2_layers"], "dynamic evaluation")
    wide = with_baselines(files["tiny_shakespeare_wide"], "dynamic evaluation")
    published = [
        Row(float(loss), [name, loss, "", "", size, "about 3 min"], measured=False) for name, loss, size in NANOGPT
    ]
    return written(
        HEAD,
        [
            *ladder(files["tiny_shakespeare"], "LSTM, H 256, 10 epochs"),
            *ladder(files["tiny_shakespeare_rungs"], "GRU, H 256, 10 epochs"),
            *ladder(deep, "LSTM, 2 layers, H 384, 12 epochs"),
            *ladder(wide, "LSTM, 2 layers, H 512, 30 epochs, one seed"),
            *published,
        ],
    )


def generation(files: Files) -> str:
    """Tokens per second of writing, ours and the fastest of PyTorch's ways in each row."""
    rows = []
    for case, of in files["generation"]["rows"].items():
        for row in of:
            drawn = "all" if row["top_k"] is None else f"top {row['top_k']}"
            speeds = (row["tokens_per_second"][name] for name in ("rnn_jax", row["fastest"]))
            turns = f"{row['ratio']:.1f} ({row['least']:.1f} to {row['most']:.1f})"
            rows.append([case, str(row["batch_size"]), drawn, *(f"{speed:,.0f}" for speed in speeds), turns])
    return table(["model", "batch", "drawn from", "rnn_jax, tokens/s", "PyTorch, tokens/s", "rnn_jax / PyTorch"], rows)


TABLES = {
    "penn_treebank": penn_treebank,
    "grammar": grammar,
    "tiny_shakespeare": tiny_shakespeare,
    "generation": generation,
}
