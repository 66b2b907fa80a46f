"""Evaluation of a model that goes on learning from what it has just been tested on, and so follows its text.

Source: Krause, Kahembwe, Murray and Renals, "Dynamic evaluation of neural sequence models", 2018. A chunk of the text
is scored first and learnt from afterwards: no loss has seen its own tokens, or any later one.

Both functions take `loss(params, chunk, carry) -> (loss, carry)`: the mean loss of a chunk's tokens, a number, and the
carry after them. The gradient goes back to the chunk's start and no further. `loss` is compiled once for one function
object: define it outside of a loop over rates.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnn_jax.types import Array, Carry, Params, same_structure, tree_map

Loss = Callable[[Params, Any, Carry], tuple[Array, Carry]]
"""What both functions take: `loss(params, chunk, carry) -> (mean loss, carry)`."""


def squared_gradients(loss: Loss, params: Params, chunks: Any, carry: Carry) -> Params:
    """The mean over the chunks of a text of the squared gradient of each, by which `evaluate` measures its steps.

        MS = 1/n sum_k g_k^2,   g_k = d loss(params, chunk_k, carry_k) / d params

    Args:
        loss: see the head of this module.
        params: of the trained model, any pytree of float arrays.
        chunks: of the training split, a pytree of arrays `[n, ...]`, as many tokens each as in the evaluation. A batch
            of several texts side by side, as in training, gives smaller gradients than one: the rate has to fit.
        carry: before the first chunk.

    Returns: a pytree like `params`.

    Raises: `ValueError` for no chunks, or arrays of different numbers of them.

        >>> def loss(params, chunk, carry):
        ...     return ((params - chunk) ** 2).mean(), carry
        >>> float(squared_gradients(loss, jnp.array(1.0), jnp.array([[0.0], [4.0]]), None))  # of 2 and -6
        20.0
    """
    if _number(chunks) == 0:
        raise ValueError("there is no chunk to take a gradient of")
    return _squared_gradients(loss, params, chunks, carry)


def evaluate(
    loss: Loss,
    params: Params,
    chunks: Any,
    carry: Carry,
    *,
    rate: float | Array,
    decay: float | Array,
    mean_squares: Params | None = None,
    epsilon: float | Array = 2e-5,
) -> tuple[Array, Params]:
    """The loss of each chunk of a text, in order, with parameters that have learnt from the chunks before it.

        params_{k+1} = params_k - rate g_k / (RMS + epsilon) + min(decay RMS / mean(RMS), 1) (params_0 - params_k)
        RMS = sqrt(MS),   g_k = d loss(params_k, chunk_k, carry_k) / d params

    The decay draws the parameters back to those of training, most where gradients are large; mean(RMS) is over all
    parameters, as in the paper (the authors' program takes the mean of the means of arrays). Without `mean_squares` it
    is gradient descent with the same draw on all parameters:

        params_{k+1} = params_k - rate g_k + decay (params_0 - params_k)

    Gradients are not clipped. Rate and decay are chosen on validation: too high a rate makes a model diverge.

    Args:
        loss: see the head of this module.
        params: params_0, of the trained model, any pytree of float arrays.
        chunks: of the text to be evaluated, a pytree of arrays `[n, ...]`, with as many tokens in every chunk.
        carry: before the first chunk.
        rate: at least 0; 0 with a decay of 0 is plain evaluation. May be traced, as all numbers here.
        decay: lambda, 0 to 1.
        mean_squares: MS, what `squared_gradients` has found on the training split; None for gradient descent.
        epsilon: keeps parameters with hardly a gradient from leaping.

    Returns: the losses `[n]`, each from before the step that its chunk causes, and the parameters after the last.

    Raises: `ValueError` for a negative rate, a decay outside of 0..1, arrays of different numbers of chunks, and
    `mean_squares` that are not like `params`.

    Source: Krause et al., 2018: "RMS with an RMS global prior", and SGD with a global prior.

        >>> def loss(params, chunk, carry):
        ...     return ((params - chunk) ** 2).mean(), carry
        >>> losses, final = evaluate(loss, jnp.array(1.0), jnp.array([[3.0], [3.0]]), None, rate=0.25, decay=0.5)
        >>> losses.tolist(), float(final)  # 1 + 0.25 * 4 = 2, then 2 + 0.25 * 2 - 0.5 * 1 = 2
        ([4.0, 1.0], 2.0)
    """
    _number(chunks)
    if isinstance(rate, float | int) and not rate >= 0:
        raise ValueError(f"rate={rate}: must be at least 0")
    if isinstance(decay, float | int) and not 0 <= decay <= 1:
        raise ValueError(f"decay={decay}: must be between 0 and 1")
    if mean_squares is not None and not (
        same_structure(params, mean_squares)
        and jax.tree.all(jax.tree.map(lambda p, square: p.shape == square.shape, params, mean_squares))
    ):
        raise ValueError(f"mean_squares must be like params: {_shapes(mean_squares)} and {_shapes(params)}")
    return _evaluate(loss, params, chunks, carry, rate, decay, mean_squares, epsilon)


def _number(chunks: Any) -> int:
    shapes = [leaf.shape for leaf in jax.tree.leaves(chunks)]
    numbers = {shape[0] for shape in shapes if shape}
    if () in shapes or len(numbers) != 1:
        raise ValueError(f"chunks must be arrays [n, ...] of one n, got {shapes}")
    return numbers.pop()


def _shapes(tree: Any) -> list[tuple[int, ...]]:
    return [leaf.shape for leaf in jax.tree.leaves(tree)]


@partial(jax.jit, static_argnums=0)
def _squared_gradients(loss: Loss, params: Params, chunks: Any, carry: Carry) -> Params:
    def body(state: tuple[Params, Carry], chunk: Any) -> tuple[tuple[Params, Carry], None]:
        sums, carry = state
        gradient, carry = jax.grad(loss, has_aux=True)(params, chunk, carry)
        return (tree_map(lambda total, g: total + g * g, sums, gradient), carry), None

    (sums, _), _ = lax.scan(body, (tree_map(jnp.zeros_like, params), carry), chunks)
    return tree_map(lambda total: total / _number(chunks), sums)


@partial(jax.jit, static_argnums=0)
def _evaluate(
    loss: Loss,
    first: Params,
    chunks: Any,
    carry: Carry,
    rate: Array,
    decay: Array,
    mean_squares: Params | None,
    epsilon: Array,
) -> tuple[Array, Params]:
    steps, draws = tree_map(lambda p: rate, first), tree_map(lambda p: decay, first)
    if mean_squares is not None:
        rms = tree_map(jnp.sqrt, mean_squares)
        leaves = jax.tree.leaves(rms)
        mean = jnp.stack([leaf.sum() for leaf in leaves]).sum() / sum(leaf.size for leaf in leaves)
        mean = jnp.maximum(mean, jnp.finfo(mean.dtype).tiny)  # of a loss without any gradient
        steps = tree_map(lambda r: rate / (r + epsilon), rms)
        draws = tree_map(lambda r: jnp.minimum(decay * r / mean, 1), rms)

    def update(p: Array, g: Array, start: Array, step: Array, draw: Array) -> Array:
        return (p - step * g + draw * (start - p)).astype(p.dtype)

    def body(state: tuple[Params, Carry], chunk: Any) -> tuple[tuple[Params, Carry], Array]:
        params, carry = state
        (value, carry), gradient = jax.value_and_grad(loss, has_aux=True)(params, chunk, carry)
        return (tree_map(update, params, gradient, first, steps, draws), carry), value

    (final, _), losses = lax.scan(body, (first, carry), chunks)
    return losses, final
