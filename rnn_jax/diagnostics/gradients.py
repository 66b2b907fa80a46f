"""The gradient of a loss through time: its norm at every state, and its terms, step by step.

    a_t   = dL/dh_t = D_t + a_{t+1} J_{t+1}          J_{t+1} = dh_{t+1}/dh_t,  a_T = D_T
    dL/dW = sum_t a_t dh_t/dW                        dh_t/dW at fixed h_{t-1}: what W does at step t alone

with D_t the derivative of the loss with respect to h_t as it stands in the loss, not by way of later states. Put into
each other, these two are the double sum in which backpropagation through time is usually written. Early terms are small
where gradients vanish: their size says from which steps the parameters learn.

Sources: Hochreiter, "Untersuchungen zu dynamischen neuronalen Netzen", 1991; Bengio, Simard and Frasconi, "Learning
long-term dependencies with gradient descent is difficult", 1994.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from rnn_jax.diagnostics.steps import Step, X, add_exactly, carries_before, log_norm
from rnn_jax.segments import previous
from rnn_jax.types import Array, C, P, tree_map

Pair = tuple[Array, Array]
Kept = TypeVar("Kept")


def gradient_flow(step: Step[C, X], carry: C, xs: X, loss: Callable[[C], Array]) -> C:
    """log ||dL/dh_t|| for t = 0..T: how the gradient flows back.

    a_t is kept as a number e^s and an array of norm one, so that nothing under- or overflows: in float32 the gradient
    of plain backpropagation is 0 or inf after some hundred steps, its logarithm here is right after 100,000.

    Of a whole model, layer by layer, see `rnn_jax.models.make_gradient_flow`.

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

    def norms(tree: C, log_scale: Pair) -> C:
        return tree_map(lambda leaf: log_norm(leaf) + log_scale[0], tree)

    def back(state: tuple[C, Pair], inputs: tuple[C, X, C]) -> tuple[tuple[C, Pair], C]:
        later, log_scale = state
        before, x, direct = inputs
        gradient, log_scale = add_scaled(later, log_scale, direct)
        _, pull = jax.vjp(lambda carry: step(carry, x), before)
        return (pull(gradient)[0], log_scale), norms(gradient, log_scale)

    nothing = tree_map(jnp.zeros_like, final)
    zero = jax.tree.leaves(final)[0][..., 0] * 0
    (initial, log_scale), flow = jax.lax.scan(back, (nothing, (zero, zero)), (before, xs, direct), reverse=True)
    return tree_map(lambda first, rest: jnp.concatenate((first[None], rest)), norms(initial, log_scale), flow)


def gradient_terms(
    step: Callable[[P, C, X], C],
    params: P,
    carry: C,
    xs: X,
    loss: Callable[[C], Array],
    reduce: Callable[[P], Kept] | None = None,
) -> P | Kept:
    """The term of dL/d(params) that each step contributes.

    Args:
        step: `(params, carry, x) -> carry`.
        params: a pytree.
        carry: h_0, arrays of any shape.
        xs: inputs, arrays `[T, ...]`.
        loss: of the carries after each step, arrays `[T, ...]`, to a scalar.
        reduce: what to keep of each term; None: all of it, which takes T times the memory of the parameters.

    Returns: arrays `[T, ...]` in the form of what `reduce` returns, by default of the parameters. Entry t belongs to
    step t + 1, from h_t to h_{t+1}; over T they add up to the gradient.

    Example:

        >>> terms = gradient_terms(lambda w, h, x: w * h, 0.5, 1.0, jnp.zeros((3, 0)), lambda hs: hs[-1])
        >>> terms.tolist(), float(jax.grad(lambda w: w**3)(0.5))
        ([0.25, 0.25, 0.25], 0.75)
    """
    params = tree_map(jnp.asarray, params)
    carry = tree_map(jnp.asarray, carry)
    before, final = carries_before(lambda carry, x: step(params, carry, x), carry, xs)
    after = previous(final, before, reverse=True)  # before, moved on by one step, and the final carry at the end
    direct = jax.grad(loss)(after)

    def back(later: C, inputs: tuple[C, X, C]) -> tuple[C, P | Kept]:
        before, x, direct = inputs
        gradient = tree_map(jnp.add, later, direct)
        _, pull = jax.vjp(lambda params, carry: step(params, carry, x), params, before)
        term, earlier = pull(gradient)
        return earlier, term if reduce is None else reduce(term)

    return jax.lax.scan(back, tree_map(jnp.zeros_like, final), (before, xs, direct), reverse=True)[1]


def add_scaled(values: C, log_scale: Pair, more: C) -> tuple[C, Pair]:
    """`e^log_scale * values + more` as a tree of norm about one per entry of the batch, and the new log scale."""
    rise = jnp.maximum(_log_norm_of(values), _log_norm_of(more) - log_scale[0])
    rise = jnp.where(jnp.isfinite(rise), rise, 0.0)  # of nothing at all, any scale does
    scale = add_exactly(log_scale, rise)

    def add(value: Array, extra: Array) -> Array:
        # Nothing to add may be nothing times the exponential of a scale that overflows.
        extra = jnp.where(extra == 0, 0.0, extra * jnp.exp(-scale[0])[..., None])
        return value * jnp.exp(-rise)[..., None] + extra

    return tree_map(add, values, more), scale


def _log_norm_of(tree: object) -> Array:
    """log of the norm over all leaves and the last axis, `[*batch]`."""
    squares = [2 * log_norm(leaf) for leaf in jax.tree.leaves(tree)]
    return 0.5 * jax.nn.logsumexp(jnp.stack(squares), axis=0)
