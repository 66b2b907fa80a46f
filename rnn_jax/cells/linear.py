"""Cells whose carry moves linearly, unit by unit, and can so be computed for all steps at once.

    s_t = a_t * s_{t-1} + b_t            a_t and b_t from x_t alone

Two steps are one step of the same form, with a = a_2 a_1 and b = a_2 b_1 + b_2, and this way of joining is associative:
joining neighbours first, then pairs of pairs, takes about 2 log2 T rounds of parallel work in place of T steps one
after the other. Where the moduli of a are below 1, products of them can only fall to 0, and nothing overflows.

Source: Blelloch, "Prefix sums and their applications", 1990.
"""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.types import Array, C, P, Projected, tree_map


class Linear(NamedTuple, Generic[P, C]):
    """How the carry of a cell is a linear recurrence.

    Attributes:
        project: the cell's.
        coefficients: `(params, projected) -> (a, b)`, real or complex arrays `[..., H]`.
        pack: `carry -> s [..., H]`.
        unpack: `(s [..., H], carry) -> carry`, in the dtypes of the carry that is given.
        output: `(params, carry, projected) -> y [..., O]` from the carry after the step.
    """

    project: Callable[[P, Array], Projected]
    coefficients: Callable[[P, Projected], tuple[Array, Array]]
    pack: Callable[[C], Array]
    unpack: Callable[[Array, C], C]
    output: Callable[[P, C, Projected], Array]


def all_states(a: Array, b: Array, start: Array, reverse: bool = False) -> Array:
    """s_t for every t of s_t = a_t * s_{t-1} + b_t.

    Args:
        a, b: `[T, ...]`.
        start: s_0, `[...]`.
        reverse: the steps are taken from the last to the first.

    Returns: `[T, ...]`.

    >>> all_states(jnp.full(4, 0.5), jnp.ones(4), jnp.array(2.0)).tolist()
    [2.0, 2.0, 2.0, 2.0]
    """
    if not a.shape[0]:
        return b
    first = -1 if reverse else 0
    b = b.astype(jnp.result_type(a, b, start)).at[first].add(a[first] * start)

    def join(earlier: tuple[Array, Array], later: tuple[Array, Array]) -> tuple[Array, Array]:
        return later[0] * earlier[0], later[0] * earlier[1] + later[1]

    states: Array = jax.lax.associative_scan(join, (a, b), reverse=reverse)[1]
    return states


def parallel(linear: Linear[P, C], params: P, carry: C, xs: Array) -> tuple[C, Array]:
    """All steps of a cell at once: what `rnn_jax.unroll` computes one after the other.

    Args:
        linear: how its carry is a linear recurrence.
        params: the cell's parameters.
        carry: before the first step, arrays `[*batch, ...]`.
        xs: inputs `[T, *batch, I]`, T at least 1.

    Returns: the final carry, and ys `[T, *batch, O]`.
    """
    projected = linear.project(params, xs)
    states = all_states(*linear.coefficients(params, projected), linear.pack(carry))
    carries = linear.unpack(states, carry)
    final: Any = tree_map(lambda part: part[-1], carries)
    return final, linear.output(params, carries, projected)
