"""How the gradient of a loss flows back through time: log ||dL/dh_t|| for every t, from one backward pass.

    a_t = dL/dh_t = D_t + a_{t+1} J_{t+1}        J_{t+1} = dh_{t+1}/dh_t,  a_T = D_T

with D_t the derivative of the loss with respect to h_t as it stands in the loss, not by way of later states. a_t is
kept as a number e^s and an array of norm one, so that nothing under- or overflows: in float32 the gradient of plain
backpropagation is 0 or inf after some hundred steps, its logarithm here is right after 100,000.

Source: Hochreiter, "Untersuchungen zu dynamischen neuronalen Netzen", 1991; Bengio, Simard and Frasconi, "Learning
long-term dependencies with gradient descent is difficult", 1994.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rnn_jax.diagnostics.steps import Step, add_exactly, carries_before, log_norm
from rnn_jax.segments import previous
from rnn_jax.types import Array, Carry

Pair = tuple[Array, Array]


def gradient_flow(step: Step, carry: Carry, xs: Any, loss: Callable[[Carry], Array]) -> Carry:
    """log ||dL/dh_t|| for t = 0..T.

    Args:
        step: `(carry, x) -> carry`. Leading axes of the carry's arrays are batch axes: an entry of the batch must not
            depend on another.
        carry: h_0, arrays `[*batch, H]`.
        xs: inputs, arrays `[T, ...]`.
        loss: of the carries after each step, arrays `[T, *batch, H]`, to a scalar.

    Returns: in the form of the carry `[T + 1, *batch]`, natural logarithms of norms over the last axis, -inf where the
    gradient is zero. Entry t belongs to h_t, the first to the initial carry.

    Example: three steps, each halving the state.

        >>> flow = gradient_flow(lambda h, x: 0.5 * h, jnp.ones(1), jnp.zeros((3, 0)), lambda hs: hs[-1].sum())
        >>> [round(float(norm), 4) for norm in jnp.exp(flow)]
        [0.125, 0.25, 0.5, 1.0]
    """
    before, final = carries_before(step, carry, xs)
    after = previous(final, before, reverse=True)  # before, moved on by one step, and the final carry at the end
    direct = jax.grad(loss)(after)

    def norms(tree: Carry, log_scale: Pair) -> Carry:
        return jax.tree.map(lambda leaf: log_norm(leaf) + log_scale[0], tree)

    def back(state: tuple[Carry, Pair], inputs: tuple[Carry, Any, Carry]) -> tuple[tuple[Carry, Pair], Carry]:
        later, log_scale = state
        before, x, direct = inputs
        gradient, log_scale = add_scaled(later, log_scale, direct)
        _, pull = jax.vjp(lambda carry: step(carry, x), before)
        return (pull(gradient)[0], log_scale), norms(gradient, log_scale)

    nothing = jax.tree.map(jnp.zeros_like, final)
    zero = jax.tree.leaves(final)[0][..., 0] * 0
    (initial, log_scale), flow = jax.lax.scan(back, (nothing, (zero, zero)), (before, xs, direct), reverse=True)
    return jax.tree.map(lambda first, rest: jnp.concatenate((first[None], rest)), norms(initial, log_scale), flow)


def add_scaled(values: Carry, log_scale: Pair, more: Carry) -> tuple[Carry, Pair]:
    """`e^log_scale * values + more` as a tree of norm about one per entry of the batch, and the new log scale."""
    rise = jnp.maximum(_log_norm_of(values), _log_norm_of(more) - log_scale[0])
    rise = jnp.where(jnp.isfinite(rise), rise, 0.0)  # of nothing at all, any scale does
    scale = add_exactly(log_scale, rise)

    def add(value: Array, extra: Array) -> Array:
        # Nothing to add may be nothing times the exponential of a scale that overflows.
        extra = jnp.where(extra == 0, 0.0, extra * jnp.exp(-scale[0])[..., None])
        return value * jnp.exp(-rise)[..., None] + extra

    return jax.tree.map(add, values, more), scale


def _log_norm_of(tree: Carry) -> Array:
    """log of the norm over all leaves and the last axis, `[*batch]`."""
    squares = [2 * log_norm(leaf) for leaf in jax.tree.leaves(tree)]
    return 0.5 * jax.nn.logsumexp(jnp.stack(squares), axis=0)
