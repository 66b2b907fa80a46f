"""Gradient flossing: the largest Lyapunov exponents of a recurrent network pushed towards zero.

With D_t the Jacobian of step t along a trajectory and Q_0 orthonormal `[N, K]`:

    Q_t R_t = D_t Q_{t-1}                      QR, diagonal of R_t positive
    lambda_i = (1 / T) sum_t ln (R_t)_ii       the K largest exponents, descending in the long run
    flossing loss = sum_i lambda_i^2

A gradient through T steps grows or shrinks as exp(lambda T) in each of these directions; it neither explodes nor
vanishes where lambda is 0. All of it is differentiable, the trajectory and the QR included.

Sources: Engelken, "Gradient flossing: improving gradient descent through dynamic control of Jacobians", 2023; the
exponents: Benettin, Galgani, Giorgilli and Strelcyn, "Lyapunov characteristic exponents for smooth dynamical systems",
1980.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from rnn_jax.types import Array, C, P, tree_map

S = TypeVar("S")

SMALLEST = 1e-6
"""Added to the lengths of tangent vectors, in squares: the logarithm of a direction that a step kills stays finite."""


def orthonormalize(vectors: Array) -> tuple[Array, Array]:
    """QR by Gram and Schmidt, each column twice: Q `[N, K]` and the diagonal of R, `[K]`, all of it above 0.

    Not `jnp.linalg.qr`, whose derivative divides by the diagonal of R and is NaN or enormous where a column depends on
    the others; here r = sqrt(|v|^2 + e^2), and such a column becomes short in Q instead.

    >>> q, r = orthonormalize(jnp.array([[3.0, 1.0], [4.0, 1.0]]))
    >>> [f"{length:.2f}" for length in r], bool(jnp.abs(q.T @ q - jnp.eye(2)).max() < 1e-5)
    (['5.00', '0.20'], True)
    """
    columns: list[Array] = []
    lengths = []
    for v in vectors.T:
        if columns:
            before = jnp.stack(columns)
            for _ in range(2):  # once leaves what rounding left over, which a column nearly dependent is made of
                v = v - before.T @ (before @ v)
        length = jnp.sqrt(v @ v + SMALLEST**2)
        columns.append(v / length)
        lengths.append(length)
    return jnp.stack(columns, axis=1), jnp.stack(lengths)


def largest_exponents(step: Callable[[C, Array], C], carry: C, xs: Array, num_exponents: int) -> Array:
    """The K largest Lyapunov exponents of a trajectory, per step, `[K]`: how fast its tangent vectors grow.

    Args:
        step: `(carry, x) -> carry`, differentiable, without batch axes.
        carry: where the trajectory begins: any pytree of N numbers.
        xs: inputs, T along the leading axis.
        num_exponents: K, from 1 to N.

    Returns:
        Exponents of finite time, in the order of the vectors. The more steps, the more they descend.

    Raises:
        ValueError: K outside 1..N, or no steps, with the sizes.

    Example: a linear map has the logarithms of its eigenvalues.

        >>> def step(h, x):
        ...     return jnp.array([2.0, 0.5]) * h + x
        >>> found = largest_exponents(step, jnp.zeros(2), jnp.zeros((200, 2)), 2)
        >>> (found / jnp.log(2.0)).round(1).tolist()
        [1.0, -1.0]
    """
    state, unravel = ravel_pytree(carry)
    if not 1 <= num_exponents <= state.size:
        raise ValueError(f"num_exponents must be from 1 to {state.size}, the size of the carry, got {num_exponents}")
    if len(xs) == 0:
        raise ValueError(f"exponents need a step at least, got xs of shape {xs.shape}")

    def one_step(now: tuple[Array, Array], x: Array) -> tuple[tuple[Array, Array], Array]:
        state, q = now
        after, push = jax.linearize(lambda flat: ravel_pytree(step(unravel(flat), x))[0], state)
        q, lengths = orthonormalize(jax.vmap(push, in_axes=1, out_axes=1)(q))
        return (after, q), jnp.log(lengths)

    # The start is random but fixed: unit vectors could lie in a subspace that the network never leaves.
    start = jax.random.normal(jax.random.key(0), (state.size, num_exponents), state.dtype)
    (_, _), growth = lax.scan(one_step, (state, orthonormalize(start)[0]), xs)
    return growth.mean(axis=0)


def flossing_loss(step: Callable[[C, Array], C], carry: C, xs: Array, num_exponents: int) -> Array:
    """The sum of the squares of the K largest Lyapunov exponents, `[]`, the mean over a batch of trajectories.

    Args:
        step: `(carry, x) -> carry`, without batch axes.
        carry: where each trajectory begins: arrays `[...]` without batch axes.
        xs: inputs `[T, B, I]`.
        num_exponents: K.

    Raises: `ValueError` as `largest_exponents`.

    Example:

        >>> loss = flossing_loss(lambda h, x: 0.5 * h + x, jnp.zeros(2), jnp.zeros((10, 3, 2)), 1)
        >>> float(loss / jnp.log(0.5) ** 2) > 0.999
        True
    """
    each = jax.vmap(lambda x: largest_exponents(step, carry, x, num_exponents), in_axes=1)(xs)
    return jnp.mean(jnp.sum(each**2, axis=-1))


def floss(loss: Callable[[P, Array], Array], params: P, optimizer: Any, num_steps: int, key: Array) -> tuple[P, Array]:
    """Minimizes a flossing loss by `num_steps` steps of an optimizer, as before training.

    Args:
        loss: `(params, key) -> scalar`; the key draws the inputs of the trajectories.
        params: a pytree.
        optimizer: a pair of functions `init(params) -> state` and `update(gradient, state, params)`, as in optax.
        num_steps: how many.
        key: of the inputs.

    Returns:
        The parameters, and the loss before each step, `[num_steps]`.
    """

    def step(now: tuple[P, S], i: Array) -> tuple[tuple[P, S], Array]:
        params, state = now
        value, gradient = jax.value_and_grad(loss)(params, jax.random.fold_in(key, i))
        updates, state = optimizer.update(gradient, state, params)
        return (tree_map(jnp.add, params, updates), state), value

    (params, _), losses = lax.scan(step, (params, optimizer.init(params)), jnp.arange(num_steps))
    return params, losses
