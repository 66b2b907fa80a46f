"""Measures, in float64, of forecasts that say how sure they are: intervals, quantiles, normal distributions.

The scores are those of `scoringrules`, imported when they are used, and proper: nothing but the true distribution has a
better mean (Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation", 2007). Lower is better.
Targets that are NaN were not measured and are left out; a forecast that is NaN at a measured target is an error.
"""

import numpy as np
from numpy.typing import ArrayLike

from rnn_jax.extras import need
from rnn_jax.forecast_metrics import measured


def interval_measures(targets: ArrayLike, lower: ArrayLike, upper: ArrayLike, level: float) -> dict[str, float]:
    """How often an interval holds the target, and how wide it is, over the measured entries.

        coverage       = share of l <= y <= u, to be compared with the level
        width          = mean (u - l)
        interval_score = mean (u - l) + 2 / (1 - level) (max(l - y, 0) + max(y - u, 0))

    Args:
        targets: y, any shape, NaN where not measured.
        lower: l, the same shape.
        upper: u, the same shape, nowhere below l.
        level: of the interval, between 0 and 1.

    Returns:
        The three by name.

    Raises:
        ValueError: shapes that differ, with the shapes, no measured target, bounds that are NaN at one or that cross,
            or a level that is not between 0 and 1.

    Example:

        >>> found = interval_measures([1.0, 2.0, 4.0, np.nan], np.zeros(4), np.full(4, 3.0), level=0.8)
        >>> f"{found['coverage']:.3f} {found['width']:.3f} {found['interval_score']:.3f}"
        '0.667 3.000 6.333'
    """
    y, low, high = measured(targets, lower=lower, upper=upper)
    if not 0 < level < 1:
        raise ValueError(f"level={level}: must be between 0 and 1")
    if crossed := int(np.sum(low > high)):
        raise ValueError(f"lower is above upper at {crossed} of {len(y)} measured targets of {np.shape(lower)}")
    need(__name__, "scoringrules")
    from scoringrules import interval_score

    scores = interval_score(y, low, high, 1 - level, backend="numpy")
    return {
        "coverage": float(np.mean((low <= y) & (y <= high))),
        "width": float(np.mean(high - low)),
        "interval_score": float(np.mean(scores)),
    }


def quantile_measures(targets: ArrayLike, quantiles: ArrayLike, levels: ArrayLike) -> dict[str, float]:
    """Pinball loss of predicted quantiles, and the continuous ranked probability score that follows from it.

        pinball = mean over entries and levels of max(a (y - q_a), (a - 1) (y - q_a))
        crps    = 2 pinball

    The second approximates the integral over all levels (Berrisch and Ziel, "CRPS learning", 2023): the better, the
    more levels there are and the more evenly they lie between 0 and 1.

    Args:
        targets: y, `[...]`, NaN where not measured.
        quantiles: q, `[..., Q]`.
        levels: a, `[Q]`, each between 0 and 1.

    Returns:
        The two by name.

    Raises:
        ValueError: shapes that do not fit, with the shapes, no measured target, quantiles that are NaN at one, or
            levels that are not between 0 and 1.

    Example:

        >>> found = quantile_measures([2.0, np.nan], [[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]], levels=[0.25, 0.5, 0.75])
        >>> found
        {'crps': 0.5, 'pinball': 0.25}
    """
    a, q = np.asarray(levels, np.float64), np.asarray(quantiles, np.float64)
    y = np.asarray(targets, np.float64)
    if a.ndim != 1 or not a.size or q.shape != y.shape + a.shape:
        raise ValueError(f"quantiles must be [..., Q] for targets {y.shape} and levels {a.shape}, got {q.shape}")
    if not np.all((a > 0) & (a < 1)):
        raise ValueError(f"levels must be between 0 and 1, got {a.tolist()}")
    columns = {f"quantiles of level {level:g}": q[..., i] for i, level in enumerate(a)}
    chosen, *each = measured(y, **columns)
    need(__name__, "scoringrules")
    from scoringrules import crps_quantile, quantile_score

    predicted = np.stack(each, axis=-1)
    return {
        "crps": float(np.mean(crps_quantile(chosen, predicted, a, backend="numpy"))),
        "pinball": float(np.mean(quantile_score(chosen[:, None], predicted, a, backend="numpy"))),
    }


def gaussian_measures(targets: ArrayLike, mean: ArrayLike, std: ArrayLike) -> dict[str, float]:
    """Scores of normal distributions, over the measured entries; w = (y - mean) / std.

        crps      = mean std (w (2 Phi(w) - 1) + 2 phi(w) - 1 / sqrt(pi))
        log_score = mean w^2 / 2 + log(std sqrt(2 pi))

    Phi is the distribution function and phi the density of the standard normal distribution. The first, the continuous
    ranked probability score, has the unit of the targets and is their absolute error where std goes to 0; the second,
    the negative log-likelihood, grows with the square of the error.

    Args:
        targets: y, any shape, NaN where not measured.
        mean: the same shape.
        std: the same shape, above 0.

    Returns:
        The two by name.

    Raises:
        ValueError: shapes that differ, with the shapes, no measured target, or at one a mean or std that is NaN or a
            std that is not above 0.

    Example:

        >>> found = gaussian_measures([0.0, np.nan], mean=[0.0, 0.0], std=[1.0, 1.0])
        >>> f"{found['crps']:.4f} {found['log_score']:.4f}"
        '0.2337 0.9189'
    """
    y, mu, sigma = measured(targets, mean=mean, std=std)
    if not np.all(sigma > 0):
        raise ValueError(f"std {np.shape(std)} must be above 0, got {np.min(sigma)}")
    need(__name__, "scoringrules")
    from scoringrules import crps_normal

    # The package takes the logarithm of a density, which is 0 in float64 from 39 std on.
    log_scores = ((y - mu) / sigma) ** 2 / 2 + np.log(sigma) + np.log(2 * np.pi) / 2
    return {"crps": float(np.mean(crps_normal(y, mu, sigma, backend="numpy"))), "log_score": float(np.mean(log_scores))}
