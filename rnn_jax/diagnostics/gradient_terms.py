"""The gradient of the parameters as a sum over time, term by term.

    dL/dW = sum_t  dL/dh_t  dh_t/dW        dh_t/dW at fixed h_{t-1}: what W does at step t alone

With dL/dh_t = sum over later steps of their own derivatives times products of Jacobians, this is the double sum in
which backpropagation through time is usually written. Early terms are small where gradients vanish: their size says
from which steps the parameters learn.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rnn_jax.diagnostics.steps import carries_before
from rnn_jax.segments import previous
from rnn_jax.types import Array, Carry, Params


def gradient_terms(
    step: Callable[[Params, Carry, Any], Carry],
    params: Params,
    carry: Carry,
    xs: Any,
    loss: Callable[[Carry], Array],
    reduce: Callable[[Params], Any] = lambda term: term,
) -> Any:
    """The term of dL/d(params) that each step contributes.

    Args:
        step: `(params, carry, x) -> carry`.
        params: a pytree.
        carry: h_0, arrays of any shape.
        xs: inputs, arrays `[T, ...]`.
        loss: of the carries after each step, arrays `[T, ...]`, to a scalar.
        reduce: what to keep of each term; all of it takes T times the memory of the parameters.

    Returns: arrays `[T, ...]` in the form of what `reduce` returns, by default of the parameters. Entry t belongs to
    step t + 1, from h_t to h_{t+1}; over T they add up to the gradient.

    Example:

        >>> terms = gradient_terms(lambda w, h, x: w * h, 0.5, 1.0, jnp.zeros((3, 0)), lambda hs: hs[-1])
        >>> terms.tolist(), float(jax.grad(lambda w: w**3)(0.5))
        ([0.25, 0.25, 0.25], 0.75)
    """
    params = jax.tree.map(jnp.asarray, params)
    carry = jax.tree.map(jnp.asarray, carry)
    before, final = carries_before(lambda carry, x: step(params, carry, x), carry, xs)
    after = previous(final, before, reverse=True)  # before, moved on by one step, and the final carry at the end
    direct = jax.grad(loss)(after)

    def back(later: Carry, inputs: tuple[Carry, Any, Carry]) -> tuple[Carry, Any]:
        before, x, direct = inputs
        gradient = jax.tree.map(jnp.add, later, direct)
        _, pull = jax.vjp(lambda params, carry: step(params, carry, x), params, before)
        term, earlier = pull(gradient)
        return earlier, reduce(term)

    return jax.lax.scan(back, jax.tree.map(jnp.zeros_like, final), (before, xs, direct), reverse=True)[1]
