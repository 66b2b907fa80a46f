"""Work and depth of an iteration, and the time that a GPU would take, by its bandwidth and latency.

An iteration of Newton's method on one sequence with N numbers in its carry, in float32:

    work     2 T joins of (N x N) products: 2 T (2 N^3 + 2 N^2) operations; the scan's is of order T N^2
    bytes    each join reads two matrices and vectors and writes one; the Jacobians are written once:
             4 (2 * 3 + 1) T (N^2 + N)
    depth    2 log2 T rounds of joins, and about 10 operations around them; the scan's is T steps

    seconds of an iteration = bytes / bandwidth + depth * latency
    seconds of the scan     = T * 2 * latency               a product and what follows it, whose weights stay on chip

Newton's method pays where it takes fewer iterations than the quotient. B sequences share the depth and multiply the
bytes. It is a model, of no machine that was measured: products of small matrices are taken to be bound by memory.
"""

import math
from typing import NamedTuple

AROUND = 10
"""Operations of an iteration besides the rounds of joins."""


class Cost(NamedTuple):
    """Of one iteration; `pays_below`: as many iterations take as long as the scan."""

    work: int
    bytes: int
    depth: int
    seconds: float
    scan_seconds: float
    pays_below: float


def cost(length: int, size: int, bandwidth: float, latency: float) -> Cost:
    """The cost of an iteration over `length` steps with `size` numbers in the carry.

    Args:
        length: T.
        size: N.
        bandwidth: bytes per second.
        latency: seconds.

    >>> cost(1024, 16, 3e12, 5e-6).depth
    30
    """
    joins = 2 * length
    moved = 4 * (3 * joins + length) * (size**2 + size)
    depth = 2 * math.ceil(math.log2(length)) + AROUND
    seconds, scan = moved / bandwidth + depth * latency, 2 * length * latency
    return Cost(joins * (2 * size**3 + 2 * size**2), moved, depth, seconds, scan, scan / seconds)
