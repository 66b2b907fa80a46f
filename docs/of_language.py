"""The tables of language models, from the files of `docs/results`.

Every function takes the parsed files by name, without ".json", and returns Markdown. What others have published stands
as a literal.
"""

from collections.abc import Mapping
from typing import Any

from docs.figures import Files, bold, mean, seconds, spread, table

HEAD = ["model", "nats per token", "bits per character", "perplexity", "parameters", "training"]


def ladder(found: Mapping[str, Any], own: str, published: Mapping[str, str] | None = None) -> list[list[str]]:
    """The rows of a run, the worst first.

    Args:
        found: its `results.json`.
        own: what its model is called.
        published: perplexities of others by name, which go between.
    """
    rows = {own: found["metrics"], **found["baselines"]}
    costs = dict(found["costs"])
    costs[own] = next(iter(costs.values()))
    best = min(metrics["loss"]["mean"] for metrics in rows.values())
    lines = []
    for name, metrics in rows.items():
        cost = costs[name]
        loss = bold(spread(metrics["loss"], 4), metrics["loss"]["mean"] == best)
        figures = [loss, mean(metrics["bits_per_character"], 3), spread(metrics["perplexity"], 2)]
        line = [name, *figures, f"{cost['num_params']:,}", seconds(cost["train_seconds"])]
        lines.append((metrics["perplexity"]["mean"], line))
    for name, perplexity in (published or {}).items():
        lines.append((float(perplexity), [f"{name}, published", "", "", perplexity, "", ""]))
    return [line for _, line in sorted(lines, key=lambda each: -each[0])]


PENN = {
    "Kneser-Ney 3-gram (Mikolov 2012)": "148.3",
    "Kneser-Ney 5-gram (Mikolov 2012)": "141.2",
    "feed-forward network (Mikolov 2012)": "140.2",
    "RNN (Mikolov 2012)": "124.7",
    "LSTM, medium, 39 epochs (Zaremba et al. 2014)": "82.7",
    "AWD-LSTM, 500 epochs (Merity et al. 2018)": "57.3",
}


def penn_treebank(files: Files) -> str:
    """Words of the Penn Treebank, the test split."""
    return table(HEAD, ladder(files["ptb"], "LSTM, 2 layers, H 512", PENN))


def grammar(files: Files) -> str:
    """The made-up language, and how far each model is from a perfect one."""
    found = files["grammar"]
    limit = found["limit"]
    rows = [
        [*row[:2], f"{float(row[1].strip('*').split(' ')[0]) / limit - 1:.1%}", *row[3:]]
        for row in ladder(found, "LSTM, H 64")
    ]
    perfect = ["a perfect model", f"{limit:.4f}", "0.0%", "", "", ""]
    return table([*HEAD[:2], "above a perfect model", *HEAD[3:]], [*rows, perfect])


def tiny_shakespeare(files: Files) -> str:
    """Characters of tiny Shakespeare."""
    rows = ladder(files["tiny_shakespeare"], "LSTM, H 256, 10 epochs")
    deep = ladder({**files["tiny_shakespeare_2_layers"], "baselines": {}}, "LSTM, 2 layers, H 384, 12 epochs, one seed")
    rows = [*([cell.strip("*") for cell in row] for row in rows), *deep]
    rows.append(["nanoGPT on a CPU, published, 20 batches", "1.88", "", "", "", "about 3 min"])
    rows.append(
        ["nanoGPT on an A100, published, best of the training", "1.4697", "", "", "10.65 million", "about 3 min"]
    )
    return table(HEAD, sorted(rows, key=lambda row: -float(row[1].strip("*").split(" ")[0])))


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
