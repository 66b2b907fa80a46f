"""What a report says in the terminal, and in its CSV."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate

from experiments.report.reading import Run, Unread
from experiments.report.rows import Row
from experiments.report.significance import LEVEL, Comparison
from experiments.report.tables import Table

MOST_ROWS = 40
"""Of a table in the terminal."""


def number(value: float, digits: int = 4) -> str:
    """A figure with so many digits that count.

    >>> number(0.11300), number(1234567), number(25.0, 2), number(3.1e-7)
    ('0.1130', '1.235e+06', '25', '3.100e-07')
    """
    return "" if math.isnan(value) else f"{value:#.{digits}g}".removesuffix(".")


def figure(row: Row, metric: str) -> str:
    """Mean and spread of a row: `0.1130 ± 0.0021`."""
    mean, std = row.mean(metric), row.std(metric)
    if math.isnan(mean):
        return "undefined" if row.undefined else ""
    return number(mean) + ("" if math.isnan(std) else f" ± {number(std, 2)}")


def difference(found: Comparison) -> str:
    """The difference of a comparison with its interval: `+0.012 [+0.003, +0.021]`."""
    interval = "" if found.low is None or found.high is None else f" [{found.low:+.3g}, {found.high:+.3g}]"
    return f"{found.difference:+.3g}{interval}"


def p_value(corrected: float | None) -> str:
    """A p-value for people."""
    if corrected is None:
        return ""
    return "< 0.0001" if corrected < 1e-4 else f"{corrected:.2g}"


def seeds(row: Row, metric: str) -> str:
    """How many figures the mean of a row is of; a fixed value has no seeds."""
    return "" if row.is_baseline and len(row.figures.get(metric, {})) == 1 else str(len(row.figures.get(metric, {})))


def state(row: Row) -> str:
    """What to say in place of figures while no run of the row is finished."""
    at = max((run.curve.steps[-1] for run in row.runs if run.curve is not None), default=None)
    return "not finished" if at is None else f"at step {at:,}"


def terminal(table: Table) -> str:
    """A table as Markdown, the best row first."""
    metric = table.metric
    headers = ["", *table.by, "n", metric]
    for against in table.against:
        other = "the best" if against.label == table.best else against.label
        headers += [f"difference to {other} [{LEVEL:.0%}]", "p"]
    body = []
    for row in table.rows[:MOST_ROWS]:
        names = [row.label] if row.is_baseline or not table.by else []
        name = " ".join([*names, *(["(best)"] if row.label == table.best else [])])
        shown = figure(row, metric) if row.figures.get(metric) or row.undefined else state(row) if row.runs else ""
        line = [name, *(row.values or [""] * len(table.by)), seeds(row, metric), shown]
        for against in table.against:
            found = against.comparisons.get(row.label)
            line.append("" if found is None else difference(found))
            line.append("" if found is None else _tested(against.corrected.get(row.label), found.test))
        body.append(line)
    text = tabulate(body, headers=headers, tablefmt="pipe", disable_numparse=True)
    if len(table.rows) > MOST_ROWS:
        text += f"\n({len(table.rows) - MOST_ROWS} more rows are in the page)"
    return text


def _tested(corrected: float | None, test: str) -> str:
    return test if corrected is None else f"{p_value(corrected)} ({test})"


def as_csv(tables: Sequence[Table], unread: Sequence[Unread], parent: Path) -> str:
    """One line for each run: where it lies, its flags that differ, of every metric mean, deviation and values."""
    flags = list(dict.fromkeys(name for table in tables for name in (*table.differing, *table.by)))
    metrics = list(dict.fromkeys(name for table in tables for name in table.metrics))
    head = ["folder", "status", "experiment", "dataset", "protocol", "cell", "seeds", *flags]
    head += [f"{metric}_{part}" for metric in metrics for part in ("mean", "std", "values")]
    head += ["num_params", "steps", "train_seconds", "reason"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(_cell, head))
    for table in tables:
        for run in table.runs:
            line: list[str | float] = [place(run.folder, parent), "finished" if run.finished else "unfinished"]
            line += [table.experiment, table.dataset, table.protocol, run.facts.get("cell", "")]
            line += [" ".join(map(str, run.seeds)), *(run.flags.get(name, "") for name in flags)]
            line += [part for metric in metrics for part in _parts(run, metric)]
            line += [run.facts.get(name, "") for name in ("num_params", "steps", "train_seconds")]
            writer.writerow(map(_cell, [*line, run.facts.get("remark", "")]))
    for each in unread:
        empty = [""] * (len(head) - 3)
        writer.writerow(map(_cell, [place(each.folder, parent), "not read", *empty, each.reason]))
    return out.getvalue()


def place(folder: Path, parent: Path) -> str:
    """A folder as seen from that of all runs."""
    from experiments.report.reading import clean

    resolved = folder.resolve()
    return clean(resolved.relative_to(parent) if resolved.is_relative_to(parent) else resolved)


def _parts(run: Run, metric: str) -> tuple[str | float, str | float, str]:
    values = run.metrics.get(metric, ())
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "", "", ""
    std = float(np.std(known, ddof=1)) if len(known) > 1 else ""
    return float(np.mean(known)), std, " ".join("undefined" if math.isnan(value) else repr(value) for value in values)


def _cell(value: str | float) -> str | float:
    """A number as it is; a text so that no spreadsheet takes it for a formula."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@"):
        try:
            float(value)
        except ValueError:
            return f"'{value}"
    return value
