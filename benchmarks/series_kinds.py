"""Kinds of regular series that a user may have, made up, to try forecasts on: `KINDS`, and `write_csv` for a file.

In the equations e_t is standard normal noise, all of one seed, and t counts from 0. Where the conditional mean of the
next value is known, `best` has it: what no forecast can do better than.
"""

from collections.abc import Callable
from os import PathLike
from typing import NamedTuple

import numpy as np
import pandas as pd


class Made(NamedTuple):
    """A made-up series.

    Attributes:
        values: `[N]` float64, NaN where missing.
        step: the regular step, an offset alias of pandas.
        best: `[N]` float64, the expectation of each value given all that the generator knows before it; None: unknown.
    """

    values: np.ndarray
    step: str
    best: np.ndarray | None


def white_noise(rows: int, seed: int) -> Made:
    """v_t = e_t, daily: nothing to learn."""
    return Made(_noise(rows, seed), "1D", np.zeros(rows))


def random_walk(rows: int, seed: int) -> Made:
    """v_t = v_{t-1} + e_t, daily: persistence is the best."""
    values = np.cumsum(_noise(rows, seed))
    return Made(values, "1D", _before(values))


def autoregression(rows: int, seed: int) -> Made:
    """v_t = 1.6 v_{t-1} - 0.8 v_{t-2} + e_t, daily: cycles of about 14 days."""
    return _run(rows, seed, "1D", lambda v, u, e: 1.6 * v - 0.8 * u)


def monthly_growth(rows: int, seed: int) -> Made:
    """log v_t = 5 + 0.008 t + 0.2 sin(2 pi t / 12) + 0.1 cos(4 pi t / 12) + u_t, u_t = 0.8 u_{t-1} + 0.04 e_t."""
    t = np.arange(rows)
    log_mean = 5 + 0.008 * t + 0.2 * np.sin(2 * np.pi * t / 12) + 0.1 * np.cos(4 * np.pi * t / 12)
    return _log_normal(log_mean, 0.8, 0.04, seed, "1MS")


def daily_weekly(rows: int, seed: int) -> Made:
    """v_t = weekday_t + 10 sin(2 pi t / 365.25) + u_t, u_t = 0.7 u_{t-1} + 3 e_t, daily, low at the weekend."""
    t = np.arange(rows)
    mean = np.array([70.0, 60.0, 100.0, 105.0, 104.0, 102.0, 110.0])[t % 7] + 10 * np.sin(2 * np.pi * t / 365.25)
    u = _memory(0.7, 3 * _noise(rows, seed))
    return Made(mean + u, "1D", mean + 0.7 * _before(u))


