"""Rows of a file to rows one regular step apart.

The policy, which every reader here follows. Nothing is repaired in silence: a sentence tells of each repair.

* Rows out of time order are sorted; of rows with the same time the first in the file is kept. Where rows belong to
  several series, each series is put in order by itself, and they stand in the order in which they first occur.
* Rows before the first one with any target are dropped, and so are those after the last one, but for rows that have a
  value whose future is known: a forecast needs them.
* The regular step is the commonest one: a duration, or a number of months where all times fall on the same day and
  hour of their month (or on its last day). Without times the rows as they stand are one step apart.
* Where at most `MAX_HOLE` steps are missing, rows of missing values are inserted. Nothing is interpolated.
* Everything else, a longer hole or a step that is no multiple of the regular one, is a break.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

MAX_HOLE = 1000
"""The most missing steps for which rows are inserted; a longer hole is a break."""

MOST_INSERTED = 4
"""Times the rows of the file, and `MAX_HOLE`. Where more would be inserted, holes of more than `FEW` are breaks."""

FEW = 3


@dataclass(frozen=True, eq=False)
class Rows:
    """What `regularize` returns; the meaning of each is that of the attribute of `Series` with the same name.

    Attributes:
        values: `[N, F]` float64.
        times: N times in UTC, or None.
        breaks: `[N]` bool.
        ids: `[N]` int32, or None.
        id_names: by number.
        season: at least 1.
        step: an alias or an offset of pandas, or None.
        notes: sentences about what was repaired.
    """

    values: np.ndarray
    times: pd.DatetimeIndex | None
    breaks: np.ndarray
    ids: np.ndarray | None
    id_names: tuple[str, ...]
    season: int
    step: str | pd.DateOffset | None
    notes: tuple[str, ...]


def regularize(
    values: np.ndarray,
    times: pd.DatetimeIndex | None,
    ids: list[str] | None,
    measured: np.ndarray,
    ahead: np.ndarray,
) -> Rows:
    """Applies the policy of this module.

    Args:
        values: `[N, F]` float64 in file order, NaN where missing.
        times: N times in UTC, or None.
        ids: the N series that the rows belong to, or None.
        measured: `[N]` bool, the rows with any target; at least one is True.
        ahead: `[N]` bool, the rows with any value whose future is known.
    """
    notes: list[str] = []
    names = list(dict.fromkeys(ids or [""]))
    number = pd.Categorical(ids or [""] * len(values), categories=names).codes
    order = _in_order(number, times, values, notes)
    order = order[_not_outside(number[order], measured[order], ahead[order], notes)]
    values, number = values[order], number[order]
    kept = np.unique(number)
    number = np.searchsorted(kept, number)  # a series without any target has no row left, and no number
    other = np.diff(number) != 0
    if times is None:
        ticks, step, months, alias = np.arange(len(order)), 1, False, None
    else:
        times = times[order]
        ticks, step, months, alias = _ticks(times, other)
    called = f"{step} month{'s' * (step > 1)}" if months else alias
    steps, remainder = np.divmod(np.diff(ticks), step)
    bridged = (remainder == 0) & (steps <= MAX_HOLE + 1) & ~other
    longest = FEW if np.sum(steps[bridged] - 1) > MOST_INSERTED * len(values) + MAX_HOLE else MAX_HOLE
    broken = (remainder != 0) | (steps > longest + 1) | other
    _note_holes(steps, remainder != 0, broken, other, longest, f"regular step: {called}", notes)
    place = np.concatenate([[0], np.cumsum(np.where(broken, 1, steps))])
    filled = np.full((place[-1] + 1, values.shape[1]), np.nan)
    filled[place] = values
    breaks = np.zeros(len(filled), dtype=bool)
    breaks[place[1:][broken]] = True
    before = np.searchsorted(place, np.arange(len(filled)), side="right") - 1
    if times is not None and len(filled) > len(values):
        times = _later(times[before], np.arange(len(filled)) - place[before], step, months)
    return Rows(
        filled,
        times,
        breaks,
        None if ids is None else number[before].astype(np.int32),
        () if ids is None else tuple(names[k] for k in kept),
        _season(step, months, times),
        alias,
        tuple(notes),
    )


def _in_order(number: np.ndarray, times: pd.DatetimeIndex | None, values: np.ndarray, notes: list[str]) -> np.ndarray:
    """The rows, sorted by series and time, without those whose time had occurred."""
    order = np.argsort(number, kind="stable")
    if times is None:
        return order
    same = np.diff(number[order]) == 0
    backward = int(np.sum((np.diff(times.asi8[order]) < 0) & same))
    if backward:
        notes.append(f"sorted {count(len(times), 'row')} by time ({count(backward, 'step')} went back)")
        order = np.lexsort((times.asi8, number))
    first = np.append(True, (np.diff(times.asi8[order]) > 0) | ~same)
    if not first.all():
        kept = order[first][np.cumsum(first) - 1]
        differing = np.sum(~np.all((values[order] == values[kept]) | np.isnan(values[order]), axis=1))
        repeats = count(np.sum(~first), "row")
        notes.append(f"dropped {repeats} of a time that had occurred, {differing:,} with another value (first kept)")
    return order[first]


def _not_outside(number: np.ndarray, measured: np.ndarray, ahead: np.ndarray, notes: list[str]) -> np.ndarray:
    """`[N]` bool: the rows that do not lie before the first or after the last row of their series that counts."""
    starts = np.flatnonzero(np.append(True, np.diff(number) != 0))
    inside = np.zeros(len(number), dtype=bool)
    future = 0
    for start, end in zip(starts, [*starts[1:], len(number)], strict=True):
        rows = np.flatnonzero(measured[start:end]) + start
        if rows.size:
            last = (np.flatnonzero(ahead[start:end]) + start)[-1:].max(initial=rows[-1])
            inside[rows[0] : last + 1] = True
            future += last - rows[-1]
    if not inside.all():
        notes.append(f"dropped {count(np.sum(~inside), 'row')} before the first or after the last one with a target")
    if future:
        notes.append(f"kept {count(future, 'row')} after the last one with a target: their known values are given")
    return inside


def _ticks(times: pd.DatetimeIndex, other: np.ndarray) -> tuple[np.ndarray, int, bool, str | pd.DateOffset | None]:
    """Places of the times on a line of whole numbers, the regular step there, whether it is months, and its alias."""
    ticks, months = times.asi8, False
    month_end = bool(times.is_month_end.all())
    same_clock = len((times - times.normalize()).unique()) == 1
    if same_clock and (month_end or len(times.day.unique()) == 1):
        ticks, months = np.asarray(times.year * 12 + times.month, dtype=np.int64), True
    if other.all():
        return ticks, 1, months, None
    steps, counts = np.unique(np.diff(ticks)[~other], return_counts=True)
    step = int(steps[np.argmax(counts)])
    if not months:
        return ticks, step, False, alias_of(pd.Timedelta(step, unit=times.unit))
    if month_end:
        return ticks, step, True, f"{step}ME"
    return ticks, step, True, f"{step}MS" if times[0].day == 1 else pd.DateOffset(months=step)


def alias_of(step: pd.Timedelta) -> str:
    """The offset alias of a duration in its largest whole unit.

    >>> alias_of(pd.Timedelta(hours=1)), alias_of(pd.Timedelta(minutes=90)), alias_of(pd.Timedelta(weeks=1))
    ('1h', '90min', '7D')
    """
    for unit in ("D", "h", "min", "s", "ms", "us"):
        if step % pd.Timedelta(f"1{unit}") == pd.Timedelta(0):
            return f"{step // pd.Timedelta(f'1{unit}')}{unit}"
    return f"{step.value}ns"


def _later(times: pd.DatetimeIndex, steps: np.ndarray, step: int, months: bool) -> pd.DatetimeIndex:
    """Each time and a number of regular steps."""
    if not months:
        later = times.asi8 + steps * step
        return pd.DatetimeIndex(later.view(f"M8[{times.unit}]")).tz_localize("UTC")
    month = np.asarray(times.year * 12 + times.month - 1) + steps * step
    first = pd.DatetimeIndex((month - 1970 * 12).astype("M8[M]").astype("M8[s]")).as_unit(times.unit)
    # The last day of a month stays the last one, and day 30 is in February the last one.
    day = np.where(times.is_month_end.all(), 31, times.day)
    days = pd.to_timedelta(np.minimum(day, first.days_in_month) - 1, unit="D")
    clock = (times - times.normalize())[0]
    return (first + days.as_unit(times.unit) + clock).as_unit(times.unit).tz_localize("UTC")


def _season(step: int, months: bool, times: pd.DatetimeIndex | None) -> int:
    """The rows of the main cycle: a year of months or weeks, a week of days, a day of anything shorter; else 1."""
    if times is None or len(times) < 2:
        return 1
    if months:
        return 12 // step if 12 % step == 0 else 1
    duration, day = pd.Timedelta(step, unit=times.unit), pd.Timedelta("1D")
    if duration in (day, 7 * day):
        return 7 if duration == day else 52
    return day // duration if day % duration == pd.Timedelta(0) else 1


def _note_holes(
    steps: np.ndarray,
    uneven: np.ndarray,
    broken: np.ndarray,
    other: np.ndarray,
    longest: int,
    regular: str,
    notes: list[str],
) -> None:
    rows = steps[(steps > 1) & ~broken] - 1
    if rows.size:
        what = "they are missing values" if rows.sum() > 1 else "it is a missing value"
        notes.append(f"inserted {count(rows.sum(), 'row')} for {count(rows.size, 'hole')}: {what} ({regular})")
    long = steps[broken & ~uneven & ~other] - 1
    if long.size:
        notes.append(
            f"marked {count(long.size, 'break')} where more than {longest:,} steps are missing "
            f"(the longest hole: {long.max():,}; {regular})"
        )
    if (uneven & ~other).any():
        notes.append(f"marked {count(np.sum(uneven & ~other), 'break')} at a step that is no multiple ({regular})")


def count(number: int | np.integer, noun: str) -> str:
    """A number and what it counts.

    >>> count(1, "row"), count(2067, "row")
    ('1 row', '2,067 rows')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
