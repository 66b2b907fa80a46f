"""Newton's method for all states of a recurrence at once, each linear problem solved by a parallel prefix over time.

    s_t = f_t(s_{t-1}),  t = 1..T                                   the T states as one fixed point
    d_t = J_t d_{t-1} + f_t(s_{t-1}) - s_t,  d_0 = 0                the Newton step, a linear recurrence
    s_t <- f_t(s_{t-1} + d_{t-1})                                   and one plain step of all states

J_t is the Jacobian of f_t at s_{t-1}, or its diagonal alone (quasi-Newton): every choice has the same fixed point. With
each iteration at least one more state from the beginning is exact, whatever the guess was, so that T always suffice.

Far from the solution a product of Jacobians may be enormous, and what it says worth nothing. So the Newton step is kept
near what a plain step has found: within the range of f_t(s_{t-1}) over all t and a quarter of it beyond, which leaves a
bounded state bounded and lets another grow by half in each iteration. The plain step costs one more evaluation of f,
little beside a Jacobian; how far it moves a state is the residual.

Sources: Lim et al., "Parallelizing non-linear sequential models over the sequence length", 2023 (DEER); Gonzalez et
al., "Towards scalable and stable parallelization of nonlinear RNNs", 2024, whose damping is another: a trust region.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnn_jax.segments import previous
from rnn_jax.sharding import vary, varying
from rnn_jax.types import Array

TOLERANCE = 64
"""The residual to stop at, in units of eps: the rounding of f alone leaves a few of them."""
MARGIN = 0.25
"""How far beyond the range of plain steps a state may go, in widths of that range."""


class Solution(NamedTuple):
    """What came of it.

    Attributes:
        states: `[T, ..., N]`.
        iterations: how many Newton steps were taken.
        residual: max |f_t(s_{t-1}) - s_t| over max(1, max |s_{t-1}|, max |s_t|) after the last of them, of the worst
            step.
        converged: whether that is within the tolerance.
    """

    states: Array
    iterations: Array
    residual: Array
    converged: Array


def all_states(jacobians: Array, inputs: Array, reverse: bool = False) -> Array:
    """d_t for every t of d_t = J_t d_{t-1} + b_t, d_0 = 0, in about 2 log2 T rounds.

    Products are kept within the range of floats: beyond it they mean nothing, and times 0 they would be NaN.

    Args:
        jacobians: `[T, ..., N, N]`, or diagonals `[T, ..., N]`.
        inputs: b, `[T, ..., N]`.
        reverse: the steps are taken from the last to the first.

    Returns: `[T, ..., N]`.

    >>> all_states(jnp.full((3, 1), 2.0), jnp.ones((3, 1))).ravel().tolist()
    [1.0, 3.0, 7.0]
    """
    largest = float(jnp.finfo(inputs.dtype).max) ** 0.4
    diagonal = jacobians.ndim == inputs.ndim

    def join(earlier: tuple[Array, Array], later: tuple[Array, Array]) -> tuple[Array, Array]:
        product = later[0] * earlier[0] if diagonal else later[0] @ earlier[0]
        state = apply(later[0], earlier[1]) + later[1]
        return jnp.clip(product, -largest, largest), jnp.clip(state, -largest, largest)

    states: Array = lax.associative_scan(join, (jacobians, inputs), reverse=reverse)[1]
    return states


def apply(jacobians: Array, vectors: Array) -> Array:
    """J v: of matrices `[..., N, N]` or diagonals `[..., N]`, and vectors `[..., N]`."""
    return jacobians * vectors if jacobians.ndim == vectors.ndim else (jacobians @ vectors[..., None])[..., 0]


def jacobians(f: Callable[[Array], Array], diagonal: bool, before: Array) -> tuple[Array, Array]:
    """f, of vectors `[..., N]` each by itself, and its Jacobian, by N directional derivatives.

    Args:
        f: `[..., N]` to `[..., N]`.
        diagonal: of each Jacobian the diagonal alone, one derivative after the other, so that no memory for matrices is
            taken.
        before: where.

    Returns: f `[..., N]`, and `[..., N, N]` or `[..., N]`.
    """
    after, push = jax.linearize(f, before)
    size = before.shape[-1]

    def column(n: Array) -> Array:
        unit = jnp.broadcast_to(jax.nn.one_hot(n, size, dtype=before.dtype), before.shape)
        pushed: Array = push(vary(unit, varying(before)))
        return pushed

    units = jnp.arange(size)
    found = lax.map(lambda n: column(n)[..., n], units) if diagonal else jax.vmap(column)(units)
    return after, jnp.moveaxis(found, 0, -1)


def solve(
    f: Callable[[Array], Array],
    slopes: Callable[[Array], tuple[Array, Array]],
    start: Array,
    num_steps: int,
    *,
    max_iterations: int,
    reverse: bool = False,
    tolerance: float = TOLERANCE,
) -> Solution:
    """The states of s_t = f_t(s_{t-1}); the guess is s_0 at every step.

    Args:
        f: all steps at once: from the state before each, `[T, ..., N]`, to that after it.
        slopes: from the same to f and what stands for its Jacobians: `partial(jacobians, f, diagonal)`.
        start: s_0, `[..., N]`.
        num_steps: T, at least 1.
        max_iterations: how many Newton steps to take at most.
        reverse: the steps are taken from the last to the first.
        tolerance: the residual to stop at, in units of eps.

    Returns: `Solution`.
    """
    guess = jnp.broadcast_to(start, (num_steps, *start.shape))
    enough = tolerance * jnp.finfo(start.dtype).eps

    def unfinished(state: Solution) -> Array:
        return ~state.converged & (state.iterations < max_iterations)

    def iterate(state: Solution) -> Solution:
        plain, matrices = slopes(previous(start, state.states, reverse))
        plain = finite(plain, guess)
        newton = finite(state.states + all_states(finite(matrices, 0), plain - state.states, reverse), plain)
        before = previous(start, newton, reverse)
        after = f(before)
        size = jnp.maximum(1, jnp.maximum(jnp.abs(before), jnp.abs(newton)).max(axis=-1))
        residual = (jnp.abs(after - newton).max(axis=-1) / size).max(initial=0)
        converged = residual <= enough
        lowest, highest = plain.min(axis=0), plain.max(axis=0)
        beyond = MARGIN * (highest - lowest)
        near = finite(f(previous(start, jnp.clip(newton, lowest - beyond, highest + beyond), reverse)), guess)
        return Solution(jnp.where(converged, after, near), state.iterations + 1, residual, converged)

    nothing = Solution(guess, jnp.int32(0), jnp.asarray(jnp.inf, start.dtype), jnp.asarray(False))
    nothing = vary(nothing, varying(guess))
    return lax.while_loop(unfinished, iterate, nothing)


def finite(values: Array, otherwise: Array | float) -> Array:
    """`values`, and `otherwise` where they are infinite or NaN."""
    return jnp.where(jnp.isfinite(values), values, otherwise)
