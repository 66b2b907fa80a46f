"""What a sweep leaves: `results.json`, and a table of its points, the best first."""

import json
import math
import shlex
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


def best_of(sweep: Sweep, metric: str, rows: list[tuple[Point, dict[str, Any]]]) -> Point | None:
    """The first of `ordered`; None where no point has the metric."""
    return rows[0][0] if rows and sweep.rank(metric, rows[0][1]) is not None else None


def write(sweep: Sweep) -> None:
    """Writes `results.json`: every point with its flags, how it ended and its measures; the best of them by name."""
    metric, rows = ordered(sweep)
    best = best_of(sweep, metric, rows)
    measures = {point.name: found for point, found in rows}
    found = {
        "experiment": "sweep",
        "of": sweep.config.experiment,
        "flags": sweep.config.flags,
        "search": sweep.config.search,
        "metric": metric,
        "best": best.name if best else None,
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
    write_whole(sweep.folder / results.FILE, content + "\n")


def show(sweep: Sweep) -> None:
    """Prints the table."""
    metric, rows = ordered(sweep)
    if not rows:
        return
    known = dict.fromkeys(name for _, found in rows for name in found)
    names = sorted(known, key=lambda name: name != metric)[:MOST_MEASURES]
    swept = list(sweep.points[0].values)
    body = [
        [*point.values.values(), *(results.cell(found[name], 4) if name in found else "" for name in names)]
        for point, found in rows
    ]
    print(tabulate(body, headers=[*swept, *names], tablefmt="pipe", disable_numparse=True))
    report = f"python launch.py report --runs={shlex.quote(str(sweep.folder))}"
    best = best_of(sweep, metric, rows)
    if best is None:
        print(f"no point has --metric={metric}: they have {', '.join(known)}; {report} --metric=... sorts by these")
    else:
        chosen = "" if metric == VALIDATION else ", not by a validation loss"
        print(f"best by {metric}{chosen}: {sweep.run_folder(best)}")
    print(f"runs: {sweep.folder / 'points'}; for a page of them: {report}")
