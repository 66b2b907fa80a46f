"""Products of Jacobians through time: how a change of an early state moves the last one.

    P_k = dh_T/dh_k = J_T J_{T-1} ... J_{k+1},        J_t = dh_t/dh_{t-1}

for all k in one backward pass, P_k = P_{k+1} J_{k+1}, row by row and rescaled at every step: logarithms are exact to
rounding where the product itself would under- or overflow.

Sources: Bengio, Simard and Frasconi, "Learning long-term dependencies with gradient descent is difficult", 1994;
Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.
"""

from typing import Generic, NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.diagnostics.singular_values import log_singular_values
from rnn_jax.diagnostics.steps import Step, X, add_exactly, carries_before, flat_step, num_steps
from rnn_jax.types import Array, C, tree_map

Pair = tuple[Array, Array]


class JacobianNorms(NamedTuple, Generic[C]):
    """By lag 0..T, `[T + 1]` each.

    Attributes:
        whole: log of the Frobenius norm of dh_T/dh_k, lag = T - k, for the whole carry.
        parts: in the form of the carry, the same for the columns of one part: of an LSTM `parts.c` is
            log ||d(h_T, c_T)/dc_k||.
    """

    whole: Array
    parts: C


def jacobian_norms(step: Step[C, X], carry: C, xs: X) -> JacobianNorms[C]:
    """log ||dh_T/dh_k|| for all k.

    Args:
        step: `(carry, x) -> carry`.
        carry: h_0, one trajectory: N numbers in all.
        xs: inputs, arrays `[T, ...]`.

    Cost: T products `[N, N] x [N, N]`; memory T N + N^2.

    Example: a rotation by any angle keeps all norms, here sqrt(2).

        >>> turn = jnp.array([[0.6, -0.8], [0.8, 0.6]])
        >>> norms = jacobian_norms(lambda h, x: turn @ h, jnp.ones(2), jnp.zeros((1000, 0)))
        >>> [round(float(jnp.exp(norms.whole[lag])), 3) for lag in (0, 1, 1000)]
        [1.414, 1.414, 1.414]
    """
    _, vector, unravel = flat_step(step, carry)
    before, _ = carries_before(step, carry, xs)
    rows = jax.vmap(unravel)(jnp.eye(vector.size, dtype=vector.dtype))

    def measure(rows: C, log_scale: Pair) -> tuple[C, Pair, JacobianNorms[C]]:
        squares = tree_map(lambda leaf: jnp.sum(leaf**2), rows)
        whole = sum(jax.tree.leaves(squares))
        scale = jnp.where(whole > 0, jnp.sqrt(whole), 1.0)
        norms = JacobianNorms(
            0.5 * jnp.log(whole) + log_scale[0], tree_map(lambda s: 0.5 * jnp.log(s) + log_scale[0], squares)
        )
        return tree_map(lambda leaf: leaf / scale, rows), add_exactly(log_scale, jnp.log(scale)), norms

    def back(state: tuple[C, Pair], inputs: tuple[C, X]) -> tuple[tuple[C, Pair], JacobianNorms[C]]:
        rows, log_scale = state
        before, x = inputs
        _, pull = jax.vjp(lambda carry: step(carry, x), before)
        rows, log_scale, norms = measure(jax.vmap(pull)(rows)[0], log_scale)
        return (rows, log_scale), norms

    zero = jnp.zeros((), vector.dtype)
    rows, log_scale, first = measure(rows, (zero, zero))
    _, rest = jax.lax.scan(back, (rows, log_scale), (before, xs), reverse=True)
    return tree_map(lambda first, rest: jnp.concatenate((first[None], rest[::-1])), first, rest)


def jacobian_singular_values(step: Step[C, X], carry: C, xs: X, lags: Array) -> Array:
    """Logarithms of all singular values of dh_T/dh_k at the lags T - k asked for.

    The product is kept as P^T = Q D U with Q orthogonal, D = diag(e^d) and U upper triangular of moderate size, so that
    the smallest singular value is as exact as the largest, however far apart they are: e^d is never formed.

    Args:
        step: `(carry, x) -> carry`.
        carry: h_0, one trajectory: N numbers in all.
        xs: inputs, arrays `[T, ...]`.
        lags: K integers in 0..T, ascending.

    Returns: `[K, N]`, descending; -inf for zero.
    Raises: `ValueError` for lags that are not ascending or outside 0..T.
    Cost: a QR decomposition `[N, N]` per step, and per lag a one-sided Jacobi iteration.

    Source: Bai, Lee, Li and Xu, "Stable solutions of linear systems involving long chain of matrix multiplications",
    2011, for the graded form.
    """
    steps = num_steps(xs)
    wanted = [int(lag) for lag in lags]
    if wanted != sorted(set(wanted)) or not all(0 <= lag <= steps for lag in wanted):
        raise ValueError(f"lags must be ascending in 0..{steps}, got {wanted}")
    flat, vector, _ = flat_step(step, carry)
    before, _ = carries_before(flat, vector, xs)
    identity = jnp.eye(vector.size, dtype=vector.dtype)

    def back(i: Array, state: Graded) -> Graded:
        position = steps - 1 - i
        x = tree_map(lambda leaf: leaf[position], xs)
        _, pull = jax.vjp(lambda vector: flat(vector, x), before[position])
        return advance(state, jax.vmap(pull, in_axes=1, out_axes=1)(state.q)[0])

    state, found, done = Graded(identity, jnp.zeros_like(vector), jnp.zeros_like(vector), identity), [], 0
    run = jax.jit(lambda first, last, state: jax.lax.fori_loop(first, last, back, state))
    for lag in wanted:
        state = run(done, lag, state)
        found.append((state.d, state.u))
        done = lag
    scales, triangles = (jnp.stack(parts) for parts in zip(*found, strict=True))
    values: Array = jax.jit(jax.vmap(log_singular_values))(scales, triangles)
    return values


class Graded(NamedTuple):
    """A matrix as q diag(e^d) u, `[N, N]`, `[N]`, `[N, N]`: q orthogonal, u upper triangular.

    `lost` `[N]` is what rounding took from d.
    """

    q: Array
    d: Array
    lost: Array
    u: Array


def advance(state: Graded, product: Array) -> Graded:
    """The graded form of A q diag(e^d) u from `product` = A q."""
    q, r = jnp.linalg.qr(product)
    sizes = jnp.abs(jnp.diag(r))
    d, lost = add_exactly((state.d, state.lost), jnp.log(sizes))
    # diag(e^-d') R diag(e^d) with d' the new exponents: entry (i, j) is R_ij / |R_ii| e^(d_j - d_i), j >= i.
    gaps = state.d[None, :] - state.d[:, None]
    ratio = jnp.triu(r / jnp.where(sizes > 0, sizes, 1)[:, None] * jnp.exp(jnp.where(jnp.isnan(gaps), 0.0, gaps)))
    alive = jnp.isfinite(d)
    ratio = jnp.where(alive[:, None], ratio, jnp.eye(d.size, dtype=d.dtype))
    return Graded(q, d, jnp.where(alive, lost, 0.0), ratio @ state.u)
