"""The cross-entropy of the next token, of a vocabulary that is large: without the scores of all steps in memory.

    loss_n = log sum_v exp(h_n . W_v + b_v) - (h_n . W_y + b_y)        y = target_n

For a vocabulary of 10,000 the scores take most of the memory of a language model, and most of its time.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from rnn_jax.types import Array, Key

BLOCK = 512
"""Rows of scores that are in memory at once: with 10,000 tokens 20 MB, which a processor's cache holds."""


def scores_of(hidden: Array, weights: Array, bias: Array) -> Array:
    """h W^T + b: hidden h `[..., H]`, weights W `[V, H]` and bias b `[V]` to `[..., V]`, in float32 or wider."""
    wide = jnp.promote_types(hidden.dtype, jnp.float32)
    product = jnp.einsum("...h,vh->...v", hidden, weights.astype(hidden.dtype), preferred_element_type=wide)
    return product + bias.astype(wide)


def token_losses(hidden: Array, weights: Array, bias: Array, targets: Array, block: int = BLOCK) -> Array:
    """The loss of each token, nats, without a gradient's memory: for evaluation.

    Args:
        hidden: h `[N, H]`.
        weights: W `[V, H]`, a row per token.
        bias: b `[V]`.
        targets: y `[N]` integers in 0..V-1.
        block: rows of scores at once.

    Returns: `[N]` in float32 or wider.
    """

    def of(rows: tuple[Array, Array]) -> Array:
        return _losses(scores_of(rows[0], weights, bias), rows[1])

    blocks, rest = _blocks(block, hidden, targets)
    found = [] if blocks is None else [lax.map(of, blocks).ravel()]
    return jnp.concatenate([*found, of(rest)])


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def cross_entropy(
    hidden: Array, weights: Array, bias: Array, targets: Array, shares: Array, block: int = BLOCK
) -> Array:
    """sum_n shares_n loss_n, nats; its gradient is computed with it, block by block of rows.

    So no scores are kept for the backward pass and none computed twice.

    Args:
        hidden: h `[N, H]`.
        weights: W `[V, H]`, a row per token.
        bias: b `[V]`.
        targets: y `[N]` integers in 0..V-1.
        shares: `[N]`, the weight of each token in the sum: 1 / N each for the mean, 0 for padding. No gradient.
        block: rows of scores at once.

    Returns: `[]`, in float32 or wider.

    >>> h, w = jnp.ones((3, 2)), jnp.zeros((4, 2))
    >>> round(float(cross_entropy(h, w, jnp.zeros(4), jnp.array([0, 1, 2]), jnp.full(3, 1 / 3))), 4)
    1.3863
    """
    return jnp.sum(shares * token_losses(hidden, weights, bias, targets, block))


def _forward(hidden, weights, bias, targets, shares, block):
    def of(sums, rows):
        total, d_weights, d_bias = sums
        h, y, share = rows
        scores = scores_of(h, weights, bias)
        log_total = jax.nn.logsumexp(scores, axis=-1, keepdims=True)
        total += jnp.sum(share * (log_total[:, 0] - jnp.take_along_axis(scores, y[:, None], axis=-1)[:, 0]))
        d_scores = share[:, None] * jnp.exp(scores - log_total)
        d_scores = d_scores.at[jnp.arange(len(y)), y].add(-share)
        d_scores = d_scores.astype(h.dtype)
        d_weights += jnp.einsum("nv,nh->vh", d_scores, h, preferred_element_type=d_weights.dtype)
        return (total, d_weights, d_bias + d_scores.sum(axis=0, dtype=d_bias.dtype)), d_scores @ weights.astype(h.dtype)

    wide = jnp.promote_types(hidden.dtype, jnp.float32)
    sums = (jnp.zeros((), wide), jnp.zeros(weights.shape, wide), jnp.zeros(bias.shape, wide))
    shares = shares.astype(wide)
    blocks, rest = _blocks(block, hidden, targets, shares)
    parts = []
    if blocks is not None:
        sums, d_hidden = lax.scan(of, sums, blocks)
        parts.append(d_hidden.reshape(-1, hidden.shape[-1]))
    (total, d_weights, d_bias), d_rest = of(sums, rest)
    d_hidden = jnp.concatenate([*parts, d_rest])
    return total, (d_hidden, d_weights.astype(weights.dtype), d_bias.astype(bias.dtype))


def _backward(block, gradients, slope):
    scaled = jax.tree.map(lambda d: (slope * d).astype(d.dtype), gradients)
    return (*scaled, None, None)


cross_entropy.defvjp(_forward, _backward)


def sampled_cross_entropy(
    key: Key, hidden: Array, weights: Array, bias: Array, targets: Array, shares: Array, num_samples: int
) -> Array:
    """An estimate of `cross_entropy` from the targets and a few other tokens, drawn anew at each call.

        scores of a sampled token v: h . W_v + b_v - log(K q_v)        of the target: h . W_y + b_y - log(K q_y)

    with K samples from q_v = log((v + 2) / (v + 1)) / log(V + 1), Zipf's law for tokens numbered by their frequency. A
    sample that is the target counts like any other, beside the target itself: so the best model is that of the exact
    loss for every K (Ma and Collins), and as K grows the gradient becomes that of the exact loss.

    Args:
        key: draws the samples, the same for all rows.
        hidden, weights, bias, targets, shares: as for `cross_entropy`; tokens are numbered by frequency.
        num_samples: K.

    Returns: `[]`; not comparable with an exact loss.

    Sources: Bengio and Senecal, "Adaptive importance sampling to accelerate training of a neural probabilistic language
    model", 2008; Jean, Cho, Memisevic and Bengio, "On using very large target vocabulary for neural machine
    translation", 2015; Ma and Collins, "Noise contrastive estimation and negative sampling for conditional models:
    consistency and statistical efficiency", 2018.
    """
    vocab_size = weights.shape[0]

    def log_expected(tokens: Array) -> Array:
        numbers = tokens.astype(jnp.float32)
        return jnp.log(num_samples * jnp.log1p(1 / (numbers + 1)) / jnp.log(vocab_size + 1.0))

    uniform = jax.random.uniform(key, (num_samples,))
    samples = jnp.clip(jnp.exp(uniform * jnp.log(vocab_size + 1.0)).astype(jnp.int32) - 1, 0, vocab_size - 1)
    others = scores_of(hidden, weights[samples], bias[samples] - log_expected(samples))
    rows = weights[targets].astype(hidden.dtype)
    own = jnp.sum(hidden * rows, axis=-1, dtype=others.dtype) + bias[targets] - log_expected(targets)
    return jnp.sum(shares * (jnp.logaddexp(jax.nn.logsumexp(others, axis=-1), own) - own))


def _losses(scores: Array, targets: Array) -> Array:
    own = jnp.take_along_axis(scores, targets[:, None].astype(jnp.int32), axis=-1)[:, 0]
    return jax.nn.logsumexp(scores, axis=-1) - own


def _blocks(block: int, *arrays: Array):
    """Arrays `[N, ...]` as whole blocks `[M, block, ...]`, None for M = 0, and the rows that are left."""
    count = arrays[0].shape[0] // block
    cut = count * block
    whole = tuple(a[:cut].reshape(count, block, *a.shape[1:]) for a in arrays) if count else None
    return whole, tuple(a[cut:] for a in arrays)
