"""What the largest Lyapunov exponents say, for `results.json` and tables."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from rnn_jax.diagnostics import entropy_rate, kaplan_yorke_dimension
from rnn_jax.types import Array


def attractor(exponents: Array, asked: int) -> dict[str, Any]:
    """The largest exponent, all of those given, Kaplan-Yorke dimension and entropy rate.

    Args:
        exponents: `[K]`, the largest, descending.
        asked: how many there would be of a larger carry. Where K is as many, and their sum is not negative, dimension
            and entropy are bounds from below, and `at_least` is true.
    """
    return {
        "lyapunov_exponent": float(exponents[0]),
        "lyapunov_exponents": [float(exponent) for exponent in exponents],
        "kaplan_yorke_dimension": float(kaplan_yorke_dimension(exponents)),
        "entropy_rate": float(entropy_rate(exponents)),
        "at_least": bool(jnp.sum(exponents) >= 0) and len(exponents) == asked,
    }


LEGEND = (
    "exponent: the largest Lyapunov exponent, nats per step; dimension: Kaplan and Yorke's, of the attractor;\n"
    "entropy: nats per step that it makes"
)
"""What the columns are."""
HEAD = ("exponent", "dimension", "entropy")
"""Of the columns of `cells`."""


def cells(row: Mapping[str, Any]) -> list[str]:
    """What a table says of an `attractor`, a column each.

    >>> cells(attractor(jnp.array([0.5, -1.0]), 2))
    ['+0.5000', '1.50', '0.5000']
    >>> cells(attractor(jnp.array([0.5, 0.25]), 2))
    ['+0.5000', '>= 2', '>= 0.7500']
    """
    dimension, entropy = row["kaplan_yorke_dimension"], row["entropy_rate"]
    if row["at_least"]:
        return [f"{row['lyapunov_exponent']:+.4f}", f">= {dimension:.0f}", f">= {entropy:.4f}"]
    return [f"{row['lyapunov_exponent']:+.4f}", f"{dimension:.2f}", f"{entropy:.4f}"]
