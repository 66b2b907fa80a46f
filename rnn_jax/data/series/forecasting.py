"""A forecasting task: a series as features, its windows in three splits, scaled by the training rows alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rnn_jax.data.errors import DataError
from rnn_jax.data.series.features import Encoder, encode, fit_encoder, scaled
from rnn_jax.data.series.series import Series
from rnn_jax.data.series.windows import carry_forward, gather, window_starts
from rnn_jax.files import fingerprint

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class ForecastTask:
    """Forecast the next `ahead` rows of M targets from the last `lag` rows of all columns.

    Attributes:
        series: what is forecast.
        protocol: how it was split.
        encoder: makes its features.
        lag, ahead: rows read and rows forecast.
        train, validation, test: `[W]` int32, first rows of the windows of each split.
        train_rows: `[N]` bool, the training rows.
    """

    series: Series
    protocol: str
    encoder: Encoder
    lag: int
    ahead: int
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    train_rows: np.ndarray

    @cached_property
    def features(self) -> np.ndarray:
        """`[N, I]` float64, see `features.encode`."""
        return encode(self.encoder, self.series)

    @cached_property
    def scaled(self) -> np.ndarray:
        """The targets, scaled: `[N, M]` float64, NaN where not measured."""
        return scaled(self.encoder, self.series)[:, : self.num_targets]

    @cached_property
    def carried(self) -> np.ndarray:
        """The targets' last values that were measured: `[N, M]` float64 in physical units."""
        return carry_forward(self.series.values[:, : self.num_targets], self.series.breaks)[0]

    @property
    def num_targets(self) -> int:
        """M."""
        return self.series.num_targets

    @property
    def target_names(self) -> tuple[str, ...]:
        """M names."""
        return tuple(column.name for column in self.series.columns[: self.num_targets])

    def starts(self, split: str) -> np.ndarray:
        """First rows `[W]` of the windows of a `split`: train, validation or test. Raises `DataError` for another."""
        if split not in SPLITS:
            raise DataError(f"unknown split {split!r}: take one of {', '.join(SPLITS)}")
        return getattr(self, split)

    def targets(self, starts: np.ndarray) -> np.ndarray:
        """What windows at `starts` `[W]` have to forecast: `[W, ahead, M]` in physical units, NaN if not measured."""
        return gather(self.series.values[:, : self.num_targets], starts + self.lag, self.ahead)

    def scaled_targets(self, starts: np.ndarray) -> np.ndarray:
        """The same, scaled."""
        return gather(self.scaled, starts + self.lag, self.ahead)

    def constants(self, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Center and scale of the targets of windows `starts` `[W]`: `[W, 1, M]` each."""
        ids = self.series.numbers[starts]
        of = (slice(None), None, slice(self.num_targets))
        return self.encoder.center[ids][of], self.encoder.scale[ids][of]

    def in_units(self, predictions: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Scaled predictions `[..., W, ahead, M]` of the windows at `starts` `[W]` in physical units: float64."""
        center, scale = self.constants(starts)
        return np.asarray(predictions, np.float64) * scale + center

    def fingerprint(self) -> str:
        """SHA-256 of the protocol, the features, the targets and the windows of each split: the same for the same data.

        In float32: the last bits of float64 differ between processors for a series that is computed.
        """
        with np.errstate(over="ignore"):
            arrays = [each.astype(np.float32) for each in (self.features, self.series.values)]
        return fingerprint(self.protocol, *arrays, *(self.starts(split) for split in SPLITS))


def make_task(
    series: Series,
    protocol: str,
    lag: int,
    ahead: int,
    *,
    scaling: Sequence[str] = ("standard",),
    cycles: Sequence[str] = (),
    bounds: np.ndarray | None = None,
) -> ForecastTask:
    """Cuts a series into windows and splits them.

    The rows are split first, in time, and a window belongs to the split that holds all the rows it has to forecast;
    what it reads may lie before, as for anyone who forecasts with all of the past at hand. The rows of a split are
    those of `series.split_times` or `series.split_rows`, else the first 70 % of each series, the next 10 %, the rest.

    `lecture`: all windows are cut first and split in their order, 70, 10 and 20 %.

    A window has a measured value of every target before the rows it forecasts, and at least one among these.

    Args:
        series: what is forecast.
        protocol: `lecture`, or another word.
        lag: rows read, at least 1.
        ahead: rows forecast, at least 1.
        scaling, cycles: of `fit_encoder`, which reads the rows that training windows read or forecast.
        bounds: of `split_bounds`, in place of those of the series.

    Raises:
        DataError: lag or ahead below 1; a split without any window; rows out of time order; what `fit_encoder` raises.
    """
    starts = usable_starts(series, lag, ahead)
    last = starts + lag + ahead
    train_rows = np.zeros(len(series.values), bool)
    if protocol == "lecture":
        splits = np.split(starts, [len(starts) * 7 // 10, len(starts) * 8 // 10])
        train_rows[: int(splits[0][-1]) + lag + ahead if len(splits[0]) else 0] = True
    else:
        bounds = split_bounds(series) if bounds is None else bounds
        ids = series.numbers[starts]
        splits = [starts[(starts + lag >= bounds[ids, k]) & (last <= bounds[ids, k + 1])] for k in range(3)]
        for low, high in bounds[:, :2]:
            train_rows[low:high] = True
        for k, split in enumerate(SPLITS):
            if not len(splits[k]):
                _check_measured(series, split, np.concatenate([np.arange(*each[k : k + 2]) for each in bounds]))
    for split, windows in zip(SPLITS, splits, strict=True):
        if not len(windows):
            raise DataError(
                f"{series.name}: the {split} split of protocol {protocol!r} has no window of lag {lag} + ahead {ahead} "
                f"rows without a break ({len(series.values)} rows in all): take a smaller lag or ahead, or a longer "
                "series"
            )
    encoder = fit_encoder(series, train_rows, scaling, cycles)
    train, validation, test = splits
    return ForecastTask(series, protocol, encoder, lag, ahead, train, validation, test, train_rows)


def _check_measured(series: Series, split: str, rows: np.ndarray) -> None:
    """Raises `DataError` where a split without windows lacks a target: all must have a past, and one be forecast.

    Args:
        series: what is forecast.
        split: one of `SPLITS`.
        rows: its rows.
    """
    missing = np.flatnonzero(np.isnan(series.values[rows, : series.num_targets]).all(axis=0))
    if len(rows) and len(missing) >= (1 if split == "train" else series.num_targets):
        raise DataError(
            f"{series.name}: column {series.columns[missing[0]].name!r} has no value in the {len(rows)} rows of the "
            f"{split} split: take another column or a longer series"
        )


def usable_starts(series: Series, lag: int, ahead: int) -> np.ndarray:
    """First rows of all windows that have something to read and something to forecast: `[W]` int32."""
    starts = window_starts(len(series.values), lag, ahead, series.breaks)
    targets = series.values[:, : series.num_targets]
    known = ~np.isnan(carry_forward(targets, series.breaks)[0]).any(axis=1)
    measured = np.append(0, np.cumsum(~np.isnan(targets).all(axis=1)))
    first = starts + lag
    return starts[known[first - 1] & (measured[first + ahead] > measured[first])]


def split_bounds(series: Series) -> np.ndarray:
    """Rows where training, validation and test of each of D series begin, and where the last ends: `[D, 4]` int64."""
    times, ids = series.times, series.numbers
    bounds = []
    for number in range(series.num_series):
        rows = np.flatnonzero(ids == number)
        first, count = int(rows[0]), len(rows)
        inside = [count * 7 // 10, count * 8 // 10, count]
        if times is not None:
            own = times[rows]
            if not own.is_monotonic_increasing:
                raise DataError(f"{series.name}: its rows are not in time order, which this protocol needs")
            if series.split_times is not None:
                inside = [int(own.searchsorted(time)) for time in series.split_times]
        if series.split_rows is not None:
            inside = list(series.split_rows)
        bounds.append([first, *(first + each for each in inside)])
    return np.asarray(bounds, np.int64)
