"""Would Newton's method over time pay? How many iterations it takes, measured, and predicted from one run of the scan.

`backend="newton"` finds all T states at once, in iterations each of which leaves an error e_t in s_t, with

    e_t <- J_t e_{t-1} + O(e_{t-1}^2)

new errors come from curvature, and small differences carry them on, as Lyapunov exponents tell. The prediction is
Newton's method on the one number |e_t| in place of N:

    d_t = min(g_t d_{t-1} + a k e_{t-1}^2 / 2, cap),    d_0 = 0         the Newton step
    e_t <- g_t d_{t-1}                                                  the plain step that follows it

    q_t      J_t q_{t-1} / |J_t q_{t-1}|, the direction that grows most
    g_t      |J_t q_{t-1}|, of which the largest exponent is the mean logarithm, as of `lyapunov_spectrum`
    k        curvature: the root of the mean square of q_t . d^2 f_t(q_{t-1}, q_{t-1}) over t
    cap      C times the root of the mean square of |s_t - s_0|: errors of states that are bounded are
    e_t      at the beginning |s_t - s_0|, the guess being s_0

repeated until all d_t are below the tolerance. A largest exponent below 0 makes e_t forget where it came from: a few
iterations for any T, growing as the longest stretch does in which differences happen to grow, as log T. Above 0 only
the beginning is right, and its end moves on by two or three steps with each iteration: order T.

The two numbers a = 0.4 and C = 2 are fitted, to counts of `rnn` (H 8 to 32), `gru` and `lstm` (H 8) over 100 to 1,000
steps. All of those whose exponents are not between about -0.1 and 0 are then within a factor of 1.5. In between
fluctuations decide: networks of one exponent were seen to differ by a factor of five, and the prediction may miss by as
much. Nor is it good where a network is chaotic for long and settles then: it knows the one trajectory, on which all is
calm from there on, and Newton's method comes upon others, which have not settled (416 predicted, 4,719 taken, of an
`rnn` over 10,000 steps whose exponent over all of them is -0.49).

Source: Gonzalez et al., "Predictability enables parallelization of nonlinear state space models", 2025, for the sign of
the exponent; the recursion above is of our own making.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnn_jax.backends.newton import Solution, solve
from rnn_jax.backends.newton.solver import TOLERANCE, jacobians
from rnn_jax.diagnostics.steps import Step, X, flat_step, num_steps
from rnn_jax.types import Array, C

SHARE = 0.4
"""a, the part of the curvature that counts: fitted."""
CAP = 2.0
"""C, the largest error in units of the distance that states keep from the guess: fitted."""


class Predictability(NamedTuple):
    """What the number of iterations follows from.

    Attributes:
        growth: `[T]`, log g_t.
        curvature: k.
        distance: `[T]`, |s_t - s_0|.
    """

    growth: Array
    curvature: Array
    distance: Array

    def exponent(self, warmup: int = 0) -> Array:
        """The largest Lyapunov exponent, nats per step, of the steps after `warmup`."""
        return self.growth[warmup:].mean()


def predictability(step: Step[C, X], carry: C, xs: X) -> Predictability:
    """Runs the steps one after the other and looks at what small differences do on the way.

    Args:
        step: `(carry, x) -> carry`.
        carry: s_0, which is also the guess at every step; N numbers in all.
        xs: inputs, arrays `[T, ...]`, T >= 1.

    From a step on that forgets its carry all growth is -inf.

    Raises: `ValueError` without a step, with shapes.
    """
    num_steps(xs, least=1)
    flat, start, _ = flat_step(step, carry)
    first = jax.random.normal(jax.random.key(0), start.shape, start.dtype)

    def body(state: tuple[Array, Array], x: X) -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
        before, direction = state

        def along(before: Array) -> tuple[Array, Array]:
            after, pushed = jax.jvp(lambda before: flat(before, x), (before,), (direction,))
            return pushed, after

        pushed, bent, after = jax.jvp(along, (before,), (direction,), has_aux=True)
        norm = jnp.linalg.norm(pushed)
        turned = pushed / jnp.where(norm > 0, norm, 1)
        return (after, turned), (jnp.log(norm), turned @ bent, jnp.linalg.norm(after - start))

    _, (growth, bends, distance) = lax.scan(body, (start, first / jnp.linalg.norm(first)), xs)
    return Predictability(growth, jnp.sqrt(jnp.mean(bends**2)), distance)


def predicted_iterations(found: Predictability, *, tolerance: float = TOLERANCE, max_iterations: int = 200) -> Array:
    """How many iterations `backend="newton"` takes to find all states, a number of any type between 1 and T.

    Args:
        found: of one trajectory.
        tolerance: the residual to stop at, in units of eps.
        max_iterations: how many are simulated; if they do not suffice, the longest stretch that is still wrong is taken
            to shrink as fast as the beginning has become right.

    Returns: `[]`, NaN of states that overflow, which cannot be found.
    Raises: `ValueError` for `max_iterations` below 1.

    Example: where nothing is curved, one.

        >>> straight = Predictability(jnp.full(100, -0.1), jnp.array(0.0), jnp.ones(100))
        >>> float(predicted_iterations(straight))
        1.0
    """
    check_most(max_iterations)
    growth, curvature, distance = (jnp.asarray(each) for each in found)
    length, factors = growth.shape[0], jnp.exp(growth)
    cap = CAP * jnp.sqrt(jnp.mean(distance**2))
    enough = tolerance * jnp.finfo(growth.dtype).eps

    def shifted(errors: Array) -> Array:
        return jnp.concatenate((jnp.zeros_like(errors[:1]), errors[:-1]))

    def step(error: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        factor, source = inputs
        error = jnp.minimum(factor * error + source, cap)
        return error, error

    def iterate(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        count, errors, _ = state
        source = SHARE * curvature * shifted(errors) ** 2 / 2
        _, newton = lax.scan(step, jnp.zeros_like(cap), (factors, source))
        return count + 1, jnp.minimum(factors * shifted(newton), cap), newton

    def unfinished(state: tuple[Array, Array, Array]) -> Array:
        return (state[0] < max_iterations) & (state[2].max() > enough)

    start = jnp.minimum(distance, cap)
    count, _, newton = lax.while_loop(unfinished, iterate, (jnp.int32(0), start, jnp.full_like(start, jnp.inf)))
    wrong, steps = newton > enough, jnp.arange(length)
    right = jnp.maximum(jnp.argmax(wrong), 1)
    longest = (steps - lax.cummax(jnp.where(wrong, -1, steps))).max()
    return jnp.where(jnp.isfinite(newton).all(), jnp.minimum(count * (1 + longest / right), float(length)), jnp.nan)


def newton_iterations(
    step: Step[C, X], carry: C, xs: X, *, max_iterations: int | None = None, diagonal: bool = False
) -> Solution:
    """Newton's method over time, as `backend="newton"` does it: how many iterations, what residual, which states.

    Args:
        step: `(carry, x) -> carry`.
        carry: where it starts, and the guess at every step.
        xs: inputs, arrays `[T, ...]`, T >= 1.
        max_iterations: to take at most; None: T, which always suffice.
        diagonal: with the diagonals of the Jacobians alone.

    Returns: `rnn_jax.backends.newton.Solution`, its states `[T, N]`.
    Raises: `ValueError` without a step, with shapes, and for `max_iterations` below 1.

    Example: of a linear recurrence one.

        >>> int(newton_iterations(lambda h, x: 0.5 * h + x, jnp.zeros(2), jnp.ones((9, 2))).iterations)
        1
    """
    length = num_steps(xs, least=1)
    most = length if max_iterations is None else check_most(max_iterations)
    flat, start, _ = flat_step(step, carry)

    def f(before: Array) -> Array:
        return jax.vmap(flat)(before, xs)

    slopes = partial(jacobians, f, diagonal)
    return solve(f, slopes, start, length, max_iterations=most)


def check_most(max_iterations: int) -> int:
    """The number of iterations at most. Raises: `ValueError` for less than one."""
    if max_iterations < 1:
        raise ValueError(f"max_iterations must be 1 or more, got {max_iterations}")
    return max_iterations
