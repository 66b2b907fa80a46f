"""From runs to tables: what may be compared, what is best, and every row against the best."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from experiments import EXPERIMENTS, launchable
from experiments.common.directions import BETTER, NO_RIVALS, main_metric
from experiments.common.flags import UsageError
from experiments.report.reading import SEEDS, Run
from experiments.report.rows import Row, of_baselines, of_runs, with_labels_of_their_own
from experiments.report.significance import Comparison, compare, holm

WHICH_DATA = ("dataset", "protocol", "task", "length", "csv", "text")
"""Flags that say what a run is tested on, before there are results that do."""


class Against(NamedTuple):
    """All rows against one.

    Attributes:
        label: of the row that the others are compared with.
        comparisons: by label of the others that have figures.
        corrected: by label, the p-values after Holm, of those that have one.
    """

    label: str
    comparisons: dict[str, Comparison]
    corrected: dict[str, float]


class Table(NamedTuple):
    """Runs that answer the same question.

    Attributes:
        experiment, dataset, protocol: of all of them.
        metrics: names, the first one is what rows are ordered and compared by.
        better: `lower` or `higher`; None where neither is.
        by: flags that make a row.
        differing: flags that differ between runs, without the seeds.
        same: the other flags.
        rows: the best first; those without a figure last.
        best: label of the best row of runs, None where nothing is better.
        against: the best, and the row that was asked for.
        remarks: what to know of the table, a sentence each.
    """

    experiment: str
    dataset: str
    protocol: str
    metrics: list[str]
    better: str | None
    by: tuple[str, ...]
    differing: list[str]
    same: dict[str, str]
    rows: list[Row]
    best: str | None
    against: list[Against]
    remarks: list[str]

    @property
    def metric(self) -> str:
        """What rows are ordered and compared by."""
        return self.metrics[0] if self.metrics else ""

    @property
    def best_baseline(self) -> Row | None:
        """Of those that a run is to beat."""
        if self.better is None:
            return None
        rivals = (row for row in self.rows if row.is_baseline and not row.label.startswith(NO_RIVALS))
        return next((row for row in rivals if row.figures.get(self.metric)), None)

    @property
    def runs(self) -> list[Run]:
        """Of all rows."""
        return [run for row in self.rows for run in row.runs]

    @property
    def title(self) -> str:
        """Of the table, in words."""
        return " · ".join(part for part in (self.experiment, self.dataset, self.protocol) if part)


def make_tables(runs: Sequence[Run], metric: str = "", by: Sequence[str] = (), baseline: str = "") -> list[Table]:
    """A table for each experiment, data set and protocol: figures of others are not comparable.

    Args:
        runs: finished or not.
        metric, by, baseline: see `experiments.report.flags`.

    Raises: `UsageError` for a metric, a flag or a row that none of the tables has.
    """
    tables = [make_table(group, metric, by, baseline) for group in _groups(runs)]
    _check(runs, tables, metric, by, baseline)
    return tables


def _check(runs: Sequence[Run], tables: Sequence[Table], metric: str, by: Iterable[str], baseline: str) -> None:
    metrics = {name: None for run in runs for name in run.metrics}
    if metric and metric not in metrics:
        raise UsageError(f"--metric={metric}: the runs have {', '.join(metrics) or 'none, as none is finished'}")
    flags = {name for run in runs for name in run.flags}
    if unknown := [name for name in by if name not in flags]:
        raise UsageError(f"--by={unknown[0]}: no run has such a flag")
    labels = {row.label: None for table in tables for row in table.rows if row.figures.get(table.metric)}
    if baseline and not any(_is_called(label, baseline) for label in labels):
        raise UsageError(f"--baseline={baseline}: no such row; the rows are {'; '.join(labels) or 'none, yet'}")


def _is_called(label: str, name: str) -> bool:
    """Blanks after commas do not count."""
    return label.replace(", ", ",") == name.replace(", ", ",")


def _groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Those of a table each. A run that is not finished goes where the run is whose flags are most like its own."""
    groups: dict[tuple[str, str, str], list[Run]] = {}
    finished = [run for run in runs if run.finished]
    for run in runs:
        like = run if run.finished else _most_like(run, finished)
        key = (like.experiment, like.dataset, like.protocol) if like else (_guessed(run), "", "")
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def _most_like(run: Run, finished: Sequence[Run]) -> Run | None:
    """None where even of the nearest, of those on the same data, less than four in five flags are the same."""

    def shared(other: Run) -> int:
        return len(run.flags.items() & other.flags.items())

    near = (other for other in finished if all(run.flag(name) == other.flag(name) for name in WHICH_DATA))
    nearest = max(near, key=shared, default=None)
    if nearest is None or shared(nearest) < 0.8 * len(run.flags.keys() | nearest.flags.keys()):
        return None
    return nearest


