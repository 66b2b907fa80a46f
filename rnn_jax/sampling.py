"""The next token from logits: at a temperature, among the likeliest, fast enough for every step of a loop.

Temperature comes first, then `top_k`, `top_p`, `min_p`, each on what the one before has left: the order of Hugging Face
Transformers. Of tokens that are equally likely the one with the lower number counts as the likelier, so that a filter
never keeps more tokens than it says, and always the likeliest. All computation is in float32.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from rnn_jax.types import Array, Key

NEAR = 1e-6
"""Share of a `top_p` or `min_p` that float32 may lose: 0.5 + 0.3 reaches 0.8 whichever way the sum is rounded."""


def filter_logits(
    logits: Array, *, top_k: int | None = None, top_p: float | None = None, min_p: float | None = None
) -> Array:
    """The logits with -inf for every token that may not be drawn.

        top_k    the k likeliest tokens
        top_p    the smallest set of likeliest tokens whose probabilities sum to top_p or more
        min_p    the tokens with p >= min_p * max(p)

    `top_p` sorts all V tokens, unless `top_k` comes before; `sample` draws from the same tokens and does not.

    Args:
        logits: `[*batch, V]`, any float; -inf where a token is cut already.
        top_k: at least 1; None, or V and above, keeps all.
        top_p: above 0, at most 1; None or 1 keeps all. The token that crosses it is kept, and so at least one.
        min_p: likewise; None keeps all.

    Returns: `[*batch, V]` float32.

    Raises: `ValueError` for a `top_k` below 1 and for a `top_p` or `min_p` outside of (0, 1].

    Sources: Fan, Lewis and Dauphin, "Hierarchical neural story generation", 2018 (top_k); Holtzman, Buys, Du, Forbes
    and Choi, "The curious case of neural text degeneration", 2020 (top_p); Nguyen et al., "Turning up the heat: min-p
    sampling for creative and coherent LLM outputs", 2024 (min_p).

        >>> logits = jnp.log(jnp.array([0.1, 0.5, 0.15, 0.25]))
        >>> [jnp.isfinite(filter_logits(logits, **{name: value})).tolist()
        ...  for name, value in (("top_k", 1), ("top_p", 0.8), ("min_p", 0.5))]
        [[False, True, False, False], [False, True, True, True], [False, True, False, True]]
    """
    _check(top_k, top_p, min_p)
    logits = logits.astype(jnp.float32)
    size = logits.shape[-1]
    if (top_k is None or top_k >= size) and top_p in (None, 1):
        return jnp.where(_shifted(logits) >= _lowest(min_p), logits, -jnp.inf)
    likeliest, tokens = lax.top_k(logits, min(top_k or size, size))
    kept = jnp.where(_inside(likeliest, top_p, min_p), likeliest, -jnp.inf)
    return jnp.put_along_axis(jnp.full_like(logits, -jnp.inf), tokens, kept, axis=-1, inplace=False)


def sample(
    logits: Array,
    key: Key,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Array:
    """Draws a token for each row of logits.

        p = softmax(filter_logits(logits / temperature, top_k, top_p, min_p)),   token ~ p

    By the inverse of the distribution function, two uniform numbers a token, where the Gumbel trick takes V of them:
    the first chooses one of about sqrt(V) blocks of tokens, the second a token of the block. A token of probability 0
    is never drawn, whatever the rounding. `top_k` draws among the k values that `lax.top_k` finds. `top_p` needs no
    sort: a token that is drawn is kept if those likelier than it sum to less than top_p, and else drawn again among
    these.

    Args:
        logits: `[*batch, V]`, any float; -inf where a token is not to be drawn.
        key: one key for the whole batch; not read at temperature 0.
        temperature: at least 0: below 1 sharpens, 0 is the likeliest token, whatever the filters.
        top_k, top_p, min_p: as for `filter_logits`.

    Returns: `[*batch]` int32.

    Raises: `ValueError` for a temperature that is negative or not finite, and as `filter_logits`.

        >>> logits = jnp.log(jnp.array([[0.1, 0.5, 0.15, 0.25]] * 5))
        >>> sample(logits, jax.random.key(0), temperature=0.0).tolist()
        [1, 1, 1, 1, 1]
        >>> set(sample(logits, jax.random.key(0), top_k=2).tolist()) <= {1, 3}
        True
    """
    _check(top_k, top_p, min_p)
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature={temperature}: must be at least 0, and finite")
    logits = logits.astype(jnp.float32)
    if temperature == 0:
        return _likeliest(logits)
    if temperature != 1:
        logits = _shifted(logits) / temperature  # shifted first: a large logit over a low temperature overflows
    if top_k is not None and top_k < logits.shape[-1]:
        # Both results are used: of values alone XLA makes a sort of all V, a hundred times slower.
        logits, tokens = lax.top_k(logits, top_k)
        p = jnp.where(_inside(logits, top_p, min_p), jnp.exp(_shifted(logits)), 0)
        return jnp.take_along_axis(tokens, _draw(p, key)[..., None], axis=-1)[..., 0]
    shifted = _shifted(logits)
    p = jnp.exp(shifted)
    allowed = jnp.where(shifted >= _lowest(min_p), p, 0)
    return _draw(allowed, key) if top_p in (None, 1) else _draw_nucleus(p, allowed, top_p, key)


def _check(top_k: int | None, top_p: float | None, min_p: float | None) -> None:
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k={top_k}: must be at least 1")
    for name, share in (("top_p", top_p), ("min_p", min_p)):
        if share is not None and not 0 < share <= 1:
            raise ValueError(f"{name}={share}: must be above 0 and at most 1")


def _shifted(logits: Array) -> Array:
    return logits - logits.max(axis=-1, keepdims=True)


def _lowest(min_p: float | None) -> float:
    """The least shifted logit that `min_p` keeps."""
    return -math.inf if min_p is None else math.log(min_p) - NEAR


def _share(top_p: float) -> float:
    """`top_p`, near enough; above 0 in float32 too, so that the likeliest token is always kept."""
    return max(top_p * (1 - NEAR), 1e-30)


def _inside(ordered: Array, top_p: float | None, min_p: float | None) -> Array:
    """Which of `[*batch, K]` logits, the likeliest first, `top_p` and `min_p` keep."""
    shifted = _shifted(ordered)
    kept = shifted >= _lowest(min_p)
    if top_p in (None, 1):
        return kept
    p = jnp.exp(shifted)
    upto = jnp.cumsum(p, axis=-1)
    return kept & (upto - p < _share(top_p) * upto[..., -1:])


def _likeliest(logits: Array) -> Array:
    """`argmax`, which XLA does not vectorize for CPUs, over about sqrt(V) maxima and then about sqrt(V) logits."""
    return _by_blocks(logits, -jnp.inf, jnp.max, lambda row, _: jnp.argmax(row, axis=-1))


def _draw(p: Array, key: Key) -> Array:
    """A token for each row of `p [*batch, V]`, with probability proportional to p."""
    uniform = jax.random.uniform(key, (2, *p.shape[:-1]), jnp.float32)
    return _by_blocks(p, 0.0, jnp.sum, lambda row, level: _inverse(row, uniform[level]))


def _by_blocks(x: Array, fill: float, summary: Callable[..., Array], choose: Callable[[Array, int], Array]) -> Array:
    """Chooses a block of about sqrt(V) numbers by the summaries of all blocks, and then a number of that block."""
    size = x.shape[-1]
    width = math.isqrt(size - 1) + 1
    number = -(-size // width)
    padding = [(0, 0)] * (x.ndim - 1) + [(0, number * width - size)]
    blocks = jnp.pad(x, padding, constant_values=fill).reshape(*x.shape[:-1], number, width)
    block = choose(summary(blocks, axis=-1), 0)
    row = jnp.take_along_axis(blocks, block[..., None, None], axis=-2)[..., 0, :]
    return (block * width + choose(row, 1)).astype(jnp.int32)


def _inverse(p: Array, uniform: Array) -> Array:
    """The first index at which the sum of `p [*batch, K]` exceeds a share `uniform [*batch]`, below 1, of the whole.

    The sums of a parallel scan need not ascend and may grow where p is 0, by a rounding: an index with p > 0 is taken
    before any other.
    """
    upto = jnp.cumsum(p, axis=-1)
    beyond = upto > uniform[..., None] * upto[..., -1:]
    return jnp.argmax(jnp.where(p > 0, 1 + beyond.astype(jnp.int32), 0), axis=-1)


def _draw_nucleus(p: Array, allowed: Array, top_p: float, key: Key) -> Array:
    """A token with probability proportional to `allowed`, which is `p` or 0, in the smallest set that reaches top_p.

    A token that is drawn outside of the set leaves the likelier ones to draw from, which hold the set: on average at
    most 1 / top_p rounds, and an end, as the likeliest token is inside.
    """
    numbers = jnp.arange(p.shape[-1], dtype=jnp.int32)
    limit = _share(top_p) * p.sum(axis=-1)

    def body(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        count, found, token, left = state
        drawn = _draw(left, jax.random.fold_in(key, count))[..., None]
        own = jnp.take_along_axis(p, drawn, axis=-1)
        likelier = (p > own) | ((p == own) & (numbers < drawn))
        outside = jnp.where(likelier, p, 0).sum(axis=-1) >= limit  # False for NaN, which would have no end otherwise
        token = jnp.where(found, token, drawn[..., 0])
        return count + 1, found | ~outside, token, jnp.where(likelier, left, 0)

    batch = p.shape[:-1]
    start = (jnp.int32(0), jnp.zeros(batch, bool), jnp.zeros(batch, jnp.int32), allowed)
    return lax.while_loop(lambda state: ~state[1].all(), body, start)[2]
