"""A forecasting task: a series, its windows in three splits, and a scaling that knows the training rows alone."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import pandas as pd

from rnn_jax.data.errors import DataError
from rnn_jax.data.series import check_protocol
from rnn_jax.data.series.series import Series
from rnn_jax.data.series.windows import gather, window_starts
from rnn_jax.files import fingerprint

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class ForecastTask:
    """Forecast the next `ahead` rows of the target, column 0, from the last `lag` rows.

    Attributes:
        dataset: the name of the series.
        protocol: `clean` or `lecture`.
        columns: the names of the F columns.
        values: `[N, F]` float64 in physical units.
        mean, scale: `[F]` mean and standard deviation of the training rows.
        lag, ahead: rows read and rows forecast.
        train, validation, test: `[W]` int32, first rows of the windows of each split.
        repairs: sentences saying what was repaired in reading.
        times: N times in UTC, or None.
    """

    dataset: str
    protocol: str
    columns: tuple[str, ...]
    values: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    lag: int
    ahead: int
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    repairs: tuple[str, ...]
    times: pd.DatetimeIndex | None

    @cached_property
    def standardized(self) -> np.ndarray:
        """(values - mean) / scale: `[N, F]` float32."""
        return ((self.values - self.mean) / self.scale).astype(np.float32)

    def in_units(self, predictions: np.ndarray) -> np.ndarray:
        """Standardized predictions of the target, any shape, in physical units: float64."""
        return np.asarray(predictions, dtype=np.float64) * self.scale[0] + self.mean[0]

    def targets(self, starts: np.ndarray) -> np.ndarray:
        """What the windows at `starts` `[W]` have to forecast: `[W, ahead]` float64 in physical units."""
        return gather(self.values[:, :1], starts, self.lag, self.ahead)[1][..., 0]

    def starts(self, split: str) -> np.ndarray:
        """First rows `[W]` of the windows of a `split`: train, validation or test. Raises `DataError` for another."""
        if split not in SPLITS:
            raise DataError(f"unknown split {split!r}: take one of {', '.join(SPLITS)}")
        return getattr(self, split)

    def fingerprint(self) -> str:
        """SHA-256 of the protocol, the values and the windows of each split: the same for the same data.

        Of the values in float32: the last bits of float64 differ between processors for a series that is computed.
        """
        with np.errstate(over="ignore"):
            values = self.values.astype(np.float32)
        return fingerprint(self.protocol, values, *(self.starts(split) for split in SPLITS))


def make_task(series: Series, protocol: str, lag: int, ahead: int) -> ForecastTask:
    """Cuts a series into windows and splits them.

    `clean`: the rows are split first, in time, and a window belongs to the split that holds all its rows, targets
    included. Szeged by date: training before 2014, validation 2014, test 2015-01-01 to 2016-10-31 23:00 UTC. Any other
    series: the first 70 % of the rows, the next 10 %, the last 20 %.

    `lecture`: all windows are cut first and split in their order, 70, 10 and 20 %. So neighbouring splits share rows:
    the first validation windows read rows that the last training windows forecast.

    The mean and standard deviation are of the rows before the end of the last training window (`lecture`) or of the
    training part (`clean`).

    Args:
        series: what is forecast.
        protocol: `clean` or `lecture`.
        lag: rows read, at least 1.
        ahead: rows forecast, at least 1.

    Raises:
        DataError: an unknown protocol; lag or ahead below 1; a split without any window; a column that is constant over
            the training rows; rows out of time order under `clean`.
    """
    check_protocol(protocol)
    starts = window_starts(len(series.values), lag, ahead, series.breaks)
    if protocol == "lecture":
        splits = np.split(starts, [len(starts) * 7 // 10, len(starts) * 8 // 10])
        train_end = int(splits[0][-1]) + lag + ahead if len(splits[0]) else 0
    else:
        bounds = _row_bounds(series)
        splits = [starts[(starts >= a) & (starts + lag + ahead <= b)] for a, b in pairwise(bounds)]
        train_end = bounds[1]
    for split, windows in zip(SPLITS, splits, strict=True):
        if not len(windows):
            raise DataError(
                f"{series.name}: the {split} split of protocol {protocol!r} has no run of lag {lag} + ahead {ahead} = "
                f"{lag + ahead} rows without a break ({len(series.values)} rows in all): "
                "take a smaller lag or ahead, or a longer series"
            )
    mean, scale = _scaling(series, train_end)
    train, validation, test = splits
    return ForecastTask(
        dataset=series.name,
        protocol=protocol,
        columns=series.columns,
        values=series.values,
        mean=mean,
        scale=scale,
        lag=lag,
        ahead=ahead,
        train=train,
        validation=validation,
        test=test,
        repairs=series.repairs,
        times=series.times,
    )


def _row_bounds(series: Series) -> tuple[int, int, int, int]:
    """Rows where the parts for training, validation and test begin, and where the last one ends."""
    num_rows, times = len(series.values), series.times
    if times is not None and not times.is_monotonic_increasing:
        raise DataError(f"{series.name}: its rows are not in time order, which protocol 'clean' needs: read it so too")
    if series.split_times is not None and times is not None:
        train_end, validation_end, test_end = (int(times.searchsorted(time)) for time in series.split_times)
        return 0, train_end, validation_end, test_end
    return 0, num_rows * 7 // 10, num_rows * 8 // 10, num_rows


def _scaling(series: Series, train_end: int) -> tuple[np.ndarray, np.ndarray]:
    rows = series.values[:train_end]
    for column, low, high in zip(series.columns, rows.min(axis=0), rows.max(axis=0), strict=True):
        if low == high:
            raise DataError(
                f"{series.name}: column {column!r} is {low:g} in all {train_end} training rows, there is nothing to "
                "learn: take another column or a longer series"
            )
    return rows.mean(axis=0), rows.std(axis=0)
