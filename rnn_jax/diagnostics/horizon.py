"""How far back a gradient reaches."""

import math

import numpy as np


def memory_horizon(log_norms: np.ndarray, factor: float = math.e) -> float:
    """The lag from which on the norm stays below its value at lag 0 divided by `factor`.

    Args:
        log_norms: `[T + 1]`, natural logarithms of norms by lag 0..T.
        factor: of the fall, above 1.

    Returns: the lag in steps; `inf` where the norm at the longest lag is still above.
    Raises: `ValueError` for a factor of 1 or less, or no norms.

        >>> memory_horizon(np.log([1.0, 0.5, 0.25, 0.125]), factor=3), memory_horizon(np.log([1.0, 0.9]))
        (2.0, inf)
    """
    values = np.asarray(log_norms, np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"log_norms must be [T + 1] with at least one entry, got shape {values.shape}")
    if not factor > 1:
        raise ValueError(f"factor must be above 1, got {factor}")
    above = np.flatnonzero(values >= values[0] - math.log(factor))
    return math.inf if above[-1] == values.size - 1 else float(above[-1] + 1)
