"""The rows of a table: runs that differ in nothing but what they are pooled over, and baselines."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.report.reading import Run
from experiments.report.significance import FIXED, Figures

SAME = 1e-9
"""Relative difference up to which a baseline of two runs is one figure."""


class Row(NamedTuple):
    """A line of a table.

    Attributes:
        label: what it is called: the flags that differ, or the name of a baseline.
        values: of the table's `by`, in that order; none of a baseline.
        runs: those of it, finished or not; none of a baseline.
        figures: by metric, each by key; none while no run of it is finished.
        undefined: how many figures of the table's metric are not defined.
        remark: what to know of it.
        testable: False of a baseline that is not the same in all runs.
    """

    label: str
    values: tuple[str, ...]
    runs: tuple[Run, ...]
    figures: Mapping[str, Figures]
    undefined: int = 0
    remark: str = ""
    testable: bool = True

    @property
    def is_baseline(self) -> bool:
        """Whether it stands beside the runs for comparison."""
        return not self.runs

    def mean(self, metric: str) -> float:
        """Over seeds; NaN where there is none."""
        values = list(self.figures.get(metric, {}).values())
        return float(np.mean(values)) if values else math.nan

    def std(self, metric: str) -> float:
        """Of the sample; NaN for fewer than two."""
        values = list(self.figures.get(metric, {}).values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def _label(run: Run, by: Sequence[str]) -> str:
    shown = [f"{name}={run.flag(name)}" for name in by]
    return ", ".join(shown) or str(run.facts.get("cell", "all runs"))


def with_labels_of_their_own(rows: Sequence[Row]) -> list[Row]:
    """A baseline may be called like a row."""
    found: dict[str, Row] = {}
    for row in rows:
        label, number = row.label, 1
        while label in found:
            number += 1
            label = f"{row.label} ({number})"
        found[label] = row._replace(label=label)
    return list(found.values())


def of_runs(runs: Sequence[Run], by: Sequence[str], rest: Sequence[str], metric: str) -> list[Row]:
    """A row for each combination of the flags `by`.

    Args:
        runs: of a table.
        by: flags that make a row.
        rest: other flags that differ: figures pair where these agree.
        metric: of which undefined figures are counted.
    """
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(map(run.flag, by)), []).append(run)
    rows = []
    for values, members in groups.items():
        figures: dict[str, dict[Hashable, float]] = {}
        undefined, repeated = 0, False
        for run in members:
            block = tuple(map(run.flag, rest))
            for name, each in run.metrics.items():
                by_seed = len(each) == len(run.seeds)
                for at, value in enumerate(each):
                    # What is not one for each seed pairs with nothing.
                    key: Hashable = (*block, run.seeds[at]) if by_seed else (*block, str(run.folder), at)
                    if math.isnan(value):
                        undefined += name == metric
                    elif key in figures.setdefault(name, {}):
                        repeated = True
                    else:
                        figures[name][key] = value
        remark = "a seed that several runs have counts once" if repeated else ""
        rows.append(Row(_label(members[0], by), values, tuple(members), figures, undefined, remark))
    return rows


def of_baselines(finished: Sequence[Run], metric: str) -> list[Row]:
    """A row for each name of a baseline. What no seed changes is one fixed value, however many runs have found it."""
    rows = []
    for label in dict.fromkeys(name for run in finished for name in run.baselines):
        runs = [run for run in finished if label in run.baselines]
        names = dict.fromkeys(name for run in runs for name in run.baselines[label])
        figures: dict[str, Figures] = {}
        remark, same = "", True
        for name in names:
            merged = _merged([(run.seeds, run.baselines[label][name]) for run in runs if name in run.baselines[label]])
            figures[name] = merged[0]
            if merged[1] and name == metric:
                same = False
                remark = "differs between runs, so that its mean is shown and not tested"
        known = {name: each for name, each in figures.items() if each}
        rows.append(Row(label, (), (), known, remark=remark, testable=same))
    return rows


def _merged(found: Sequence[tuple[tuple[int, ...], tuple[float, ...]]]) -> tuple[Figures, bool]:
    """The figures of a baseline in several runs, and whether they contradict each other."""
    by_seed: dict[Hashable, list[float]] = {}
    for seeds, values in found:
        keys = seeds if len(values) == len(seeds) else [FIXED] if len(values) == 1 else range(len(values))
        for key, value in zip(keys, values, strict=True):
            if not math.isnan(value):
                by_seed.setdefault((key,), []).append(value)
    every = [value for values in by_seed.values() for value in values]
    if not every:
        return {}, False

    def agree(values: Sequence[float]) -> bool:
        return max(values) - min(values) <= SAME * max(map(abs, values))

    if agree(every):
        return {FIXED: every[0]}, False
    if all(agree(values) for values in by_seed.values()) and (FIXED,) not in by_seed:
        return {key: values[0] for key, values in by_seed.items()}, False
    return {FIXED: float(np.mean(every))}, True
