"""Values of flags that follow from the series where they are not given."""

import dataclasses

import numpy as np

from experiments.common.flags import UsageError
from experiments.forecast.flags import Config
from rnn_jax.data.series.forecasting import split_bounds
from rnn_jax.data.series.series import Series

LAG = 64
MOST_OUTSIDE = 0.2
"""Of validation targets outside the range of training targets, of a series whose level is not news to the network."""
LONG = 5_000
"""Training windows of a series whose outliers are many."""
MOST_ORIGINS = 8
"""Of a window: the more, the sooner a long series has been learnt by heart."""
STEPS = 4_000
"""Of a training, about."""


def settle(config: Config, series: Series) -> Config:
    """The config with a value for every flag that the series decides. Raises `UsageError` for what does not fit it."""
    season = config.season or series.season
    # The lectures' order of rows is not one of time, and its splits are of windows.
    rows = len(series.values)
    bounds = (
        np.array([[0, rows * 7 // 10, rows * 8 // 10, rows]]) if config.protocol == "lecture" else split_bounds(series)
    )
    lag = config.lag or default_lag(config, bounds, season)
    train = max(int(np.sum(bounds[:, 1] - bounds[:, 0])), 1)
    windows = max(train - (lag if config.protocol == "lecture" else 0) - config.ahead, 1)
    batch_size = config.batch_size or int(np.clip(windows // 32, 4, 64))
    epochs = config.epochs or int(np.clip(-(-STEPS * batch_size // windows), 4, 100))
    normalize = normalization(config, series, bounds)
    if normalize == "mean" and config.normalize == "auto":
        config = dataclasses.replace(config, normalize=normalize)
    origins = config.origins or (int(np.clip(lag // 3, 1, MOST_ORIGINS)) if config.takes_origins else 1)
    if origins > lag:
        raise UsageError(f"--origins={origins}: a window has --lag={lag} rows")
    if lag % config.segment:
        raise UsageError(f"--segment={config.segment}: does not divide --lag={lag}")
    return dataclasses.replace(
        config,
        season=season,
        lag=lag,
        batch_size=batch_size,
        epochs=epochs,
        origins=origins,
        normalize=normalize,
        loss=("huber" if windows >= LONG else "mse") if config.loss == "auto" else config.loss,
        calendar=cycles(config, series, bounds),
        report_steps=config.report_steps or some_steps(config.ahead),
        trees=series.num_targets == 1 if config.trees is None else config.trees,
        units=("scaled" if series.name.startswith("etth") else "units") if config.units == "auto" else config.units,
    )


def default_lag(config: Config, bounds: np.ndarray, season: int) -> int:
    """64 rows, two seasons of a longer one, but not more than a third of the training rows of the shortest series."""
    shortest = int(np.min(bounds[:, 1] - bounds[:, 0]))
    wanted = max(LAG, 2 * season) if season <= LAG else season + LAG // 2
    room = max((shortest - config.ahead) // 3, 1)
    lag = min(wanted, room)
    if season < lag < 2 * season and season > 1:  # the rows of one season and a little more
        lag = season + 1
    return max(lag // config.segment, 1) * config.segment


def normalization(config: Config, series: Series, bounds: np.ndarray) -> str:
    """That of the flag, or by the share of validation targets outside the range that training targets have."""
    if config.normalize != "auto":
        return config.normalize
    if config.origins is not None and config.origins > 1:
        return "change"
    outside, count = 0, 0
    for first, train_end, validation_end, _ in bounds:
        train = series.values[first:train_end, : series.num_targets]
        later = series.values[train_end:validation_end, : series.num_targets]
        measured = ~np.isnan(train).all(axis=0)
        if not len(train):
            continue
        low, high = np.nanmin(train[:, measured], axis=0), np.nanmax(train[:, measured], axis=0)
        outside += int(np.sum((later[:, measured] < low) | (later[:, measured] > high)))
        count += int(np.sum(~np.isnan(later[:, measured])))
    return "mean" if outside > MOST_OUTSIDE * count else "change"


def cycles(config: Config, series: Series, bounds: np.ndarray) -> tuple[str, ...]:
    """The cycles of the calendar that are read: those of which the times show two turns and more than one place."""
    if config.calendar == ("none",):
        return ()
    if config.calendar != ("auto",):
        return config.calendar
    if series.times is None:
        return ()
    rows = series.times[bounds[0, 0] : bounds[0, 1]]
    span = (rows[-1] - rows[0]).days if len(rows) else 0
    found = []
    if len(set(rows.hour[:1000])) > 1:
        found.append("hour")
    if len(set(rows.day_of_week[:1000])) > 2 and span >= 14 and len(rows) > span * 0.7:
        found.append("weekday")
    if span >= 2 * 365:
        found.append("year")
    return tuple(found)


def some_steps(ahead: int) -> tuple[int, ...]:
    """The first step, the last, and some between.

    >>> some_steps(1), some_steps(3), some_steps(24)
    ((1,), (1, 2, 3), (1, 6, 12, 24))
    """
    return (
        tuple(sorted({1, max(ahead // 4, 1), max(ahead // 2, 1), ahead})) if ahead > 3 else tuple(range(1, ahead + 1))
    )
