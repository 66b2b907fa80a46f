"""A regular series and how a CSV file becomes one.

The policy, which every reader here follows. Nothing is repaired in silence: `Series.repairs` has a sentence for each.

* A row without a value is dropped.
* Rows out of time order are sorted; of rows with the same time the first in the file is kept.
* The regular step is the commonest one: a duration, or a number of months where all times fall on the same day and
  hour of their month (or on its last day). Without a time column the rows as they stand are one step apart.
* Where at most `MAX_HOLE` steps are missing, rows are inserted by linear interpolation between the neighbours.
* Everything else, a longer hole or a step that is no multiple of the regular one, is a break: no window may cross it.
"""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from rnn_jax.data.errors import DataError
from rnn_jax.data.series.table import Table, read_table

MAX_HOLE = 3
"""The most regular steps that interpolation may bridge."""


@dataclass(frozen=True, eq=False)
class Series:
    """A series of rows one regular step apart, but for the breaks.

    Attributes:
        name: of the data set, for messages and results.
        values: `[N, F]` float64 in physical units, the target in column 0, all finite.
        columns: the names of the F columns.
        times: N times in UTC, or None.
        breaks: `[N]` bool. True at t: row t does not follow row t-1 by one regular step, so no window may hold both.
        repairs: sentences saying what was repaired in reading, to be printed.
        split_times: where the rows for training, validation and test end, in UTC, where the data set fixes it.
    """

    name: str
    values: np.ndarray
    columns: tuple[str, ...]
    times: pd.DatetimeIndex | None
    breaks: np.ndarray
    repairs: tuple[str, ...] = ()
    split_times: tuple[pd.Timestamp, pd.Timestamp, pd.Timestamp] | None = None


def read_csv(path: str | PathLike[str], target: str, time: str | None = None) -> Series:
    """Reads one column of a CSV file, plain or `.gz`, into a regular series by the policy of this module.

    The delimiter is the comma, the semicolon or the tab, whichever the header has most of. Times may be ISO 8601 or one
    of `table.TIME_FORMATS`; those with an offset are converted to UTC, those without one are taken as UTC.

    Args:
        path: the file; its name becomes the name of the series.
        target: the column to forecast.
        time: the column of times; None takes the rows as they stand, one step apart.

    Returns:
        A `Series` with F = 1.

    Raises:
        DataError: a file that is missing, empty or unreadable; a column that is missing; a cell of `target` that is no
            finite number or of `time` that is no time, with its line in the file (the header is line 1); no value.
    """
    return regularize(read_table(Path(path), target, time), target)


def regularize(table: Table, column: str) -> Series:
    """Applies the policy of this module to a table.

    Args:
        table: the values in file order.
        column: its name, for messages and the series.

    Returns:
        A `Series` with F = 1 that says what was repaired.

    Raises:
        DataError: no value at all.
    """
    notes = list(table.notes)
    values, times = table.values, table.times
    present = ~np.isnan(values)
    if not present.any():
        raise DataError(f"{table.name}: column {column!r} has no value in any row: take another column")
    if not present.all():
        notes.append(f"dropped {_count(np.sum(~present), 'row')} without a value in {column!r}")
    values = values[present]
    if times is None:
        ticks, step, step_name = np.flatnonzero(present), 1, "row"
    else:
        values, times = _in_order(values, times[present], notes)
        ticks, step, step_name = _ticks(times)
    steps, remainder = np.divmod(np.diff(ticks), step)
    broken = (remainder != 0) | (steps > MAX_HOLE + 1)
    repeats = np.where(broken, 1, steps)
    _note_holes(steps, remainder, broken, step_name, notes)
    filled = _interpolate(values, repeats)
    breaks = np.zeros(len(filled), dtype=bool)
    breaks[np.cumsum(repeats)[broken]] = True
    if times is not None and len(filled) > len(values):
        times = pd.DatetimeIndex(_interpolate(times.asi8, repeats).view(f"M8[{times.unit}]")).tz_localize("UTC")
    repairs = tuple(f"{table.name}: {note}" for note in notes)
    return Series(table.name, filled[:, None], (column,), times, breaks, repairs)


def _in_order(values: np.ndarray, times: pd.DatetimeIndex, notes: list[str]) -> tuple[np.ndarray, pd.DatetimeIndex]:
    backward = int(np.sum(np.diff(times.asi8) < 0))
    if backward:
        notes.append(f"sorted {_count(len(times), 'row')} by time ({_count(backward, 'step')} went back)")
        order = np.argsort(times.asi8, kind="stable")
        values, times = values[order], times[order]
    first = np.append(True, np.diff(times.asi8) > 0)
    if not first.all():
        kept = values[first][np.cumsum(first) - 1]
        differing = np.sum(values != kept)
        repeats = _count(np.sum(~first), "row")
        notes.append(f"dropped {repeats} of a time that had occurred, {differing:,} with another value (first kept)")
    return values[first], times[first]


def _ticks(times: pd.DatetimeIndex) -> tuple[np.ndarray, int, str]:
    """Positions of the times on a line of whole numbers, the regular step there, and the step's name."""
    ticks, name = times.asi8, ""
    midnight = times.normalize()
    same_clock = len(set((times - midnight).unique())) == 1
    if same_clock and (times.is_month_end.all() or len(times.day.unique()) == 1):
        ticks, name = np.asarray(times.year * 12 + times.month), "month"
    if len(ticks) < 2:
        return ticks, 1, name
    steps, counts = np.unique(np.diff(ticks), return_counts=True)
    step = int(steps[np.argmax(counts)])
    return (
        ticks,
        step,
        _count(step, "month") if name else str(pd.Timedelta(step, unit=times.unit)).removeprefix("0 days "),
    )


def _interpolate(known: np.ndarray, repeats: np.ndarray) -> np.ndarray:
    """Puts `repeats[i] - 1` evenly spaced rows between `known[i]` and `known[i + 1]`; whole numbers stay whole."""
    left = np.repeat(np.arange(len(repeats)), repeats)
    offset = np.arange(len(left)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    rise = (known[left + 1] - known[left]) * offset
    parts = repeats[left]
    between = rise // parts if known.dtype.kind == "i" else rise / parts
    return np.append(known[left] + between, known[-1])


def _note_holes(steps: np.ndarray, remainder: np.ndarray, broken: np.ndarray, step_name: str, notes: list[str]) -> None:
    rows = steps[(steps > 1) & ~broken] - 1
    if rows.size:
        notes.append(
            f"filled {_count(rows.size, 'hole')} of at most {MAX_HOLE} steps by linear interpolation "
            f"({_count(rows.sum(), 'row')} inserted; regular step: {step_name})"
        )
    uneven = remainder != 0
    missing = steps[broken & ~uneven] - 1
    if missing.size:
        notes.append(
            f"marked {_count(missing.size, 'break')} where more than {MAX_HOLE} steps are missing "
            f"(the longest hole: {missing.max():,}; regular step: {step_name})"
        )
    if uneven.any():
        notes.append(f"marked {_count(np.sum(uneven), 'break')} at a step that is no multiple of {step_name}")


def _count(number: int | np.integer, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
