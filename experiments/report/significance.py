"""Whether two rows of figures differ by more than their seeds do.

Paired by seed where both rows have two or more of the same keys: d = x - y of each, and with n of them

    t = mean(d) / (std(d) / sqrt(n)),  n - 1 degrees of freedom

A fixed value, as of a baseline that has no seeds, pairs with every seed. Without shared keys Welch's test:

    t = (mean(x) - mean(y)) / sqrt(u + v),  u = var(x) / n,  v = var(y) / m,
    (u + v)^2 / (u^2 / (n - 1) + v^2 / (m - 1)) degrees of freedom

Of several p-values Holm's are reported: with m of them ascending, max over j <= i of min(1, (m - j + 1) p_j), which
keeps the chance of even one false alarm below the level (Holm, 1979, A simple sequentially rejective multiple test
procedure). Rank tests are not used: three pairs cannot bring Wilcoxon's p below 0.25.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

FIXED = "fixed"
"""The only key of a row that is one value whatever the seed."""
ROUNDING = 1e-7
"""A standard error below this share of the figures is that of float32, and no spread to test with."""
LEVEL = 0.95
"""Of the intervals of differences."""

Figures = Mapping[Hashable, float]
"""A metric by what is shared between rows: the seed, and flags over which a row is pooled."""


class Comparison(NamedTuple):
    """A row against another.

    Attributes:
        difference: of the means, this row's less the other's; of shared keys alone where the test is paired.
        low, high: ends of its interval of `LEVEL`; None without a test.
        p: two-sided, not corrected; None without a test.
        test: its name and n, or why there is none.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None
    test: str


def compare(ours: Figures, theirs: Figures) -> Comparison:
    """One row against another, both with one figure at least.

    >>> found = compare({0: 1.0, 1: 2.0, 2: 4.0}, {0: 0.5, 1: 1.0, 2: 2.0})
    >>> round(found.difference, 3), round(found.p, 3), found.test
    (1.167, 0.118, 'paired t, n = 3')
    >>> compare({0: 1.0}, {0: 2.0}).test
    'n = 1, no test'
    """
    x, y = (np.array(list(each.values()), np.float64) for each in (ours, theirs))
    fixed = [FIXED in each for each in (ours, theirs)]
    shared = [key for key in ours if key in theirs]
    mean = float(x.mean() - y.mean())
    if all(fixed):
        return Comparison(mean, None, None, None, "fixed values, no test")
    if any(fixed):
        return _of_pairs(x, y, "t against a fixed value")
    if len(shared) > 1:
        pairs = np.array([(ours[key], theirs[key]) for key in shared])
        return _of_pairs(pairs[:, 0], pairs[:, 1], "paired t")
    if min(len(x), len(y)) < 2:
        return Comparison(mean, None, None, None, "n = 1, no test")
    u, v = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
    if _is_rounding(math.sqrt(u + v), x, y):
        return Comparison(mean, None, None, None, "no spread, no test")
    degrees = (u + v) ** 2 / (u**2 / (len(x) - 1) + v**2 / (len(y) - 1))
    return _by_t(mean, math.sqrt(u + v), degrees, f"Welch's t, n = {len(x)} and {len(y)}")


def _of_pairs(x: np.ndarray, y: np.ndarray, test: str) -> Comparison:
    """Of rows of one length, or one of them a single value."""
    differences = x - y
    n, mean = len(differences), float(differences.mean())
    if n < 2:
        return Comparison(mean, None, None, None, "n = 1, no test")
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    if _is_rounding(error, x, y):
        return Comparison(mean, None, None, None, f"no spread, no test, n = {n}")
    return _by_t(mean, error, n - 1, f"{test}, n = {n}")


def _is_rounding(error: float, x: np.ndarray, y: np.ndarray) -> bool:
    return error <= ROUNDING * max(np.abs(x).max(), np.abs(y).max())


def _by_t(mean: float, error: float, degrees: float, test: str) -> Comparison:
    from scipy.special import stdtr, stdtrit  # of Student's t: the distribution and its quantiles

    p = 2 * float(stdtr(degrees, -abs(mean / error)))
    reach = float(stdtrit(degrees, (1 + LEVEL) / 2)) * error
    return Comparison(mean, mean - reach, mean + reach, p, test)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p-values, in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected
