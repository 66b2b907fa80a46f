"""A table of the page: its heads to sort by, its rows, and a small curve in each."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from experiments.report import text
from experiments.report.reading import UNSET, Curve
from experiments.report.rows import Row
from experiments.report.significance import LEVEL
from experiments.report.tables import Against, Table

MOST_SPARKS = 8
"""Curves in a cell of a table."""
ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}


class Head(NamedTuple):
    """The head of a column: its name, whether it has numbers, and whether one can sort by it."""

    name: str
    numbers: bool = False
    sortable: bool = True

    def th(self) -> str:
        """The head as it stands in its row."""
        name = f'<button type="button">{escape(self.name)}</button>' if self.sortable else escape(self.name)
        return f'<th scope="col"{" class=number" if self.numbers else ""}>{name}</th>'


class Cell(NamedTuple):
    """A cell: HTML, and for numbers the value to sort by."""

    html: str
    value: float | None = None

    def td(self) -> str:
        """The cell as it stands in a row."""
        attributes = "" if self.value is None else f' class="number" data-value="{self.value!r}"'
        return f"<td{attributes}>{self.html}</td>"


def table_html(table: Table, names: Mapping[Path, str], parent: Path) -> str:
    """The table as HTML.

    Args:
        table: to show.
        names: of the places of runs in the page, by folder.
        parent: the folder that names of runs are seen from.
    """
    numeric = [_numeric(row.values[at] for row in table.rows if row.runs) for at in range(len(table.by))]
    heads = [Head("runs"), *(Head(name, each) for name, each in zip(table.by, numeric, strict=True)), Head("n", True)]
    heads += [Head(f"{name}{ARROWS[table.better]}", True) for name in table.metrics[:1]]
    heads.append(Head("curve", sortable=False))
    for against in table.against:
        other = "the best" if against.label == table.best else against.label
        heads += [Head(f"difference to {other}", True), Head("p")]
    heads += [Head(name, True) for name in table.metrics[1:]]
    heads += [Head("parameters", True), Head("training s", True)]
    body = []
    scale = _Scale.of([run.curve for run in table.runs if run.curve is not None])
    for row in table.rows:
        cells = []
        for at, is_number in enumerate(numeric):
            value = row.values[at] if row.values else ""
            cells.append(Cell(escape(value), float(value) if is_number and value not in ("", UNSET) else None))
        cells.append(Cell(seeds := text.seeds(row, table.metric), float(seeds) if seeds else None))
        cells += [_metric(row, name) for name in table.metrics[:1]]
        cells.append(Cell(_sparks(row, scale)))
        for against in table.against:
            cells += _comparison(row, against)
        cells += [_metric(row, name) for name in table.metrics[1:]]
        cells += [_fact(row, "num_params", ",.0f"), _fact(row, "train_seconds", ",.1f")]
        kind = "best" if row.label == table.best else "baseline" if row.is_baseline else "row"
        words = " ".join([row.label, *(text.place(run.folder, parent) for run in row.runs)]).lower()
        tds = "".join(cell.td() for cell in cells)
        name = _name(row, names, parent)
        body.append(f'<tr class="{kind}" data-words="{escape(words)}"><th scope="row">{name}</th>{tds}</tr>')
    head = "".join(each.th() for each in heads)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(table.title)}"><table class="sortable">'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(body) + "\n</tbody></table></div>"
    )


def _numeric(values: Iterable[str]) -> bool:
    """Whether all that are set are finite numbers."""
    try:
        return all(math.isfinite(float(value)) for value in values if value != UNSET)
    except ValueError:
        return False


def _name(row: Row, names: Mapping[Path, str], parent: Path) -> str:
    if row.is_baseline:
        return f'{escape(row.label)} <span class="badge">baseline</span>'
    links = [f'<a href="#{names[run.folder]}">{escape(text.place(run.folder, parent))}</a>' for run in row.runs[:3]]
    more = [f"and {len(row.runs) - 3} more"] if len(row.runs) > 3 else []
    return "<br>".join(links + more)


def _metric(row: Row, name: str) -> Cell:
    mean = row.mean(name)
    if not math.isnan(mean):
        return Cell(escape(text.figure(row, name)), mean)
    unfinished = row.runs and not any(run.finished for run in row.runs)
    return Cell(f'<span class="state">{escape(text.state(row) if unfinished else text.figure(row, name))}</span>')


def _comparison(row: Row, against: Against) -> list[Cell]:
    found = against.comparisons.get(row.label)
    if found is None:
        return [Cell(""), Cell("")]
    p = against.corrected.get(row.label)
    small = f'<span class="test">{escape(found.test)}</span>'
    shown = f"{'<strong>' if p is not None and p < 1 - LEVEL else '<span>'}{escape(text.p_value(p))}"
    shown += "</strong>" if p is not None and p < 1 - LEVEL else "</span>"
    return [Cell(escape(text.difference(found)), found.difference), Cell(small if p is None else f"{shown} {small}", p)]


def _fact(row: Row, key: str, form: str) -> Cell:
    """The mean over runs."""
    values = [float(run.facts[key]) for run in row.runs if key in run.facts]
    return Cell(format(mean := sum(values) / len(values), form), mean) if values else Cell("")


class _Scale(NamedTuple):
    """What all curves of a table are drawn in: the ends of the losses, as logarithms if `log`."""

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, curves: Sequence[Curve]) -> "_Scale":
        losses = [loss for curve in curves for loss in curve.losses] or [0.0]
        log = min(losses) > 0
        low, high = (math.log(end) if log else end for end in (min(losses), max(losses)))
        return cls(low, high, log)

    def points(self, curve: Curve) -> str:
        """Of a polyline in a box of 100 x 30, from its first to its last step."""
        height = (self.high - self.low) or 1.0
        first, steps = curve.steps[0], curve.steps[-1] - curve.steps[0]
        found = []
        for step, loss in zip(curve.steps, curve.losses, strict=True):
            y = (math.log(loss) if self.log else loss) - self.low
            found.append(f"{100 * (step - first) / steps:.1f},{28 - 26 * y / height:.1f}")
        return " ".join(found)


def _sparks(row: Row, scale: _Scale) -> str:
    lines = "".join(
        f'<polyline class="{"finished" if run.finished else "open"}" points="{scale.points(run.curve)}"/>'
        for run in row.runs[:MOST_SPARKS]
        if run.curve is not None
    )
    label = "learning curve, its losses in the scale of all rows"
    return f'<svg viewBox="0 0 100 30" role="img" aria-label="{label}">{lines}</svg>' if lines else ""
