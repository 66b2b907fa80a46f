"""Linear forecasts in closed form: an autoregression on all inputs, NLinear and DLinear.

Each is a ridge regression over the training windows, min |X A - Y|^2 + r mean(diag X'X) |A|^2 in float64, whose r is
the one of `RIDGES` with the smallest error on the validation windows. A target that was not measured has no part in it.

Sources: Zeng, Chen, Zhang and Xu, "Are transformers effective for time series forecasting?", 2023 (NLinear, DLinear);
Toner and Darlow, "An analysis of linear time series forecasting models", 2024 (that both have a closed form).
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg

from rnn_jax.data.series.forecasting import ForecastTask
from rnn_jax.data.series.windows import gather

RIDGES = (1e-9, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1)
"""Of the mean square of a feature."""

TREND = 25
"""Rows of DLinear's moving average."""

MOST_FEATURES = 2048
"""Of the past that an autoregression reads."""

RECENT = 2
"""Rows of all inputs that it reads in any case."""

CHUNK = 2**24
"""Numbers held in memory at once."""


class Line(NamedTuple):
    """A linear forecast of scaled targets from a window's features.

    `shared`: y[h, m] = sum over lags x[lag, m] past[lag, h] + bias[h], the same for every target. Else
    y[h, m] = sum x[lag, i] past[lag, i, h, m] + sum known[h', k] future[h', k, h, m] + bias[h, m].

    Attributes:
        shared: which of the two.
        past: `[lag, ahead]`, or `[lag, I - K, ahead, M]`.
        future: `[ahead, K, ahead, M]`; of a shared one `[0]`.
        bias: `[ahead]`, or `[ahead, M]`.
        error: mean squared error on the validation windows, scaled.
    """

    shared: bool
    past: np.ndarray
    future: np.ndarray
    bias: np.ndarray
    error: float


def autoregression(task: ForecastTask) -> Line:
    """Every target from the lags of all inputs and from what is known of the rows that are forecast.

    The best on validation: of the value, or of its change from the last one, which a ridge pulls towards persistence
    instead of towards the mean; and from all lags of inputs that are no targets (where these are not too many), or the
    last `RECENT` of them, which leaves less to fit.
    """
    past, known = _sizes(task)
    shape = (task.ahead, task.num_targets)

    def values(starts: np.ndarray) -> np.ndarray:
        return task.scaled_targets(starts).reshape(len(starts), -1)

    def changes(starts: np.ndarray) -> np.ndarray:
        return (task.scaled_targets(starts) - _last(task, starts)).reshape(len(starts), -1)

    def fit(read: np.ndarray) -> Line:
        def design(starts: np.ndarray) -> np.ndarray:
            rows = gather(task.features, starts, task.lag)[..., :past][:, read]
            ahead = gather(task.features, starts + task.lag, task.ahead)[..., past:]
            return np.concatenate([rows, ahead.reshape(len(starts), -1)], axis=1)

        found = _ridge(task, design, (values, changes))
        moved = found[1][2] < found[0][2]
        weights, bias, error = found[moved]
        lags = np.zeros((task.lag, past, *shape))
        lags[read] = weights[: read.sum()].reshape(-1, *shape)
        if moved:
            lags[-1, np.arange(task.num_targets), :, np.arange(task.num_targets)] += 1.0
        future = weights[read.sum() :].reshape(task.ahead, known, *shape)
        return Line(False, lags, future, bias.reshape(shape), error)

    return min((fit(read) for read in _read(task, past)), key=lambda line: line.error)


