"""Measures, in float64, of forecasts of several steps and targets, some of which were not measured."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from rnn_jax.extras import need
from rnn_jax.metrics import regression


def measured(targets: ArrayLike, **others: ArrayLike) -> tuple[np.ndarray, ...]:
    """The entries at which there is a target, of all arrays: each `[E]` float64, targets first.

    Args:
        targets: any shape, NaN where nothing was measured.
        others: by the name that a message gives, each of the same shape.

    Raises:
        ValueError: shapes that differ, with the shapes, no measured target, or NaN elsewhere at a measured target.

    Example:

        >>> measured([1.0, np.nan, 3.0], predictions=[1.5, 2.5, 2.5])
        (array([1., 3.]), array([1.5, 2.5]))
    """
    arrays = {name: np.asarray(values, np.float64) for name, values in {"targets": targets, **others}.items()}
    if len({values.shape for values in arrays.values()}) > 1:
        shapes = ", ".join(f"{name} {values.shape}" for name, values in arrays.items())
        raise ValueError(f"{shapes} must have one shape")
    known = ~np.isnan(arrays["targets"])
    if not known.any():
        raise ValueError(f"no targets to measure: shape {known.shape}, {known.size} missing")
    chosen = {name: values[known] for name, values in arrays.items()}
    for name, values in chosen.items():
        if missing := int(np.isnan(values).sum()):
            raise ValueError(f"{name} {known.shape} are NaN at {missing} of {len(values)} measured targets")
    return tuple(chosen.values())


def forecast_measures(
    targets: ArrayLike, predictions: ArrayLike, persistence: ArrayLike, scale: ArrayLike | None = None
) -> dict[str, float]:
    """Measures over all entries that were measured, computed in float64.

        mse, mae, rmse, r2, skill = as `rnn_jax.metrics.regression`, over the measured entries
        mase                      = mean |y - p| / scale

    The last is the mean absolute scaled error (Hyndman and Koehler, "Another look at measures of forecast accuracy",
    2006). It has no unit: unlike the others it means something over targets of different units.

    Args:
        targets: y, `[W, A, M]`, NaN where not measured: windows, steps ahead, targets.
        predictions: p, the same shape.
        persistence: predictions of "as the last value", the same shape.
        scale: `[M]`, of `naive_scale`, or `[W, M]` where windows come from several series; without it no mase.

    Returns:
        Name to value, in the limits as `regression` has them.

    Raises:
        ValueError: as `measured` does, shapes that are not `[W, A, M]`, or a scale of another shape or not above 0.

    Example:

        >>> y = np.array([11.0, np.nan, 9.0]).reshape(1, 3, 1)
        >>> measures = forecast_measures(y, np.full_like(y, 10.0), np.full_like(y, 12.0), scale=[4.0])
        >>> measures["mae"], measures["skill"], measures["mase"]
        (1.0, 0.8, 0.25)
    """
    every = np.asarray(targets, np.float64)
    if every.ndim != 3:
        raise ValueError(f"targets must be [W, A, M], got {every.shape}")
    y, p, last = measured(targets, predictions=predictions, persistence=persistence)
    measures = regression(y, p, last)
    if scale is not None:
        measures["mase"] = float(np.mean(np.abs(y - p) / _scales(scale, every.shape)[~np.isnan(every)]))
    return measures


def _scales(scale: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    divisor = np.asarray(scale, np.float64)
    if divisor.shape not in (shape[2:], (shape[0], shape[2])):
        raise ValueError(f"scale must be [M] = {shape[2:]} or [W, M] = {(shape[0], shape[2])}, got {divisor.shape}")
    if not np.all(divisor > 0):
        raise ValueError(f"scale {divisor.shape} must be above 0, got {np.min(divisor)}")
    return np.broadcast_to(divisor[..., None, :], shape)


def by_step(
    targets: ArrayLike, predictions: ArrayLike, persistence: ArrayLike, scale: ArrayLike | None, steps: Sequence[int]
) -> dict[str, list[float]]:
    """Each measure of `forecast_measures` at each of some steps ahead.

    Targets, predictions, persistence and scale are as there, and so is what raises `ValueError`; steps do outside of
    1..A. A measure has one value for each step, NaN where nothing was measured at that step.

    Example:

        >>> y = np.array([[1.0, 2.0], [3.0, 4.0]])[:, :, None]
        >>> by_step(y, y + [[1.0], [2.0]], y + 4, scale=None, steps=[1, 2])["mse"]
        [1.0, 4.0]
    """
    names = forecast_measures(targets, predictions, persistence, scale)  # which also says what does not fit
    arrays = [np.asarray(values, np.float64) for values in (targets, predictions, persistence)]
    num_steps = arrays[0].shape[1]
    if not all(1 <= step <= num_steps for step in steps):
        raise ValueError(f"steps must lie in 1..{num_steps} of targets {arrays[0].shape}, got {list(steps)}")
    nothing = dict.fromkeys(names, math.nan)
    found = []
    for step in steps:
        y, p, last = (values[:, step - 1 : step] for values in arrays)
        found.append(nothing if np.isnan(y).all() else forecast_measures(y, p, last, scale))
    return {name: [measures[name] for measures in found] for name in names}


def naive_scale(values: ArrayLike, season: int, breaks: ArrayLike | None = None) -> np.ndarray:
    """How far a series moves in a season, the divisor of mase: mean |v_t - v_{t-season}|, `[M]` float64.

    Over the pairs that were both measured, with no break between them. A target without any takes those of season 1;
    1 stands where there are none either, or where nothing moves.

    Args:
        values: v, `[N, M]`, the training rows, NaN where not measured. `ValueError`: another shape.
        season: rows of a cycle. `ValueError`: below 1.
        breaks: `[N]` bool, True where row t does not follow row t-1. `ValueError`: another shape.

    Example:

        >>> naive_scale([[1.0, 5.0], [2.0, np.nan], [4.0, 5.0], [7.0, 5.0]], season=2)
        array([4., 1.])
    """
    v = np.asarray(values, np.float64)
    if v.ndim != 2:
        raise ValueError(f"values must be [N, M], got {v.shape}")
    if season < 1:
        raise ValueError(f"season={season}: must be at least 1")
    stretch = np.cumsum(np.zeros(len(v), bool) if breaks is None else np.asarray(breaks, bool))
    if stretch.shape != v.shape[:1]:
        raise ValueError(f"breaks must be [N] = {v.shape[:1]}, got {stretch.shape}")
    scale = np.full(v.shape[1], np.nan)
    for rows in (season, 1):
        moves = np.abs(v[rows:] - v[:-rows])[stretch[rows:] == stretch[:-rows]]
        pairs = np.sum(~np.isnan(moves), axis=0)
        scale = np.where(np.isnan(scale) & (pairs > 0), np.nansum(moves, axis=0) / np.maximum(pairs, 1), scale)
    return np.where(scale > 0, scale, 1.0)


def diebold_mariano(errors_a: ArrayLike, errors_b: ArrayLike, ahead: int) -> tuple[float, float]:
    """Whether two forecasts of the same targets differ in mean squared error: a statistic and a two-sided p-value.

        d_t = a_t^2 - b_t^2,  statistic = c mean(d) / sqrt(V / W),  p = P(|t_{W-1}| >= |statistic|)

    Diebold and Mariano, "Comparing predictive accuracy", 1995, with the factor c for small samples of Harvey, Leybourne
    and Newbold, 1997, by the package `dieboldmariano`. Below 0 means that the first forecast is the better one.

    V sums the autocovariances of d up to lag ahead - 1, as errors of overlapping forecasts depend on each other. The
    plain sum is right for many windows; for few it may come out near 0 or below, and then finds differences that are
    none. Under Bartlett's weights it is never negative, but too small however many windows there are. So the plain sum
    is taken from W >= 10 ahead on, the weights for fewer windows or where the sum is negative. Equally good forecasts
    (2,000 draws, ahead = 24) had p < 0.05, plain and weighted, in 14 % and 9 % for W = 100, 6 % and 10 % for W = 1,000.

    Args:
        errors_a, errors_b: `[W]`, in the order of time; a pair with a NaN is left out, and lags are then counted in
            the pairs that are left.
        ahead: steps between the last value known and the target, at least 1.

    Returns:
        Both; (0, 1) for errors that are equal in square, and (+-inf, 0) for a difference that never varies.

    Raises:
        ValueError: shapes that differ or are not `[W]`, with the shapes, ahead below 1, or no more pairs than that.

    Example:

        >>> statistic, p = diebold_mariano([1.0, -1.0, 2.0, 0.5], [2.0, 2.0, -2.0, 1.5], ahead=1)
        >>> f"{statistic:.3f} {p:.3f}"
        '-2.828 0.066'
    """
    a, b = np.asarray(errors_a, np.float64), np.asarray(errors_b, np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"errors_a {a.shape} and errors_b {b.shape} must have one shape [W]")
    known = ~np.isnan(a + b)
    if not 1 <= ahead < known.sum():
        raise ValueError(f"ahead={ahead}: must be at least 1 and below the {known.sum()} measured pairs of {a.shape}")
    a, b = a[known], b[known]
    need(__name__, "dieboldmariano")
    from dieboldmariano import NegativeVarianceException, ZeroVarianceException, dm_test

    for variance in ("acf", "bartlett") if len(a) >= 10 * ahead else ("bartlett",):
        try:
            statistic, p = dm_test([0.0] * len(a), a.tolist(), b.tolist(), h=ahead, variance_estimator=variance)
            return float(statistic), float(p)
        except NegativeVarianceException:
            continue
        except ZeroVarianceException:
            break
    difference = float(np.mean(a**2 - b**2))
    return (math.copysign(math.inf, difference), 0.0) if difference else (0.0, 1.0)
