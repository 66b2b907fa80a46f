"""Singular values of matrices whose rows differ by any number of orders of magnitude."""

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.types import Array

SWEEPS = 30
"""At most; 6 to 10 are usual."""


def log_singular_values(scales: Array, matrix: Array) -> Array:
    """Logarithms of the singular values of diag(e^scales) matrix, each with small relative error.

    One-sided Jacobi: rows are rotated in pairs until all are orthogonal; their norms are then the singular values. A
    row is kept as e^s times a unit vector u, and the rotation of two rows needs no more than u_p . u_q and the ratio of
    their norms, which may underflow without harm.

    Args:
        scales: `[N]`, natural logarithms, -inf for a row of zeros.
        matrix: `[N, N]`, well conditioned but for the scales.

    Returns: `[N]`, descending, -inf for zero.

    Sources: Hestenes, "Inversion of matrices by biorthogonalization and related results", 1958; Demmel and Veselic,
    "Jacobi's method is more accurate than QR", 1992.

        >>> log_singular_values(jnp.array([500.0, -500.0]), jnp.array([[1.0, 1.0], [0.0, 1.0]])).tolist()
        [500.346..., -500.346...]
    """
    size, pairs = scales.size, -(-scales.size // 2)
    units = jnp.eye(2 * pairs, dtype=matrix.dtype).at[:size, :size].set(matrix)  # a dummy makes the number even
    logs = jnp.full(2 * pairs, -jnp.inf, matrix.dtype).at[:size].set(scales)
    units, logs = _renormalize(units, logs)
    order = _next_round(2 * pairs)
    tolerance = 4 * jnp.finfo(matrix.dtype).eps

    def one_round(_: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        units, logs, worst = state
        first_larger = logs[:pairs] >= logs[pairs:]
        p = jnp.where(first_larger, jnp.arange(pairs), jnp.arange(pairs, 2 * pairs))
        q = jnp.where(first_larger, jnp.arange(pairs, 2 * pairs), jnp.arange(pairs))
        u_p, u_q, s_p, s_q = units[p], units[q], logs[p], logs[q]
        cosine = jnp.sum(u_p * u_q, axis=-1)
        cosine = jnp.where(jnp.isfinite(s_q), cosine, 0.0)  # nothing to do against a row of zeros
        square = jnp.exp(2 * jnp.where(jnp.isfinite(s_q), s_q - s_p, -jnp.inf))  # of the ratio of norms, at most 1
        root = (1 - square) + jnp.sqrt((1 - square) ** 2 + 4 * square * cosine**2)
        tau = jnp.where(root > 0, -2 * cosine / jnp.where(root > 0, root, 1), 0.0)  # tangent over the ratio
        shrink = -0.5 * jnp.log1p(square * tau**2)  # the cosine of the rotation
        where = jnp.concatenate((p, q))
        rotated = jnp.concatenate((u_p - (square * tau)[:, None] * u_q, u_q + tau[:, None] * u_p))
        units = units.at[where].set(rotated, unique_indices=True)
        logs = logs.at[where].set(jnp.concatenate((s_p + shrink, s_q + shrink)), unique_indices=True)
        units, logs = _renormalize(units, logs)
        return units[order], logs[order], jnp.maximum(worst, jnp.max(jnp.abs(cosine)))

    def sweep(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        units, logs, _, count = state
        zero = jnp.zeros((), matrix.dtype)
        return *jax.lax.fori_loop(0, 2 * pairs - 1, one_round, (units, logs, zero)), count + 1

    def going(state: tuple[Array, Array, Array, Array]) -> Array:
        return (state[2] > tolerance) & (state[3] < SWEEPS)

    start = (units, logs, jnp.ones((), matrix.dtype), jnp.zeros((), jnp.int32))
    _, logs, _, _ = jax.lax.while_loop(going, sweep, start)
    return jnp.sort(logs, descending=True)[:size]


def _renormalize(rows: Array, logs: Array) -> tuple[Array, Array]:
    norms = jnp.linalg.norm(rows, axis=-1)
    alive = norms > 0
    units = rows / jnp.where(alive, norms, 1)[:, None]
    return units, jnp.where(alive, logs + jnp.log(jnp.where(alive, norms, 1)), -jnp.inf)


def _next_round(size: int) -> np.ndarray:
    """The circle method: who stands where next, so that in `size` - 1 rounds everyone meets everyone once.

    Position i meets position i + size / 2.
    """
    half = size // 2
    circle = [*range(half), *range(size - 1, half - 1, -1)]  # clockwise, the first staying where it is
    moved = [circle[0], circle[-1], *circle[1:-1]]
    order = np.empty(size, int)
    order[circle] = moved
    return order


def effective_rank(log_values: Array) -> Array:
    """exp of the entropy of the singular values' shares, `[..., N]` to `[...]`: from 1 to N.

    Source: Roy and Vetterli, "The effective rank: a measure of effective dimensionality", 2007.

        >>> [round(float(effective_rank(jnp.log(jnp.array(s)))), 3) for s in ([1.0, 1.0, 1.0], [1.0, 1e-30, 1e-30])]
        [3.0, 1.0]
    """
    shares = jax.nn.softmax(log_values, axis=-1)
    return jnp.exp(-jnp.sum(jnp.where(shares > 0, shares * jnp.log(jnp.where(shares > 0, shares, 1)), 0.0), axis=-1))