def _guessed(run: Run) -> str:
    """The experiment of a run that is not finished: that of the folder's name, as it is without `--workdir`, or those
    that have all of its flags and fewest others."""
    if named := [name for name in EXPERIMENTS if run.folder.name.startswith(f"{name}-")]:
        return named[0]
    known = {name: {field.name for field in dataclasses.fields(launchable(name).config)} for name in EXPERIMENTS}
    others = {name: len(flags - set(run.flags)) for name, flags in known.items() if flags >= set(run.flags)}
    return " or ".join(name for name, number in others.items() if number == min(others.values())) or "unknown"


def make_table(runs: Sequence[Run], metric: str = "", by: Sequence[str] = (), baseline: str = "") -> Table:
    """The table of runs of one experiment, data set and protocol. Arguments as of `make_tables`."""
    finished = [run for run in runs if run.finished]
    names = list(dict.fromkeys(name for run in finished for name in run.metrics))
    if names:
        first = metric if metric in names else main_metric(names)
        names = [first, *(name for name in names if name != first)]
    first = names[0] if names else ""
    all_flags = dict.fromkeys(name for run in runs for name in run.flags)
    differing = [n for n in all_flags if n not in SEEDS and len({run.flag(n) for run in runs}) > 1]
    same = {n: runs[0].flags.get(n, "") for n in all_flags if n not in SEEDS and n not in differing}
    rows_by = tuple(name for name in by if name in all_flags) or tuple(differing)
    rest = [name for name in differing if name not in rows_by]
    rows = with_labels_of_their_own([*of_runs(runs, rows_by, rest, first), *of_baselines(finished, first)])
    better = BETTER.get(first)
    sign = -1 if better == "higher" else 1

    def place(row: Row) -> tuple[bool, float]:
        mean = row.mean(first)
        return math.isnan(mean), 0.0 if math.isnan(mean) else sign * mean

    rows.sort(key=place)
    with_figures = [row for row in rows if row.figures.get(first)]
    best = next((row.label for row in with_figures if not row.is_baseline), None) if better else None
    named = next((row.label for row in with_figures if _is_called(row.label, baseline)), None)
    wanted = dict.fromkeys(label for label in (best, named) if label)
    against = [_against(row, with_figures, first) for label in wanted for row in with_figures if row.label == label]
    head = finished[0] if finished else Run(runs[0].folder, False, {}, None, [], _guessed(runs[0]))
    remarks = _remarks(runs, rows, rest, first)
    if best is not None and any(len(row.figures[first]) > 1 for row in with_figures if not row.is_baseline):
        [single] = [row for row in rows if row.label == best]
        remarks += [f"{best} has one seed: no test can say that it is the best."] * (len(single.figures[first]) == 1)
    return Table(
        head.experiment,
        head.dataset,
        head.protocol,
        names,
        better,
        rows_by,
        differing,
        same,
        rows,
        best,
        against,
        remarks,
    )


def _against(reference: Row, rows: Sequence[Row], metric: str) -> Against:
    others = [row for row in rows if row.label != reference.label]
    comparisons = {}
    for row in others:
        found = compare(row.figures[metric], reference.figures[metric])
        if not (row.testable and reference.testable):
            found = Comparison(found.difference, None, None, None, "differs between runs, no test")
        comparisons[row.label] = found
    tested = {label: found.p for label, found in comparisons.items() if found.p is not None}
    return Against(reference.label, comparisons, dict(zip(tested, holm(list(tested.values())), strict=True)))


def _remarks(runs: Sequence[Run], rows: Sequence[Row], rest: Sequence[str], metric: str) -> list[str]:
    remarks = []
    if rest and any(len(row.runs) > 1 for row in rows):
        remarks.append(f"Rows are pooled over {', '.join(rest)}: a figure there is one seed of one such run.")
    for key, what in (("device", "devices"), ("backend", "back ends"), ("versions", "versions of packages")):
        values: dict[Any, None] = {run.facts[key]: None for run in runs if key in run.facts}
        if len(values) > 1:
            remarks.append(f"The runs were made with {len(values)} different {what}.")
    remarks += [f"{row.label}: {row.remark}." for row in rows if row.remark]
    remarks += [f"{row.label}: {row.undefined} figures of {metric} are not defined." for row in rows if row.undefined]
    return remarks