def _read(task: ForecastTask, past: int) -> list[np.ndarray]:
    """Which features of which rows an autoregression may read, `[lag, I - K]` bool each."""
    recent = np.zeros((task.lag, past), bool)
    recent[-max(MOST_FEATURES // task.num_targets, 1) :, : task.num_targets] = True
    recent[-RECENT:] = True
    whole = np.ones((task.lag, past), bool)
    if recent.all():
        return [whole]
    return [recent, whole] if whole.size <= MOST_FEATURES else [recent]


def nlinear(task: ForecastTask) -> Line:
    """One line for all targets, from a target's own lags less the last of them, which is added to the forecast."""
    return _shared(task, lambda window: window)


def dlinear(task: ForecastTask) -> Line:
    """One line for all targets, two sums: of a window's moving average over `TREND` rows, and of what it leaves."""
    rows = np.arange(task.lag)[:, None] + np.arange(TREND) - TREND // 2
    average = np.zeros((task.lag, task.lag))
    np.add.at(average, (np.clip(rows, 0, task.lag - 1), np.arange(task.lag)[:, None]), 1 / TREND)
    parts = np.concatenate([average, np.eye(task.lag) - average], axis=1)
    return _shared(task, lambda window: window @ parts, parts)


def repeat(task: ForecastTask, period: int) -> Line:
    """The last `period` values over and over, as a line: 1 is persistence, a season the seasonal forecast."""
    past = np.zeros((task.lag, task.ahead))
    steps = np.arange(task.ahead)
    past[task.lag - period + steps % period, steps] = 1.0
    line = Line(True, past, np.zeros(0), np.zeros(task.ahead), np.inf)
    error = predict_scaled(task, line, task.validation) - task.scaled_targets(task.validation)
    return line._replace(error=float(np.nanmean(error**2)))


def predict(task: ForecastTask, line: Line, starts: np.ndarray) -> np.ndarray:
    """Forecasts in physical units: `starts` `[W]` to `[W, ahead, M]` float64."""
    return task.in_units(predict_scaled(task, line, starts), starts)


def predict_scaled(task: ForecastTask, line: Line, starts: np.ndarray) -> np.ndarray:
    """`predict`, scaled."""
    past, _ = _sizes(task)
    found = [np.zeros((0, task.ahead, task.num_targets))]
    for chunk in _chunks(starts, task.lag * past):
        rows = gather(task.features, chunk, task.lag)
        if line.shared:
            own = rows[..., : task.num_targets]
            found.append(np.einsum("wlm,lh->whm", own, line.past, optimize=True) + line.bias[:, None])
        else:
            ahead = gather(task.features, chunk + task.lag, task.ahead)[..., past:]
            value = np.tensordot(rows[..., :past], line.past, 2) + np.tensordot(ahead, line.future, 2)
            found.append(value + line.bias)
    return np.concatenate(found)


def _shared(task: ForecastTask, of: Callable[[np.ndarray], np.ndarray], parts: np.ndarray | None = None) -> Line:
    def own(starts: np.ndarray) -> np.ndarray:
        rows = gather(task.features[:, : task.num_targets], starts, task.lag) - _last(task, starts)
        return of(np.swapaxes(rows, 1, 2).reshape(-1, task.lag))

    def outputs(starts: np.ndarray) -> np.ndarray:
        change = task.scaled_targets(starts) - _last(task, starts)
        return np.swapaxes(change, 1, 2).reshape(-1, task.ahead)

    [(weights, bias, error)] = _ridge(task, own, [outputs])
    past = weights if parts is None else parts @ weights
    past[-1] += 1 - past.sum(axis=0)  # the last value is taken off the window and added to the forecast
    return Line(True, past, np.zeros(0), bias, error)


def _sizes(task: ForecastTask) -> tuple[int, int]:
    """Features that are known of the past alone, and those known of the future too."""
    known = task.encoder.num_known
    return task.encoder.num_features - known, known


def _last(task: ForecastTask, starts: np.ndarray) -> np.ndarray:
    return task.features[starts + task.lag - 1, None, : task.num_targets]


def _chunks(starts: np.ndarray, size: int) -> Iterator[np.ndarray]:
    step = max(CHUNK // max(size, 1), 1)
    for first in range(0, len(starts), step):
        yield starts[first : first + step]


def _ridge(
    task: ForecastTask,
    design: Callable[[np.ndarray], np.ndarray],
    outputs: Sequence[Callable[[np.ndarray], np.ndarray]],
) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """For each kind of outputs, `starts [W] -> [W', P]`, from one design: weights `[D, P]` and bias `[P]` of the best
    ridge, and its error on validation. All kinds miss the same values."""
    width = task.lag * task.encoder.num_features
    count = outputs[0](task.train[:1]).shape[1]
    size = design(task.train[:1]).shape[1] + 1
    gram, moment = np.zeros((size, size)), np.zeros((size, count * len(outputs)))
    unmeasured: dict[int, np.ndarray] = {}
    for chunk in _chunks(task.train, width):
        x, y = _with_ones(design(chunk)), np.concatenate([of(chunk) for of in outputs], axis=1)
        gram += x.T @ x
        moment += x.T @ np.nan_to_num(y)
        missing = np.isnan(y[:, :count])
        for column in np.flatnonzero(missing.any(axis=0)):
            rows = x[missing[:, column]]  # few, as a rule: taking them out costs less than a sum without them
            unmeasured[int(column)] = unmeasured.get(int(column), np.zeros_like(gram)) + rows.T @ rows
    best = [(np.zeros((size, count)), np.inf)] * len(outputs)
    for ridge in RIDGES:
        weights = _solve(gram, unmeasured, moment, count, ridge)
        squares, measured = np.zeros(len(outputs)), 0
        for chunk in _chunks(task.validation, width):
            said, real = _with_ones(design(chunk)) @ weights, np.concatenate([of(chunk) for of in outputs], axis=1)
            each = ((said - real) ** 2).reshape(len(said), len(outputs), count)
            squares += np.nansum(each, axis=(0, 2))
            measured += int(np.sum(~np.isnan(each[:, 0])))
        for kind, error in enumerate(squares / measured):
            if error < best[kind][1]:
                best[kind] = weights[:, kind * count : (kind + 1) * count], float(error)
    return [(weights[:-1], weights[-1], error) for weights, error in best]


def _with_ones(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


def _solve(
    gram: np.ndarray, unmeasured: dict[int, np.ndarray], moment: np.ndarray, count: int, ridge: float
) -> np.ndarray:
    """Weights `[D, kinds * count]`; the intercept, in the last row, pays no ridge.

    `unmeasured` has for an output of every kind what the rows that miss it have added to the gram.
    """

    def of(gram: np.ndarray, right: np.ndarray) -> np.ndarray:
        diagonal = np.full(len(gram), ridge * max(np.trace(gram[:-1, :-1]) / max(len(gram) - 1, 1), 1e-12))
        # Of features that depend on each other, or that are always 0, not even the sum is positive definite: this is.
        diagonal[-1] = 1e-12 * max(gram[-1, -1], 1.0)
        with warnings.catch_warnings():  # a small ridge may leave it ill-conditioned: validation sees what that costs
            warnings.simplefilter("ignore", scipy.linalg.LinAlgWarning)
            return scipy.linalg.solve(gram + np.diag(diagonal), right, assume_a="pos", check_finite=False)

    weights = of(gram, moment)
    for column, rows in unmeasured.items():
        weights[:, column::count] = of(gram - rows, moment[:, column::count])
    return weights
