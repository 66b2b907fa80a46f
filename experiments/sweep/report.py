"""What a sweep leaves: `results.json`, and a table of its points, the best first."""

import json
import math
from typing import Any

from tabulate import tabulate

from experiments.common import results
from experiments.sweep.state import DONE, VALIDATION, Point, Sweep
from rnn_jax.files import write_whole
from rnn_jax.machine import device_name, versions

MOST_MEASURES = 5
"""Columns of measures that a terminal has room for."""


def metric_of(sweep: Sweep, measures: list[dict[str, Any]]) -> str:
    """What points are sorted by: what `--metric` says, else the validation loss, else the first measure there is."""
    if sweep.config.metric:
        return sweep.config.metric
    names = [name for each in measures for name in each]
    return VALIDATION if VALIDATION in names else next(iter(names), "")


def ordered(sweep: Sweep) -> tuple[str, list[tuple[Point, dict[str, Any]]]]:
    """The name of the metric, and the done points with their measures, the best first."""
    found = [(point, sweep.measures(point)) for point in sweep.points if point.state == DONE]
    metric = metric_of(sweep, [measures for _, measures in found])

    def place(row: tuple[Point, dict[str, Any]]) -> float:
        rank = sweep.rank(metric, row[1])
        return math.inf if rank is None else rank

    return metric, sorted(found, key=place)


def write(sweep: Sweep) -> None:
    """Writes `results.json`: every point with its flags, how it ended and its measures; the best of them by name."""
    metric, rows = ordered(sweep)
    measures = {point.name: found for point, found in rows}
    found = {
        "experiment": "sweep",
        "of": sweep.config.experiment,
        "flags": sweep.config.flags,
        "search": sweep.config.search,
        "metric": metric,
        "best": rows[0][0].name if rows else None,
        "points": [
            {
                "name": point.name,
                "flags": point.values,
                "state": point.state,
                "status": point.status,
                "message": point.message,
                "starts": point.starts,
                "measures": measures.get(point.name, {}),
            }
            for point in sweep.points
        ],
        "device": device_name(),
        "versions": versions(),
    }
    content = json.dumps(results.finite(found), indent=2, allow_nan=False)
    write_whole(sweep.folder / "results.json", content + "\n")


def show(sweep: Sweep) -> None:
    """Prints the table."""
    metric, rows = ordered(sweep)
    if not rows:
        return
    names = list(dict.fromkeys([metric, *(name for _, found in rows for name in found)]))[:MOST_MEASURES]
    swept = list(sweep.points[0].values)
    body = [
        [*point.values.values(), *(results.cell(found[name], 4) if name in found else "" for name in names)]
        for point, found in rows
    ]
    print(tabulate(body, headers=[*swept, *names], tablefmt="pipe", disable_numparse=True))
    chosen = "" if metric == VALIDATION else ", not by a validation loss"
    print(f"best by {metric}{chosen}: {sweep.run_folder(rows[0][0])}")
    print(
        f"runs: {sweep.folder / 'points'}; for a page of them: python launch.py report --runs='{sweep.folder}/points/*'"
    )
