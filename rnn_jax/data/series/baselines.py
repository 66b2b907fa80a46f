"""What a forecast has to beat.

Every function takes a task and the first rows of W windows, `starts` `[W]`, and returns predictions of the target,
`[W, ahead]` float64 in physical units.
"""

from collections.abc import Iterator

import numpy as np

from rnn_jax.data.errors import DataError
from rnn_jax.data.series.forecasting import ForecastTask

CHUNK = 4096
"""Windows held in memory at once."""


def persistence(task: ForecastTask, starts: np.ndarray) -> np.ndarray:
    """The last value read, for every step ahead of each window: `starts` `[W]` to `[W, ahead]` in the task's units."""
    last = task.values[starts + task.lag - 1, 0]
    return np.repeat(last[:, None], task.ahead, axis=1)


def seasonal_naive(task: ForecastTask, starts: np.ndarray, season: int = 24) -> np.ndarray:
    """The value one season (or as many as needed) before the step that is forecast.

    Args:
        task: says what is forecast.
        starts: `[W]`, first rows of the windows.
        season: rows of a cycle.

    Returns:
        `[W, ahead]` float64 in physical units.

    Raises:
        DataError: lag < season: the row would lie outside the window.
    """
    if task.lag < season:
        raise DataError(f"a season of {season} rows needs lag={season} or more, got {task.lag}")
    offsets = task.lag - season + np.arange(task.ahead) % season
    return task.values[starts[:, None] + offsets, 0]


def fit_autoregression(task: ForecastTask) -> np.ndarray:
    """Coefficients `[lag + 1, ahead]` of the linear autoregression, the intercept in the last row.

    Each step ahead is regressed by itself on the lags of the target, all standardized by the training rows, over the
    training windows: min |X A - Y|^2 in float64, X with a column of ones, by the normal equations A = (X'X)^+ X'Y. The
    sums run over chunks of windows, so that memory does not grow with their number.

    Args:
        task: whose training windows are taken, and no others.
    """
    gram, moment = np.zeros((task.lag + 1, task.lag + 1)), np.zeros((task.lag + 1, task.ahead))
    for inputs, starts in _chunks(task, task.train):
        gram += inputs.T @ inputs
        moment += inputs.T @ ((task.targets(starts) - task.mean[0]) / task.scale[0])
    # Lags of a series without noise depend on each other: what is below rcond is rounding and gets no weight.
    return np.linalg.pinv(gram, rcond=1e-13, hermitian=True) @ moment


def linear_autoregression(task: ForecastTask, starts: np.ndarray) -> np.ndarray:
    """The linear autoregression of `fit_autoregression`, fitted on the training windows of the task alone.

    Args:
        task: says what is forecast.
        starts: `[W]`, first rows of the windows.

    Returns:
        `[W, ahead]` float64 in physical units.
    """
    coefficients = fit_autoregression(task)
    return task.in_units(np.concatenate([inputs @ coefficients for inputs, _ in _chunks(task, starts)]))


def all_baselines(task: ForecastTask, split: str, season: int = 24) -> dict[str, np.ndarray]:
    """Name to predictions for a split; without the seasonal naive one where the lag is shorter than its season.

    Args:
        task: says what is forecast.
        split: `train`, `validation` or `test`.
        season: rows of a cycle.

    Returns:
        `persistence`, `seasonal_naive` and `linear_autoregression`, each `[W, ahead]` float64 in physical units.

    Raises:
        DataError: another split.
    """
    starts = task.starts(split)
    predictions = {"persistence": persistence(task, starts)}
    if task.lag >= season:
        predictions["seasonal_naive"] = seasonal_naive(task, starts, season)
    predictions["linear_autoregression"] = linear_autoregression(task, starts)
    return predictions


def _chunks(task: ForecastTask, starts: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Standardized lags of the target with a column of ones, `[C, lag + 1]`, and their starts `[C]`."""
    target = (task.values[:, 0] - task.mean[0]) / task.scale[0]
    lags = np.lib.stride_tricks.sliding_window_view(target, task.lag)
    for first in range(0, len(starts), CHUNK):
        chunk = starts[first : first + CHUNK]
        yield np.hstack([lags[chunk], np.ones((len(chunk), 1))]), chunk
