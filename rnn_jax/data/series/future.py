"""The rows after the end of a series, to be forecast."""

from dataclasses import replace

import numpy as np
import pandas as pd

from rnn_jax.data.errors import DataError
from rnn_jax.data.series.series import Series

LAST_YEAR = 9000
"""Of a time to forecast: years have four digits, and a plot needs room to its right."""


def with_future(series: Series, ahead: int) -> tuple[Series, np.ndarray]:
    """Each series up to its last measured target, and `ahead` rows more.

    Of these rows only columns that are known of the future have values, those that the series has already.

    Args:
        series: perhaps several by ids; later rows than the last measured target are future rows.
        ahead: at least 1.

    Returns:
        The series, and for each of the D series that have rows the first future row, `[D]` int64.

    Raises:
        DataError: a known column has no value in a future row, with the column; times whose step is not known; future
            rows after the year 9000.
    """
    ids = series.numbers
    measured = ~np.isnan(series.values[:, : series.num_targets]).all(axis=1)
    if series.times is not None and series.step is None:
        raise DataError(f"{series.name}: its step is not known, and so not the times to forecast")
    known = np.array([column.known for column in series.columns])
    values, times, breaks, numbers, origins, done = [], [], [], [], [], 0
    for number in np.unique(ids):
        rows = np.flatnonzero(ids == number)
        rows = rows[: np.flatnonzero(measured[rows])[-1] + 1]
        later = np.flatnonzero((ids == number) & (np.arange(len(ids)) > rows[-1]))[:ahead]
        later = later[np.cumsum(series.breaks[later]) == 0]  # a row behind a break is of a later time
        added = np.full((ahead, series.values.shape[1]), np.nan)
        added[: len(later), known] = series.values[later][:, known]
        for place in np.flatnonzero(known & np.isnan(added).any(axis=0)):
            raise DataError(
                f"{series.name}: column {series.columns[place].name!r} is known of the future, and has no value in "
                f"each of the {ahead} rows to forecast: add these rows, with this column, to the file"
            )
        values += [series.values[rows], added]
        breaks += [series.breaks[rows], np.zeros(ahead, bool)]
        numbers.append(np.full(len(rows) + ahead, number, np.int32))
        origins.append(done + len(rows))
        done += len(rows) + ahead
        if series.times is not None:
            own = series.times[rows]
            times += [own, _later(series, own[-1], ahead)]
    extended = replace(
        series,
        values=np.concatenate(values),
        breaks=np.concatenate(breaks),
        times=None if series.times is None else pd.DatetimeIndex(times[0].append(times[1:])),
        ids=None if series.ids is None else np.concatenate(numbers),
        best=None,
        split_rows=None,
    )
    return extended, np.asarray(origins, np.int64)


def _later(series: Series, last: pd.Timestamp, ahead: int) -> pd.DatetimeIndex:
    try:
        later = pd.date_range(last, periods=ahead + 1, freq=series.step)[1:]
    except (ValueError, OverflowError) as error:
        raise _too_late(series, ahead) from error
    if later[-1].year > LAST_YEAR:
        raise _too_late(series, ahead)
    return later


def _too_late(series: Series, ahead: int) -> DataError:
    text = f"{series.name}: the {ahead:,} times to forecast end after the year {LAST_YEAR}"
    return DataError(f"{text}: leave out the column of times, or forecast fewer rows")
