"""Made-up series: for runs without a download, and for tests."""

from os import PathLike

import numpy as np
import pandas as pd

from rnn_jax.data.errors import DataError
from rnn_jax.data.series.series import Series

HOURS_PER_YEAR = 24 * 365.25


def read(data_dir: str | PathLike[str], protocol: str, *, num_hours: int = 26_304) -> Series:
    """`hourly_temperature` of seed 0.

    Args:
        data_dir: not used: the series is made up.
        protocol: not used: its rows are in order.
        num_hours: by default three years.

    Returns:
        A `Series` of `num_hours` rows, F = 1.

    Raises:
        DataError: fewer than one hour.
    """
    return hourly_temperature(num_hours, seed=0)


def hourly_temperature(num_hours: int, seed: int) -> Series:
    """A synthetic temperature of a temperate climate, hourly from 2006-01-01 00:00 UTC; not a measurement.

    With hour t, AR(tau) a Gaussian AR(1) process that forgets in tau hours, AR(tau, tau') the AR(2) process that
    passes through two such memories, both of unit variance in the long run and from rest, and the cloud cover
    k_t = sigmoid(1.5 AR(96)):

        season_t  = -cos(2 pi (t - 15 days) / year)
        daily_t   = (1 - 0.8 k_t) (4 + 2.5 season_t) cos(2 pi (t - 14) / 24)
        weather_t = 3.5 AR(48, 8) + (0.2 + 0.8 k_t) AR(6)
        value_t   = 11 + 11 season_t + daily_t + weather_t + 0.2 noise_t

    The cycles and the AR(2) make a linear autoregression clearly better than persistence. Daily amplitude and variance
    hang on the cloud cover, which has to be inferred: that leaves something to a nonlinear model.

    Args:
        num_hours: at least 1.
        seed: of the noise.

    Returns:
        A `Series` of `num_hours` rows, F = 1, named `synthetic`; the same for the same arguments.

    Raises:
        DataError: fewer than one hour.
    """
    _check_length("num_hours", num_hours)
    hours = np.arange(num_hours)
    rng = np.random.default_rng(seed)
    overcast = 1 / (1 + np.exp(-1.5 * _autoregressive(rng, num_hours, 96.0)))
    season = -np.cos(2 * np.pi * (hours - 15 * 24) / HOURS_PER_YEAR)
    daily = (1 - 0.8 * overcast) * (4 + 2.5 * season) * np.cos(2 * np.pi * (hours - 14) / 24)
    weather = 3.5 * _autoregressive(rng, num_hours, 48.0, 8.0)
    weather += (0.2 + 0.8 * overcast) * _autoregressive(rng, num_hours, 6.0)
    values = 11 + 11 * season + daily + weather + 0.2 * rng.standard_normal(num_hours)
    times = pd.date_range("2006-01-01", periods=num_hours, freq="h", tz="UTC")
    breaks = np.zeros(num_hours, dtype=bool)
    return Series("synthetic", values[:, None], ("synthetic temperature (C)",), times, breaks)


def noisy_sine_with_trend(num_steps: int, seed: int) -> np.ndarray:
    """A wave that rises: value_t = sin(2 pi t / 40) + 0.002 t + 0.25 noise_t.

    Args:
        num_steps: at least 1.
        seed: of the noise.

    Returns:
        `[num_steps]` float64, the same for the same arguments.

    Raises:
        DataError: fewer than one step.
    """
    _check_length("num_steps", num_steps)
    steps = np.arange(num_steps)
    noise = np.random.default_rng(seed).standard_normal(num_steps)
    return np.sin(2 * np.pi * steps / 40) + 0.002 * steps + 0.25 * noise


def _autoregressive(rng: np.random.Generator, length: int, tau: float, second_tau: float = 0.0) -> np.ndarray:
    """Noise through one memory, or two: `[length]`.

    x_t = a x_{t-1} + noise_t, y_t = b y_{t-1} + x_t with a = exp(-1 / tau) and b = exp(-1 / second_tau) or 0, divided
    by the stationary deviation of y, sqrt((1 + a b) / ((1 - a b) (1 - a^2) (1 - b^2))).
    """
    a, b = float(np.exp(-1 / tau)), float(np.exp(-1 / second_tau)) if second_tau else 0.0
    values, x, y = np.empty(length), 0.0, 0.0
    for t, noise in enumerate(rng.standard_normal(length).tolist()):
        x = a * x + noise
        y = b * y + x
        values[t] = y
    return values / np.sqrt((1 + a * b) / ((1 - a * b) * (1 - a**2) * (1 - b**2)))


def _check_length(name: str, length: int) -> None:
    if length < 1:
        raise DataError(f"{name}={length}: must be at least 1")