def hourly_load(rows: int, seed: int) -> Made:
    """v_t = 1000 day_t week_t exp(u_t), u_t = 0.9 u_{t-1} + 0.02 e_t: cycles of 24 and 168 hours that multiply."""
    t = np.arange(rows)
    day = 1 + 0.3 * np.sin(2 * np.pi * (t - 9) / 24) + 0.1 * np.sin(4 * np.pi * (t - 4) / 24)
    week = np.where(t // 24 % 7 < 2, 0.75, 1.0)
    return _log_normal(np.log(1000 * day * week), 0.9, 0.02, seed, "1h")


def threshold_autoregression(rows: int, seed: int) -> Made:
    """v_t = 0.8 v_{t-1} + d + 0.4 e_t, d = 1 where v_{t-2} <= 0, else -1: a cycle that drives itself, hourly."""
    return _run(rows, seed, "1h", lambda v, u, e: 0.8 * v + (1.0 if u <= 0 else -1.0), 0.4)


def chaos(rows: int, seed: int) -> Made:
    """v_t = 3.7 v_{t-1} (1 - v_{t-1}) + w_t, w_t uniform in +-0.03, v_{-1} = 0.4: chaos that stays within (0, 1)."""
    best, values, value = np.empty(rows), np.empty(rows), 0.4
    for t, shock in enumerate(np.random.default_rng(seed).uniform(-0.03, 0.03, rows).tolist()):
        best[t] = 3.7 * value * (1 - value)
        value = float(best[t]) + shock
        values[t] = value
    return Made(values, "1h", best)


def bilinear(rows: int, seed: int) -> Made:
    """v_t = 0.6 e_{t-1} v_{t-2} + e_t, hourly: uncorrelated, so that no linear model sees the mean that it has."""
    return _run(rows, seed, "1h", lambda v, u, e: 0.6 * e * u)


def garch(rows: int, seed: int) -> Made:
    """v_t = s_t e_t, s_t^2 = 0.05 + 0.1 v_{t-1}^2 + 0.85 s_{t-1}^2, from s_0 = 1: calm and wild days, of mean zero."""
    values, variance = np.empty(rows), 1.0
    for t, e in enumerate(_noise(rows, seed).tolist()):
        values[t] = value = variance**0.5 * e
        variance = 0.05 + 0.1 * value**2 + 0.85 * variance
    return Made(values, "1D", np.zeros(rows))


def intermittent_counts(rows: int, seed: int) -> Made:
    """v_t = 1 + Poisson(2) with probability p_t, else 0, daily; p_t = 0.35, at the weekend 0.05."""
    rng = np.random.default_rng(seed)
    chance = np.where(np.arange(rows) % 7 < 2, 0.05, 0.35)
    sold = rng.random(rows) < chance
    return Made(np.where(sold, 1.0 + rng.poisson(2.0, rows), 0.0), "1D", 3 * chance)


def with_holes(rows: int, seed: int) -> Made:
    """v_t = 15 + 5 sin(2 pi t / 24) + u_t, u_t = 0.9 u_{t-1} + 0.5 e_t, hourly, 5 % missing; `best` knows them."""
    mean = 15 + 5 * np.sin(2 * np.pi * np.arange(rows) / 24)
    u = _memory(0.9, 0.5 * _noise(rows, seed))
    missing = np.random.default_rng((seed, 1)).random(rows) < 0.05
    return Made(np.where(missing, np.nan, mean + u), "1h", mean + 0.9 * _before(u))


def level_shifts(rows: int, seed: int) -> Made:
    """v_t = level_t + 0.5 e_t, daily; one day in 200 the level moves by 5 times a standard normal number."""
    rng = np.random.default_rng((seed, 1))
    level = np.cumsum(np.where(rng.random(rows) < 1 / 200, 5 * rng.standard_normal(rows), 0.0))
    return Made(level + 0.5 * _noise(rows, seed), "1D", _before(level))


KINDS: dict[str, Callable[[int, int], Made]] = {
    made.__name__: made
    for made in (
        white_noise, random_walk, autoregression, monthly_growth, daily_weekly, hourly_load, threshold_autoregression,
        chaos, bilinear, garch, intermittent_counts, with_holes, level_shifts,
    )
}  # fmt: skip
"""By name, what makes so many rows of a seed; the same for the same arguments."""


def write_csv(kind: str, rows: int, seed: int, path: str | PathLike[str]) -> None:
    """Writes a series with its times from 2000-01-01 on, in the columns `time,value`; a missing value is left empty.

    Args:
        kind: one of `KINDS`.
        rows: N, at least 1; pandas has times until 2262, which are 3,100 months.
        seed: of the noise.
        path: the file, which is overwritten.

    Raises:
        KeyError: no such kind.
        OSError: a file that cannot be written.
    """
    values, step, _ = KINDS[kind](rows, seed)
    times = pd.date_range("2000-01-01", periods=rows, freq=step)
    pd.DataFrame({"time": times, "value": values}).to_csv(path, index=False)


def _noise(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(rows)


def _before(values: np.ndarray) -> np.ndarray:
    """The value before each, 0 before the first: `[N]` to `[N]`."""
    return np.append(0.0, values[:-1])


def _memory(keep: float, shocks: np.ndarray) -> np.ndarray:
    """u_t = keep u_{t-1} + shock_t from 0: `[N]` to `[N]`."""
    values, value = np.empty(len(shocks)), 0.0
    for t, shock in enumerate(shocks.tolist()):
        values[t] = value = keep * value + shock
    return values


def _log_normal(log_mean: np.ndarray, keep: float, deviation: float, seed: int, step: str) -> Made:
    """exp(log_mean_t + u_t), u_t = keep u_{t-1} + deviation e_t; the mean of exp(u) is above exp of the mean."""
    u = _memory(keep, deviation * _noise(len(log_mean), seed))
    return Made(np.exp(log_mean + u), step, np.exp(log_mean + keep * _before(u) + deviation**2 / 2))


def _run(rows: int, seed: int, step: str, mean: Callable[[float, float, float], float], deviation: float = 1.0) -> Made:
    """v_t = mean(v_{t-1}, v_{t-2}, e_{t-1}) + deviation e_t from zeros."""
    values, best, v, u, before = np.empty(rows), np.empty(rows), 0.0, 0.0, 0.0
    for t, e in enumerate(_noise(rows, seed).tolist()):
        best[t] = expected = mean(v, u, before)
        values[t] = value = expected + deviation * e
        v, u, before = value, v, e
    return Made(values, step, best)
