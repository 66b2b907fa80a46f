"""What a forecast has to beat, on the same inputs and windows.

Every function takes a task and the first rows of W windows, `starts` `[W]`, and returns forecasts, `[W, ahead, M]`
float64 in physical units. All of them read the same rows as a network, and what was measured in them alone.
"""

from collections.abc import Callable, Sequence

import numpy as np

from rnn_jax.data.series import lines, trees
from rnn_jax.data.series.forecasting import ForecastTask
from rnn_jax.data.series.lines import Line
from rnn_jax.data.series.windows import gather

Forecast = Callable[[np.ndarray], np.ndarray]


def persistence(task: ForecastTask, starts: np.ndarray) -> np.ndarray:
    """The last value that was measured, for every step ahead."""
    last = task.carried[starts + task.lag - 1]
    return np.repeat(last[:, None], task.ahead, axis=1)


def seasonal_naive(task: ForecastTask, starts: np.ndarray, season: int) -> np.ndarray:
    """The value one season (`season` <= lag rows, or as many as needed) before; the last one where there is none."""
    offsets = task.lag - season + np.arange(task.ahead) % season
    before = task.carried[starts[:, None] + offsets]
    return np.where(np.isnan(before), persistence(task, starts), before)


def drift(task: ForecastTask, starts: np.ndarray) -> np.ndarray:
    """The straight line through the first and the last value that was read, which lie lag - 1 rows apart."""
    first, last = (gather(task.carried, starts + row, 1) for row in (0, task.lag - 1))
    slope = (last - np.where(np.isnan(first), last, first)) / max(task.lag - 1, 1)
    return last + slope * np.arange(1, task.ahead + 1)[:, None]


LINES = {
    "linear_autoregression": lines.autoregression,
    "nlinear": lines.nlinear,
    "dlinear": lines.dlinear,
}
"""The fitted ones, by the names of their rows."""


def fit_lines(task: ForecastTask) -> dict[str, Line]:
    """The lines of `LINES`, fitted on the training windows."""
    return {name: fit(task) for name, fit in LINES.items()}


def best_line(task: ForecastTask, fitted: dict[str, Line], season: int = 1) -> Line:
    """The linear forecast with the smallest error on validation: of the fitted ones, persistence, the seasonal one."""
    simple = [1] + [season] * (1 < season <= task.lag)
    candidates = [*(lines.repeat(task, period) for period in simple), *fitted.values()]
    return min(candidates, key=lambda line: line.error)


def forecasts(
    task: ForecastTask, fitted: dict[str, Line], season: int = 1, tree_steps: Sequence[int] = ()
) -> dict[str, Forecast]:
    """The baselines by name, each a function of `starts` `[W]`.

    Args:
        task: says what is forecast.
        fitted: of `fit_lines`.
        season: rows of a cycle; the seasonal forecast is there for more than one and at most `lag`.
        tree_steps: the steps ahead that trees forecast; none: no trees.
    """
    found: dict[str, Forecast] = {"persistence": lambda starts: persistence(task, starts)}
    if 1 < season <= task.lag:
        found["seasonal_naive"] = lambda starts: seasonal_naive(task, starts, season)
    if task.lag > 1:
        found["drift"] = lambda starts: drift(task, starts)
    for name, line in fitted.items():
        found[name] = lambda starts, line=line: lines.predict(task, line, starts)  # type: ignore[misc]
    if tree_steps:
        found["trees"] = lambda starts: trees.forecast(task, starts, tree_steps)
    return found
