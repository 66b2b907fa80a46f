"""Intervals around any forecast, from the errors that it made before: split conformal prediction, in float64.

If errors seen and to come are exchangeable, an interval of level L holds the target with probability at least L,
whatever the forecast and the distribution (Vovk, Gammerman and Shafer, "Algorithmic learning in a random world", 2005;
Lei et al., "Distribution-free predictive inference for regression", 2018). `ValueError`s name the shapes.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def conformal_radius(residuals: ArrayLike, level: float) -> np.ndarray:
    """Half the width of an interval around a forecast, for each step ahead and target: `[A, M]`.

        radius = the k-th smallest of |residual|,  k = ceil((n + 1) level),  n measured residuals

    Where n is so small that k > n, only an infinite radius would keep the promise: the largest residual is taken
    instead, which holds a target with probability n / (n + 1). Where nothing was measured, the radius is NaN.

    Args:
        residuals: `[W, A, M]`, of forecasts that the model was not trained on, NaN where not measured; or the scores
            of `conformal_scores`, and the radius is then a factor of the spread.
        level: share of the targets that the interval is to hold. One outside of 0..1, or another shape, raises
            `ValueError`.

    Example:

        >>> conformal_radius(np.array([0.1, -0.4, 0.2, np.nan, -0.3]).reshape(5, 1, 1), level=0.6)
        array([[0.3]])
    """
    errors = _checked(residuals, level)
    radius = np.empty(errors.shape[1:])
    for place in np.ndindex(*radius.shape):
        column = errors[:, *place]
        radius[place] = _radius(np.sort(column[~np.isnan(column)]), level)
    return radius


def conformal_scores(residuals: ArrayLike, spread: ArrayLike) -> np.ndarray:
    """|residual| / spread, `[W, A, M]`: errors in units of what was to be expected in that state.

    A spread that is known at the origin, such as the standard deviation of the changes in the window read, makes
    intervals that are wide in restless times: `conformal_radius(conformal_scores(r, spread), level) * later_spread`
    (Lei et al., section 5.2). Residuals are NaN where not measured. Shapes that differ or are not `[W, A, M]`, and a
    spread that is not above 0 where there is a residual, raise `ValueError`.

        >>> conformal_scores([[[-3.0]], [[np.nan]]], [[[2.0]], [[0.0]]]).ravel()
        array([1.5, nan])
    """
    errors, expected = np.abs(np.asarray(residuals, np.float64)), np.asarray(spread, np.float64)
    if errors.shape != expected.shape or errors.ndim != 3:
        raise ValueError(f"residuals {errors.shape} and spread {expected.shape} must have one shape [W, A, M]")
    known = ~np.isnan(errors)
    if not np.all(expected[known] > 0):
        raise ValueError(f"spread {expected.shape} must be above 0 where there is a residual")
    return np.divide(errors, expected, out=np.full(errors.shape, np.nan), where=known)


def rolling_conformal(
    residuals_validation: ArrayLike, residuals_test: ArrayLike, level: float, window: int, *,
    origins_validation: ArrayLike, origins_test: ArrayLike,
) -> np.ndarray:  # fmt: skip
    """The radius at each origin of the test, `[W, A, M]`, from the latest residuals known there: for drifting series.

    A forecast h steps ahead from origin o, the last row read, is of row o + h, so that its residual is known from row
    o + h on. Of those measured and known the last `window` are taken, and the radius is that of `conformal_radius`.

    Args:
        residuals_validation, residuals_test: `[V, A, M]` and `[W, A, M]`, NaN where not measured; or scores, as there.
        level: as there.
        window: residuals taken, at least 1; fewer as long as no more are known.
        origins_validation, origins_test: `[V]` and `[W]` row numbers of one series; all V + W ascend. These that do
            not, shapes that do not fit, and a level or window outside its range raise `ValueError`.

    Example:

        >>> old, new = [[[1.0]], [[2.0]]], [[[5.0]], [[9.0]]]
        >>> rolling_conformal(old, new, level=0.9, window=2, origins_validation=[0, 1], origins_test=[2, 3]).ravel()
        array([2., 5.])
    """
    old, new = _checked(residuals_validation, level), _checked(residuals_test, level)
    before, asked = np.asarray(origins_validation), np.asarray(origins_test)
    if old.shape[1:] != new.shape[1:] or before.shape != old.shape[:1] or asked.shape != new.shape[:1]:
        raise ValueError(f"residuals {old.shape}, {new.shape} and origins {before.shape}, {asked.shape} do not fit")
    origins, errors, radius = np.concatenate([before, asked]), np.concatenate([old, new]), np.empty(new.shape)
    if not np.all(np.diff(origins) > 0):
        raise ValueError(f"origins {origins.shape} must ascend from the first of validation to the last of test")
    if window < 1:
        raise ValueError(f"window={window}: must be at least 1")
    for step, target in np.ndindex(*new.shape[1:]):
        measured = ~np.isnan(errors[:, step, target])
        known, taken = errors[measured, step, target].tolist(), 0
        counts = np.searchsorted(origins[measured] + step + 1, asked, side="right")  # of residuals known at an origin
        ordered: list[float] = []  # kept in order: sorting the window anew for every origin takes far longer
        for row, count in enumerate(counts.tolist()):
            for error in known[taken:count]:
                insort(ordered, error)
                if len(ordered) > window:
                    del ordered[bisect_left(ordered, known[taken - window])]
                taken += 1
            radius[row, step, target] = _radius(ordered, level)
    return radius


def _radius(ordered: Sequence[float] | np.ndarray, level: float) -> float:
    k = math.ceil((len(ordered) + 1) * level - 1e-9)  # as 100 * 0.55 is 55.00000000000001
    return ordered[min(k, len(ordered)) - 1] if len(ordered) else math.nan


def _checked(residuals: ArrayLike, level: float) -> np.ndarray:
    errors = np.abs(np.asarray(residuals, np.float64))
    if errors.ndim != 3:
        raise ValueError(f"residuals must be [W, A, M], got {errors.shape}")
    if not 0 < level < 1:
        raise ValueError(f"level={level}: must be between 0 and 1")
    return errors
