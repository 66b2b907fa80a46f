"""What the gates of a cell do: their values over a sequence, and how many of them are stuck open or shut."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.cell import Cell
from rnn_jax.types import Array, C, P, Projected

SIGNED = ("g", "n", "h")
"""Activations between -1 and 1, candidates and states; the others are gates between 0 and 1."""


def gate_activations(cell: Cell[P, C], params: P, carry: C, xs: Array) -> NamedTuple:
    """The activations of every step: a named tuple of `[T, *batch, H]`, its fields those of the cell's equations.

    Args:
        cell: a cell with `activations`.
        params: its parameters.
        carry: before the first step, arrays `[*batch, H]`.
        xs: inputs `[T, *batch, I]`.

    Raises: `ValueError` for a cell without `activations`.
    """
    activations = cell.activations
    if activations is None:
        raise ValueError(f"cell {cell.name!r} shows no activations")

    def body(carry: C, projected: Projected) -> tuple[C, NamedTuple]:
        return cell.recur(params, carry, projected)[0], activations(params, carry, projected)

    return jax.lax.scan(body, carry, cell.project(params, xs))[1]


def gate_statistics(activations: NamedTuple, low: float = 0.1, high: float = 0.9) -> dict[str, dict[str, float]]:
    """Of each activation its mean, standard deviation, and the shares that are saturated.

    Args:
        activations: of `gate_activations`, a named tuple of arrays of any shape.
        low: below it a gate is shut.
        high: above it a gate is open, and a candidate or a state, which may be negative, is saturated in modulus.

    Returns: by the activation's name `mean`, `std`, and the shares `shut` and `open`, or `saturated`.

    Source: Karpathy, Johnson and Fei-Fei, "Visualizing and understanding recurrent networks", 2016.
    """
    found = {}
    for name, values in activations._asdict().items():
        statistics = {"mean": values.mean(), "std": values.std()}
        if name in SIGNED:
            statistics["saturated"] = jnp.mean(jnp.abs(values) > high)
        else:
            statistics |= {"shut": jnp.mean(values < low), "open": jnp.mean(values > high)}
        found[name] = {key: float(value) for key, value in statistics.items()}
    return found
