"""What the gradient laboratory leaves: plots, results, a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from experiments.common import results
from experiments.common.plots import draw
from experiments.vanishing import attractor
from experiments.vanishing.flags import Config
from rnn_jax.plotting import gradients

LABELS = {"lstm": "the gradient", "lstm_without_dc": "without dc"}


def plot(workdir: Path, rows: Sequence[Mapping[str, Any]], faulty: Mapping[str, Any]) -> None:
    """One plot per question: which cell, which initialization (of each cell), which gain, what dc does."""
    curves = dict(np.load(workdir / "flow.npz"))
    lags = np.arange(next(iter(curves.values())).size)
    some = np.unique(np.geomspace(1, lags[-1], 400).astype(int))

    def by_lag(file: str, title: str, chosen: Mapping[str, np.ndarray]) -> None:
        if chosen:
            shown = {name: (some, values[some] - values[0]) for name, values in chosen.items()}
            draw(gradients.by_lag, workdir / "plots" / file, title, shown, "log10 of dL/dh_t against lag 0")

    one = {f"{row['cell']}, orthogonal" for row in rows}
    by_lag("cells.png", "Which cell keeps the gradient?", {k: v for k, v in curves.items() if k in one})
    for cell in dict.fromkeys(row["cell"] for row in rows):
        mine = {k: v for k, v in curves.items() if k.split(", ")[0] == cell and "gain" not in k}
        by_lag(f"inits_{cell}.png", f"Which initialization keeps the gradient of {cell}?", mine)
        gained = {k: v for k, v in curves.items() if k.split(", ")[0] == cell and "gain" in k}
        by_lag(f"gains_{cell}.png", f"Which gain keeps the gradient of {cell}?", gained)
    shown = {
        f"{bias}, {LABELS[name]}": (np.arange(1, len(values)), values[1:])
        for bias, both in faulty.items()
        for name, values in ((name, np.asarray(values)) for name, values in both.items())
    }
    title = "An LSTM's gradient with and without dc"
    draw(gradients.by_lag, workdir / "plots" / "without_dc.png", title, shown, "log10 of dL/dx_t")


def table(found: Mapping[str, Any]) -> str:
    """The rows of a sweep as Markdown."""
    lengths = list(found["rows"][0]["log10_gradient"])
    head = [
        "cell",
        "initialization",
        "gain",
        *(f"T {int(n):,}" for n in lengths),
        *attractor.HEAD,
        "horizon e",
        "1,000",
    ]
    body = []
    for row in found["rows"]:
        falls = [f"{value:+.1f}" if value is not None else "-inf" for value in row["log10_gradient"].values()]
        spans = [f"{row[k]:,.0f}" if row[k] is not None else "beyond" for k in ("horizon_e", "horizon_1000")]
        body.append([row["cell"], row["init"], f"{row['gain']:g}", *falls, *attractor.cells(row), *spans])
    return tabulate(body, headers=head, tablefmt="pipe", disable_numparse=True)


def power(log10: float | None, against: float) -> str:
    """The ratio of two numbers given by their logarithms; 0 where the first is below the range of floats."""
    return "0" if log10 is None else f"{10 ** (log10 - against):.1e}"


def write(
    name: str,
    config: Config,
    workdir: Path,
    rows: Sequence[Mapping[str, Any]],
    faulty: Mapping[str, Any],
    compile_seconds: float,
    seconds: float,
) -> None:
    """Writes `results.json`: at its top the first setting beside the others, in `rows` all that was measured."""

    def metrics(row: Mapping[str, Any]) -> dict[str, Any]:
        keys = ("lyapunov_exponent", "kaplan_yorke_dimension", "entropy_rate", "horizon_e", "horizon_1000")
        found = {key: row[key] for key in keys}
        found |= {f"log10_gradient_{length}": value for length, value in row["log10_gradient"].items()}
        return {key: results.spread([value]) for key, value in found.items()}

    first, *others = rows
    names = [f"{row['cell']}, {row['init']}, gain {row['gain']:g}" for row in others]
    found = {
        "experiment": name,
        "dataset": "standard normal noise",
        "protocol": f"{first['init']}, gain {first['gain']:g}",
        "cell": first["cell"],
        "num_params": first["num_params"],
        "seeds": [config.seed],
        "metrics": metrics(first),
        "baselines": {label: metrics(row) for label, row in zip(names, others, strict=True)},
        "steps": max(config.lengths),
        "compile_seconds": compile_seconds,
        "train_seconds": seconds,
        "rows": rows,
        "without_dc": faulty,
    }
    results.write(workdir, found)


def show(workdir: Path) -> None:
    """Prints the results of a finished run."""
    found = results.read(workdir)
    assert found is not None
    print(f"\nlog10 of ||dL/dh_0|| / ||dL/dh_T||, by length T (-3.0: a thousandth is left):\n\n{table(found)}")
    print(f"\n{attractor.LEGEND}; horizon: lag from which on that factor is lost")
    print("\nthe lecture's backward pass without dc, share of the true gradient that is left:")
    for bias, both in found["without_dc"].items():
        left = [
            f"lag {lag}: {power(both['lstm_without_dc'][lag], both['lstm'][lag])}" for lag in (1, 2, 5, 10, 20, 50, 100)
        ]
        print(f"  {bias}: {', '.join(left)}")
    print(f"\n{found['device']}\nplots: {workdir / 'plots'}")
