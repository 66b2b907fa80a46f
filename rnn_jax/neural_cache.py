"""A memory of the last tokens beside a language model: what was said in a like state is said again.

Source: Grave, Joulin and Usunier, "Improving neural language models with a continuous cache", 2017. Nothing is trained:
the states of the model that passes over the tokens are all it takes, and three numbers that `tune` finds on validation.
Computation is in float32, or in float64 where the states are.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnn_jax.types import Array

BLOCK = 256
"""Tokens scored by one product of matrices: their scores take `BLOCK * (window + BLOCK)` numbers of memory."""


class Setting(NamedTuple):
    """What a cache is tuned by.

    Attributes:
        window: W, how many tokens it holds.
        theta: how sharply it prefers like states; 0 counts all alike.
        share: lambda, of its probability in the mixture.
    """

    window: int
    theta: float
    share: float


def cache_log_probabilities(hidden: Array, targets: Array, window: int, theta: float | Array) -> Array:
    """The logarithm of the probability that a cache of the last `window` tokens gives to each token of a stream.

        p_cache(w_t | h_t) = sum_{i in C_t, w_i = w_t} exp(theta h_t . h_i) / sum_{i in C_t} exp(theta h_t . h_i)
        C_t = {t - W, ..., t - 1}, from 0 on

    Args:
        hidden: `[N, H]`, h_t, the state from which token t is predicted.
        targets: `[N]` integers, w_t, token t.
        window: W, at least 1.
        theta: any number; may be traced.

    Returns: `[N]`; -inf where the token is not in the cache, and so for the first token, when it is empty.

    Raises: `ValueError` for shapes that do not fit, targets that are no integers and a window below 1.

        >>> hidden = jnp.array([[1.0], [0.0], [1.0], [1.0]])
        >>> log_p = cache_log_probabilities(hidden, jnp.array([5, 7, 5, 7]), window=3, theta=math.log(3))
        >>> [round(float(p), 3) for p in jnp.exp(log_p)]  # 3 of 3 + 1, and 1 of 3 + 1 + 3
        [0.0, 0.0, 0.75, 0.143]
    """
    _check(hidden, targets, (window,))
    return _log_probabilities(hidden, targets, (window,), jnp.asarray(theta)[None])[0, 0]


def mix(log_p_model: Array, log_p_cache: Array, share: float | Array) -> Array:
    """The logarithm of a mixture of model and cache, for each token of a stream from its first.

        p = (1 - share) p_model + share p_cache,   and p_model for the first token, when the cache is empty

    Args:
        log_p_model: `[N]`, of the token that came.
        log_p_cache: `[N]`, what `cache_log_probabilities` returns.
        share: lambda, 0 to 1; may be traced.

    Returns: `[N]`.

    Raises: `ValueError` for shapes that differ or are not `[N]`.

        >>> log_p = mix(jnp.log(jnp.array([0.2, 0.2, 0.2])), jnp.log(jnp.array([0.0, 0.0, 1.0])), share=0.5)
        >>> [round(float(p), 3) for p in jnp.exp(log_p)]
        [0.2, 0.1, 0.6]
    """
    if log_p_model.shape != log_p_cache.shape or log_p_model.ndim != 1:
        raise ValueError(f"log_p_model {log_p_model.shape} and log_p_cache {log_p_cache.shape} must be [N] both")
    mixed = jnp.logaddexp(jnp.log1p(-share) + log_p_model, jnp.log(share) + log_p_cache)
    return jnp.where(jnp.arange(mixed.size) == 0, log_p_model, mixed)


def tune(
    hidden: Array,
    targets: Array,
    log_p_model: Array,
    windows: Sequence[int],
    thetas: Sequence[float],
    shares: Sequence[float],
) -> Setting:
    """The window, theta and share with the least mean of -log p over the tokens of a stream, the validation split.

    Args:
        hidden, targets: `[N, H]` and `[N]`, as for `cache_log_probabilities`.
        log_p_model: `[N]`, as for `mix`.
        windows, thetas, shares: the values to try, in all combinations; of equally good ones the first is taken. The
            products of states are made once for all of them.

    Raises: `ValueError` as `cache_log_probabilities`, for a `log_p_model` of another length, for no tokens and for
    nothing to try.

        >>> hidden, targets = jnp.ones((6, 1)), jnp.array([3, 4, 3, 4, 3, 4])
        >>> tune(hidden, targets, jnp.full(6, -5.0), windows=[1, 2], thetas=[0.0], shares=[0.1, 0.9])
        Setting(window=2, theta=0.0, share=0.9)
    """
    _check(hidden, targets, windows)
    if log_p_model.shape != targets.shape:
        raise ValueError(f"log_p_model {log_p_model.shape} and targets {targets.shape} must be [N] both")
    if not (len(targets) and len(windows) and len(thetas) and len(shares)):
        raise ValueError(
            f"nothing to choose from: {len(targets)} tokens, windows={windows}, thetas={thetas}, shares={shares}"
        )
    log_p_cache = _log_probabilities(hidden, targets, tuple(windows), jnp.asarray(thetas))
    best, least = Setting(windows[0], thetas[0], shares[0]), math.inf
    for window, of_window in zip(windows, log_p_cache, strict=True):
        for theta, of_theta in zip(thetas, of_window, strict=True):
            for share in shares:
                loss = -float(mix(log_p_model, of_theta, share).mean())
                if loss < least:
                    best, least = Setting(window, theta, share), loss
    return best


def _check(hidden: Array, targets: Array, windows: Sequence[int]) -> None:
    if hidden.ndim != 2 or targets.shape != hidden.shape[:1]:
        raise ValueError(f"hidden {hidden.shape} and targets {targets.shape} must be [N, H] and [N]")
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise ValueError(f"targets must be integers, got {targets.dtype}")
    if any(window < 1 for window in windows):
        raise ValueError(f"window={min(windows)}: must be at least 1")


@partial(jax.jit, static_argnums=2)
def _log_probabilities(hidden: Array, targets: Array, windows: tuple[int, ...], thetas: Array) -> Array:
    """`cache_log_probabilities` for all windows and thetas, `[windows, thetas, N]`.

    A block of tokens is scored against all that the cache of any of them can hold, the `longest` before the block and
    the block itself. Token row of the block has in its cache the columns from row + longest - window to row + longest.
    """
    size = len(targets)
    windows = tuple(min(window, max(size, 1)) for window in windows)  # a longer one holds no more
    longest, number = max(windows), max(-(-size // BLOCK), 1)
    dtype = jnp.promote_types(hidden.dtype, jnp.float32)
    after = number * BLOCK - size
    hidden = jnp.pad(hidden.astype(dtype), ((longest, after), (0, 0)))
    targets = jnp.pad(targets, (longest, after))
    row, column = jnp.arange(BLOCK)[:, None], jnp.arange(longest + BLOCK)
    in_cache = [(column >= row + longest - window) & (column < row + longest) for window in windows]

    def block(_: None, start: Array) -> tuple[None, Array]:
        keys = lax.dynamic_slice_in_dim(hidden, start, longest + BLOCK)
        tokens = lax.dynamic_slice_in_dim(targets, start, longest + BLOCK)
        scores = jnp.matmul(keys[longest:], keys.T, precision="highest")
        same = tokens[longest:, None] == tokens
        begun = column >= longest - start  # before are zeros, no tokens

        def of(held: Array, theta: Array) -> Array:
            weight = jnp.where(held & begun, theta * scores, -jnp.inf)
            matching = _log_sum_exp(jnp.where(same, weight, -jnp.inf))
            return jnp.where(matching == -jnp.inf, -jnp.inf, matching - _log_sum_exp(weight))

        return None, jnp.stack([lax.map(partial(of, held), thetas.astype(dtype)) for held in in_cache])

    _, found = lax.scan(block, None, jnp.arange(number) * BLOCK)  # [blocks, windows, thetas, BLOCK]
    return jnp.moveaxis(found, 0, 2).reshape(len(windows), len(thetas), number * BLOCK)[..., :size]


def _log_sum_exp(x: Array) -> Array:
    """Over the last axis; -inf for nothing but -inf."""
    most = x.max(axis=-1, keepdims=True)
    most = jnp.where(most == -jnp.inf, 0, most)
    return jnp.log(jnp.exp(x - most).sum(axis=-1)) + most[..., 0]
