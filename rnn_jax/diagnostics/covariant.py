"""Covariant Lyapunov vectors: the directions in which differences grow by one exponent each, forwards and backwards.

    J_t v_i(t-1) = e^{g_i(t)} v_i(t),        lambda_i = mean over t of g_i(t)

The columns of Q_t, on which exponents are measured, are orthogonal by force, and all but the first turn with the inner
product; these vectors belong to the dynamics alone, and angles between them say how close stable and unstable
directions come. They are found in two passes, since v_i is what a generic vector in the span of the first i columns of
Q becomes where it runs backwards:

    J_t Q_{t-1} = Q_t R_t                  forwards
    C_{t-1} = R_t^{-1} C_t D_t             backwards, D_t diagonal: the columns of C have norm 1
    v_i(t) = Q_t C_t[:, i]

Sources: Ginelli et al., "Characterizing dynamics with covariant Lyapunov vectors", 2007; Kuptsov and Parlitz, "Theory
and computation of covariant Lyapunov vectors", 2012.
"""

from typing import Generic, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from rnn_jax.diagnostics.steps import Step, X, flat_step, general_directions, num_directions, num_steps, push
from rnn_jax.types import Array, C, tree_map

State = tuple[Array, Array]
"""A carry as a vector `[N]`, and Q `[N, K]`."""


class CovariantVectors(NamedTuple, Generic[C]):
    """Of W steps, those that are neither warm-up nor cool-down.

    Attributes:
        vectors: `[W, K, N]`, before each step, of norm 1, fastest growth first; N as `ravel_pytree` has the carry.
        growth: `[W, K]`, log of the factor by which the step lengthens each: J vectors[t] = e^growth[t] vectors[t + 1].
        exponents: `[K]`, its means: the Lyapunov exponents.
        carries: before each step, arrays `[W, ...]`.
    """

    vectors: Array
    growth: Array
    exponents: Array
    carries: C


def covariant_vectors(
    step: Step[C, X], carry: C, xs: X, *, num_vectors: int | None = None, warmup: int, cooldown: int
) -> CovariantVectors[C]:
    """The covariant Lyapunov vectors of the K largest exponents along one trajectory.

    Args:
        step: `(carry, x) -> carry`.
        carry: where it starts: N numbers in all.
        xs: inputs, arrays `[T, ...]`; of a system without inputs `jnp.zeros((T, 0))`.
        num_vectors: K; None: N.
        warmup: steps at the beginning, in which Q finds its directions.
        cooldown: steps at the end, from which C comes back. Both converge as e^{-gap t}, the gap being the difference
            of neighbouring exponents: of equal exponents only the span is defined.

    Memory: W (N K + K^2) + cooldown K^2 numbers; no Jacobian is stored.

    Returns: `CovariantVectors`, W = T - warmup - cooldown. NaN from the first direction on that a step kills, as R has
    no inverse there.
    Raises: `ValueError` for counts that do not fit.

    Example: of a linear map they are its eigenvectors.

        >>> shear = jnp.array([[2.0, 1.0], [0.0, 0.5]])
        >>> found = covariant_vectors(lambda h, x: shear @ h, jnp.zeros(2), jnp.zeros((100, 0)), warmup=40, cooldown=40)
        >>> [[round(abs(float(x)), 3) for x in v] for v in found.vectors[0]], jnp.exp(found.exponents).round(3).tolist()
        ([[1.0, 0.0], [0.555, 0.832]], [2.0, 0.5])
    """
    flat, vector, unravel = flat_step(step, carry)
    steps, size = num_steps(xs), vector.size
    wanted = num_directions("num_vectors", num_vectors, size)
    if warmup < 0 or cooldown < 0 or warmup + cooldown >= steps:
        raise ValueError(f"warmup={warmup} and cooldown={cooldown} must leave some of T={steps} steps")

    def forwards(state: State, x: X) -> tuple[State, Array]:
        after, columns = push(flat, *state, x)
        q, r = jnp.linalg.qr(columns)
        return (after, q), r

    def kept(state: State, x: X) -> tuple[State, tuple[Array, Array, Array]]:
        after, r = forwards(state, x)
        return after, (*state, r)

    def backwards(c: Array, r: Array) -> tuple[Array, tuple[Array, Array]]:
        before = solve_triangular(r, c)
        norms = jnp.linalg.norm(before, axis=0)
        return before / norms, (before / norms, -jnp.log(norms))

    def part(first: int, last: int) -> X:
        return tree_map(lambda leaf: leaf[first:last], xs)

    state = (vector, general_directions(size, wanted, vector.dtype))
    state, _ = jax.lax.scan(lambda state, x: (forwards(state, x)[0], None), state, part(0, warmup))
    state, (trajectory, q, r) = jax.lax.scan(kept, state, part(warmup, steps - cooldown))
    _, behind = jax.lax.scan(forwards, state, part(steps - cooldown, steps))
    c = jnp.triu(jax.random.normal(jax.random.key(1), (wanted, wanted), vector.dtype))
    c, _ = jax.lax.scan(lambda c, r: (backwards(c, r)[0], None), c, behind, reverse=True)
    _, (c, growth) = jax.lax.scan(backwards, c / jnp.linalg.norm(c, axis=0), r, reverse=True)
    vectors = jnp.einsum("tnk,tki->tin", q, c)
    return CovariantVectors(vectors, growth, growth.mean(axis=0), jax.vmap(unravel)(trajectory))
