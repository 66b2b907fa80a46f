"""Measures of predictions against targets."""

import numpy as np
from numpy.typing import ArrayLike


def regression(targets: ArrayLike, predictions: ArrayLike, persistence: ArrayLike) -> dict[str, float]:
    """Measures of a forecast over all entries, computed in float64.

        mse   = mean (y - p)^2
        mae   = mean |y - p|
        rmse  = sqrt(mse)
        r2    = 1 - mse / mean (y - mean y)^2
        skill = 1 - mse / mse of persistence

    Args:
        targets: y, any shape.
        predictions: p, the same shape.
        persistence: predictions of "as the last value", the same shape.

    Returns:
        The five by name. Where the targets are constant r2, and where persistence is perfect skill, is -inf, or NaN if
        the predictions are perfect too.

    Raises:
        ValueError: shapes that differ, with the shapes, or no entries.

    Example:

        >>> measures = regression([11.18, 11.66, 8.97], [-0.33, -0.61, 1.35], persistence=[11.0, 11.18, 11.66])
        >>> f"{measures['mse']:.2f} {measures['mae']:.3f} {measures['r2']:.2f}"
        '113.70 10.467 -81.85'
    """
    y, p, last = (np.asarray(a, dtype=np.float64) for a in (targets, predictions, persistence))
    if not y.shape == p.shape == last.shape:
        raise ValueError(f"targets {y.shape}, predictions {p.shape} and persistence {last.shape} must have one shape")
    if not y.size:
        raise ValueError(f"no targets to measure: shape {y.shape}")
    with np.errstate(all="ignore"):  # a run that diverged is reported as inf or NaN, not as a warning
        mse = np.mean((y - p) ** 2)
        measures = {
            "mse": mse,
            "mae": np.mean(np.abs(y - p)),
            "rmse": np.sqrt(mse),
            "r2": 1 - mse / np.mean((y - np.mean(y)) ** 2),
            "skill": 1 - mse / np.mean((y - last) ** 2),
        }
    return {name: float(value) for name, value in measures.items()}
