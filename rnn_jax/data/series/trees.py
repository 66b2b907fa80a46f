"""Gradient-boosted trees: what a table of numbers is usually forecast with.

Source: Friedman, "Greedy function approximation: a gradient boosting machine", 2001; in scikit-learn's
`HistGradientBoostingRegressor` (Pedregosa et al., "Scikit-learn: machine learning in Python", 2011).
"""

from collections.abc import Sequence

import numpy as np

from rnn_jax.data.series.forecasting import ForecastTask
from rnn_jax.data.series.windows import gather
from rnn_jax.extras import need

SETTINGS = (
    {"learning_rate": 0.05, "max_leaf_nodes": 15, "min_samples_leaf": 20, "l2_regularization": 1.0},
    {"learning_rate": 0.05, "max_leaf_nodes": 63, "min_samples_leaf": 40, "l2_regularization": 1.0},
)
"""Tried one after another; the validation windows choose, and choose how many trees of each."""

MOST_TREES = 600
"""Of one forecast."""

PATIENCE = 30
"""Trees without a better validation error after which no more are grown."""

MOST_NUMBERS = 60_000_000
"""Of the table of training windows: of a longer series every second window, third, ... is taken."""

SMALL = 500_000
"""Numbers of a table that one thread does faster than several."""

RECENT = 2
"""Rows of which the trees read all columns; of the targets they read every lag."""


def table(task: ForecastTask, starts: np.ndarray, step: int) -> np.ndarray:
    """What the trees read of windows `starts` `[W]` for the forecast of `step`: `[W, D]` float32.

    The changes of all lags of each target from the last value, that value, all columns of the last `RECENT` rows, and
    what is known of the row that is forecast.
    """
    count, known = task.num_targets, task.encoder.num_known
    own = gather(task.features[:, :count], starts, task.lag)
    last = own[:, -1:]
    recent = min(RECENT, task.lag)
    rows = gather(task.features[:, count:], starts + task.lag - recent, recent)
    ahead = task.features[starts + task.lag + step - 1, task.encoder.num_features - known :]
    parts = [own[:, :-1] - last, last, rows, ahead]
    return np.concatenate([part.reshape(len(starts), -1) for part in parts], axis=1).astype(np.float32)


def forecast(task: ForecastTask, starts: np.ndarray, steps: Sequence[int], seed: int = 0) -> np.ndarray:
    """Forecasts of windows `starts` `[W]` by trees for each target and each of `steps`, the others NaN.

    Each is of the change from the last value, grown on the training windows, its settings and number of trees chosen on
    the validation windows.

    Args:
        task: says what is forecast.
        starts: `[W]`, first rows of windows.
        steps: which of 1 to ahead.
        seed: of the trees.

    Returns:
        `[W, ahead, M]` float64 in physical units.
    """
    found = np.full((len(starts), task.ahead, task.num_targets), np.nan)
    for step in steps:
        parts = [table(task, each, step) for each in (thinned(task), task.validation, starts)]
        for target in range(task.num_targets):
            found[:, step - 1, target] = _grow(task, parts, step, target, seed)
    last = task.features[starts + task.lag - 1, None, : task.num_targets]
    return task.in_units(found + last, starts)


def thinned(task: ForecastTask) -> np.ndarray:
    """The training windows that the trees see."""
    width = task.lag * task.num_targets + RECENT * task.encoder.num_features
    return task.train[:: max(-(-len(task.train) * width // MOST_NUMBERS), 1)]


def _grow(task: ForecastTask, parts: Sequence[np.ndarray], step: int, target: int, seed: int) -> np.ndarray:
    """Predicted changes of the last of `parts`: tables of the training, validation and wanted windows."""
    need(__name__, "sklearn")
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    def changes(starts: np.ndarray) -> np.ndarray:
        last = task.features[starts + task.lag - 1, target]
        return task.scaled[starts + task.lag + step - 1, target] - last

    wanted, judged = changes(thinned(task)), changes(task.validation)
    rows, checked = ~np.isnan(wanted), ~np.isnan(judged)
    if not rows.any() or not checked.any():
        return np.zeros(len(parts[2]))
    best_error, best = np.mean(judged[checked] ** 2), np.zeros(len(parts[2]))
    for settings in SETTINGS:
        trees = HistGradientBoostingRegressor(
            max_iter=MOST_TREES, early_stopping=True, n_iter_no_change=PATIENCE, scoring="loss", random_state=seed,
            **settings,
        )  # fmt: skip
        # On a small table threads wait for each other longer than they work.
        with threadpool_limits(1 if parts[0].size < SMALL else None):
            trees.fit(parts[0][rows], wanted[rows], X_val=parts[1][checked], y_val=judged[checked])
            # Growing stops some trees after the best: their number is what is chosen.
            errors = [np.mean((p - judged[checked]) ** 2) for p in trees.staged_predict(parts[1][checked])]
            count = int(np.argmin(errors))
            if errors[count] < best_error:
                best_error = errors[count]
                best = next(p for i, p in enumerate(trees.staged_predict(parts[2])) if i == count)
    return best
