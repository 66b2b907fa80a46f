"""The plots of a report: its tables against flags, and their learning curves."""

import math
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.report.rows import Row
from experiments.report.tables import Table
from rnn_jax.plotting import runs as plots
from rnn_jax.plotting.style import COLOURS

MOST_PLOTS = 4
"""Of a table, where `--plot` does not say which."""
MOST_LINES = len(COLOURS)
"""In a plot against a flag."""


class Drawn(NamedTuple):
    """A plot: what it shows, and its file."""

    caption: str
    path: Path


def draw(tables: Sequence[Table], wanted: Sequence[str], folder: Path) -> tuple[list[list[Drawn]], list[str]]:
    """Draws the plots of each table. One that cannot be drawn is not worth losing the report for.

    Args:
        tables: of the report.
        wanted: flags to draw the metric against; none: up to `MOST_PLOTS` of those that differ.
        folder: for the PNG files.

    Returns: the plots of each table, and what could not be drawn.
    """
    all_drawn, failed = [], []
    for number, table in enumerate(tables, 1):
        jobs: dict[str, tuple[str, Callable[[Path], None]]] = {}
        flags = [name for name in wanted or table.by if _num_values(table, name) > (not wanted)][
            : len(wanted) or MOST_PLOTS
        ]
        jobs |= {f"{number}_{name}": against_flag(table, name) for name in flags}
        if any(run.curve is not None for run in table.runs):
            jobs[f"{number}_learning_curves"] = learning_curves(table)
        drawn = []
        for name, (caption, plot) in jobs.items():
            path = folder / (re.sub(r"\W", "_", name, flags=re.ASCII) + ".png")
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of letters that a font lacks, and numbers that no axis shows well
                    plot(path)
            except (ValueError, ArithmeticError, RuntimeError) as error:
                failed.append(f"{path.name} could not be drawn: {' '.join(str(error).split())[:200]}")
            else:
                drawn.append(Drawn(caption, path))
        all_drawn.append(drawn)
    return all_drawn, failed


def learning_curves(table: Table) -> tuple[str, Callable[[Path], None]]:
    """The caption of a plot of the learning curves of all runs, and what draws it."""
    curves, names = [], set()
    for row in table.rows:
        for run in row.runs:
            if run.curve is not None:
                curves.append(plots.Curve(row.label, run.curve.steps, run.curve.losses, run.finished))
                names.add(run.curve.name.replace("_", " "))
    what = " or ".join(sorted(names)) + ", mean over seeds"

    def plot(path: Path) -> None:
        plots.learning_curves(path, curves, what)

    return f"Learning curves: {what}; dashed: not finished.", plot


def _num_values(table: Table, flag: str) -> int:
    """How many values of the flag have a figure."""
    if flag not in table.by:
        return 0
    place = table.by.index(flag)
    return len({row.values[place] for row in table.rows if row.runs and row.figures.get(table.metric)})


def against_flag(table: Table, flag: str) -> tuple[str, Callable[[Path], None]]:
    """The caption of a plot of the table's metric against a flag, and what draws it.

    A line for each combination of the other flags; where these are too many, for each value of the one of them that has
    fewest, and over the others the mean.
    """
    place, metric = table.by.index(flag), table.metric
    rows = [row for row in table.rows if row.runs and row.figures.get(metric)]
    others = [at for at in range(len(table.by)) if at != place and len({row.values[at] for row in rows}) > 1]
    lines_by = others
    if len({tuple(row.values[at] for at in others) for row in rows}) > MOST_LINES:
        counts = {at: len({row.values[at] for row in rows}) for at in others}
        fewest = min(others, key=counts.__getitem__)
        lines_by = [fewest] if counts[fewest] <= MOST_LINES else []
    averaged = [table.by[at] for at in others if at not in lines_by]
    groups: dict[str, dict[str, list[Row]]] = {}
    for row in sorted(rows, key=lambda row: [plots.natural_order(row.values[at]) for at in lines_by]):
        name = ", ".join(f"{table.by[at]}={row.values[at]}" for at in lines_by) or "all runs"
        groups.setdefault(name, {}).setdefault(row.values[place], []).append(row)
    lines = {name: [_point(value, each, metric) for value, each in found.items()] for name, found in groups.items()}
    caption = f"{metric} against {flag}: mean, and the standard deviation over seeds"
    caption += f" and over {', '.join(averaged)}." if averaged else "."

    baseline = table.best_baseline
    levels = {} if baseline is None else {baseline.label: baseline.mean(metric)}

    def plot(path: Path) -> None:
        plots.metric_by_flag(path, lines, flag, metric, levels, f"{metric} against {flag}", table.better == "lower")

    return caption, plot


def _point(value: str, rows: Sequence[Row], metric: str) -> plots.Point:
    figures = [figure for row in rows for figure in row.figures[metric].values()]
    std = float(np.std(figures, ddof=1)) if len(figures) > 1 else math.nan
    return plots.Point(value, float(np.mean(figures)), std)
