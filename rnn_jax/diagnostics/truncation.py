"""What truncated backpropagation through time leaves out: the bias of its gradient against the length k.

The loss is a sum over steps, and so is its gradient. With theta_s the parameters as step s uses them,

    L   = 1 / T sum_t l_t
    g   = 1 / T sum_t sum_{s <= t}          dl_t / d theta_s        the whole gradient
    g_k = 1 / T sum_t sum_{b(t) <= s <= t}  dl_t / d theta_s        b(t) = k floor(t / k)

g_k is what `unroll(..., truncate_every=k)` gives: the values are those of the whole sequence, the carry is handed on,
and the gradient is cut at fixed borders, the steps k, 2k, 3k, ... So how far a loss sees back depends on where it
stands: the step just before a border sees k steps, the step just after it none but itself, the mean is (k + 1) / 2. A
window that slides along would let every loss see its last k steps, at k times the cost. The difference shows: over all
positions of the borders, the part of the gradient with lag j = t - s keeps a share max(0, 1 - j / k) of its weight,
where the sliding window keeps 1 if j < k and 0 otherwise. A network that forgets after tau steps therefore has a bias
of about tau / k for k above tau: it falls as a power of k, not exponentially.

Sources: Williams and Peng, "An efficient gradient-based algorithm for on-line training of recurrent network
trajectories", 1990; Tallec and Ollivier, "Unbiasing truncated backpropagation through time", 2017.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from rnn_jax.cells import Cell
from rnn_jax.types import Array, C, DType, Key, P
from rnn_jax.unrolling import unroll

DELAYS = (1, 4, 16, 64)


class TruncationBias(NamedTuple):
    """How far truncated gradients are from the whole one, `[K]` each, one entry per length.

    Attributes:
        relative_error: ||g_k - g|| / ||g||.
        cosine: <g_k, g> / (||g_k|| ||g||).
    """

    relative_error: Array
    cosine: Array


def echo_task(key: Key, num_steps: int, batch_size: int, dtype: DType = jnp.float32) -> tuple[Array, Array]:
    """White noise, and a target that is a sum of its echoes: what the loss says depends on inputs long past.

        x_t ~ N(0, 1),  u_t = (x_{t-1} + x_{t-4} + x_{t-16} + x_{t-64}) / 2      with x_t = 0 before the first step

    Args:
        key: draws the noise.
        num_steps: T.
        batch_size: B.
        dtype: of both.

    Returns:
        Inputs `[T, B, 1]` and targets `[T, B]`, each of unit variance (the targets from step 64 on).

    Raises:
        ValueError: a size below 1.

    >>> xs, targets = echo_task(jax.random.key(0), num_steps=100, batch_size=2)
    >>> xs.shape, bool(jnp.allclose(targets[70], (xs[69] + xs[66] + xs[54] + xs[6])[:, 0] / 2))
    ((100, 2, 1), True)
    """
    if num_steps < 1 or batch_size < 1:
        raise ValueError(f"sizes must be at least 1, got num_steps={num_steps}, batch_size={batch_size}")
    noise = jax.random.normal(key, (num_steps, batch_size), dtype)
    echoes = [jnp.pad(noise, ((delay, 0), (0, 0)))[:num_steps] for delay in DELAYS]
    return noise[..., None], sum(echoes, jnp.zeros_like(noise)) / len(DELAYS) ** 0.5


def echo_loss(
    cell: Cell[P, C], params: P, readout: Array, xs: Array, targets: Array, truncate_every: int | None = None
) -> Array:
    """L = mean_{t,b} (<y_t, r> - u_t)^2 / 2, from a zero carry: a scalar that every step has a part in.

    Args:
        cell: a cell; params: its parameters.
        readout: r, `[H]`.
        xs: inputs `[T, B, I]`.
        targets: u, `[T, B]`.
        truncate_every: k, where the gradient is cut; it changes no value.

    Raises:
        ValueError: targets that do not go with xs, or k below 1.
    """
    if targets.shape != xs.shape[:-1]:
        raise ValueError(f"targets must be {xs.shape[:-1]} for xs {xs.shape}, got {targets.shape}")
    _, ys = unroll(cell, params, xs, truncate_every=truncate_every)
    return jnp.mean((ys @ readout - targets) ** 2) / 2


def truncation_bias(
    cell: Cell[P, C], params: P, readout: Array, xs: Array, targets: Array, lengths: Sequence[int]
) -> TruncationBias:
    """The bias of the gradient of `echo_loss` with respect to `params`, for every truncation length.

    Args:
        cell, params, readout, xs, targets: as in `echo_loss`. `jax.vmap` over them measures several seeds at once.
        lengths: K truncation lengths k; one of T or more cuts nothing.

    Returns:
        `TruncationBias`, of `params`' dtype. NaN where a gradient is zero.

    Raises:
        ValueError: no length, one below 1, or shapes that do not fit.

    >>> from rnn_jax import cells
    >>> cell = cells.get("lstm")
    >>> params = cell.init_params(jax.random.key(0), input_size=1, hidden_size=8)
    >>> xs, targets = echo_task(jax.random.key(1), num_steps=128, batch_size=4)
    >>> bias = truncation_bias(cell, params, jnp.ones(8) / 8, xs, targets, lengths=[2, 16, 128])
    >>> bool(bias.relative_error[0] > 2 * bias.relative_error[1]), float(bias.relative_error[2]) < 1e-6
    (True, True)
    """
    if not lengths or min(lengths) < 1:
        raise ValueError(f"lengths must be at least 1 and not none, got {list(lengths)}")

    def gradient(every: int | None) -> Array:
        return ravel_pytree(jax.grad(lambda p: echo_loss(cell, p, readout, xs, targets, every))(params))[0]

    whole = gradient(None)
    norm = jnp.linalg.norm(whole)
    truncated = [gradient(k) for k in lengths]
    errors = [jnp.linalg.norm(each - whole) / norm for each in truncated]
    cosines = [each @ whole / (jnp.linalg.norm(each) * norm) for each in truncated]
    return TruncationBias(jnp.stack(errors), jnp.stack(cosines))
