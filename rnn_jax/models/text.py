"""Text classifiers: tokens in, one score per class out."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from rnn_jax.controls import length_mask
from rnn_jax.dropout import check_rate, dropout
from rnn_jax.models.pooling import FINAL, POOLS, pool_steps
from rnn_jax.models.recurrent import Recurrent
from rnn_jax.models.sequence import last_output
from rnn_jax.types import Array, DType, Key

UNK = 1
"""The token of a word that is not in the vocabulary."""


def drop_words(key: Key, tokens: Array, rate: float) -> Array:
    """Makes a share `rate` of the tokens, integers of any shape, unknown; `key` draws which.

    Source: Dai and Le, "Semi-supervised sequence learning", 2015.
    """
    return jnp.where(jax.random.bernoulli(key, rate, tokens.shape), UNK, tokens)


class TextClassifier(nnx.Module):
    """Embedding, recurrent layers, a summary over time, a linear layer.

        x_t = E[token_t]        h_1 ... h_T = recurrent(x_1 ... x_T)        scores = W pool(h) + b

    A step may read further features f_t beside its word, x_t = (E[token_t], f_t): see `rnn_jax.data.text.count_ratios`.

    Args:
        vocab_size: V.
        embedding_size: I, features of a word.
        cell: the name of a cell.
        hidden_size: H.
        num_classes: C.
        pool: how outputs over time become one vector, see `rnn_jax.models.pooling`; `last` is the final state of the
            top layer, of both directions where it has two, `last_backward` of the backward one alone.
        word_dropout: share of the words that become unknown, in training.
        embedding_dropout: share of the embedding's features that are absent from a whole text, in training (Gal and
            Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks", 2016).
        head_dropout: dropout on the summary, in training.
        embedding_scale: standard deviation of the embedding at the start.
        num_features: F, how many features a step reads beside its word.
        rngs: draws the parameters.
        options: of `Recurrent`.

    Example:

        >>> model = TextClassifier(100, 8, "gru", 5, 2, pool="max", rngs=nnx.Rngs(0))
        >>> model(jnp.array([[7, 2, 0], [3, 4, 5]]), jnp.array([2, 3])).shape
        (2, 2)
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_size: int,
        cell: str,
        hidden_size: int,
        num_classes: int,
        *,
        pool: str = "last",
        word_dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        head_dropout: float = 0.0,
        embedding_scale: float = 1.0,
        num_features: int = 0,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        for rate in (word_dropout, embedding_dropout, head_dropout):
            check_rate("dropout", rate)
        if pool not in POOLS:
            raise ValueError(f"unknown pool {pool!r}: take one of {', '.join(POOLS)}")
        dtype = options.get("param_dtype", jnp.float32)
        self.embedding = Embedding(vocab_size, embedding_size, embedding_scale, dtype, rngs)
        self.recurrent = Recurrent(cell, embedding_size + num_features, hidden_size, rngs=rngs, **options)
        features = {"mean_max": 2 * self.recurrent.output_size, "last_backward": hidden_size}.get(
            pool, self.recurrent.output_size
        )
        self.head = nnx.Linear(features, num_classes, param_dtype=dtype, rngs=rngs)
        self.pool = pool
        self.word_dropout = word_dropout
        self.embedding_dropout = embedding_dropout
        self.head_dropout = head_dropout

    def __call__(
        self,
        tokens: Array,
        lengths: Array,
        features: Array | None = None,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> Array:
        """Scores `[B, C]`, in float32 or wider.

        Args:
            tokens: `[B, T]`.
            lengths: `[B]`.
            features: `[B, T, F]`, what each step reads beside its word; None for F = 0.
            rngs: draws dropout masks from its `dropout` stream; None: evaluation, no dropout.
        """
        if rngs is not None and self.word_dropout:
            tokens = drop_words(rngs.dropout(), tokens, self.word_dropout)
        xs = self.embedding(tokens.T)
        if rngs is not None:
            xs = dropout(rngs.dropout(), xs, self.embedding_dropout, variational=True)
        if features is not None:
            xs = jnp.concatenate((xs, features.swapaxes(0, 1).astype(xs.dtype)), axis=-1)
        carry, ys = self.recurrent(xs, lengths=lengths, time_major=True, rngs=rngs)
        if self.pool in FINAL:
            summary = last_output(self.recurrent.cell, carry, self.pool == "last_backward", ys, lengths)
        else:
            summary = pool_steps(ys, lengths, self.pool)
        summary = summary.astype(self.head.kernel[...].dtype)
        if rngs is not None:
            summary = dropout(rngs.dropout(), summary, self.head_dropout)
        return self.head(summary)


class Embedding(nnx.Module):
    """A table `[V, D]` with a row per token, learnt by gradient: x = E[token].

    Args:
        vocab_size: V.
        size: D.
        scale: standard deviation of the entries at the start.
        dtype: of the table.
        rngs: draws it from its `params` stream.
    """

    def __init__(self, vocab_size: int, size: int, scale: float, dtype: DType, rngs: nnx.Rngs):
        self.table = nnx.Param(scale * jax.random.normal(rngs.params(), (vocab_size, size), dtype))

    def __call__(self, tokens: Array) -> Array:
        """Tokens `[...]` to rows `[..., D]`. A token beyond the table is an error of the caller, not checked here."""
        return self.table[...][tokens]

    def with_dropout(self, tokens: Array, rate: float, rngs: nnx.Rngs | None) -> Array:
        """Rows `[..., D]`, zeros wherever a token stands that is absent in this call, the others by 1 / (1 - rate).

        `rngs` draws which from its `dropout` stream; without it, or of a rate of 0, all rows are there.

        Source: Gal and Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks",
        2016.
        """
        xs = self(tokens)
        if rngs is None or not rate:
            return xs
        kept = dropout(rngs.dropout(), jnp.ones((self.table.shape[0], 1)), rate)
        return xs * kept[tokens].astype(xs.dtype)


class BagClassifier(nnx.Module):
    """The mean of a text's word vectors and a linear layer: no order, no recurrence.

    Args:
        vocab_size: V.
        embedding_size: D, features of a word.
        num_classes: C.
        embedding_scale: standard deviation of the embedding at the start.
        param_dtype: of the parameters.
        rngs: draws them.

    Source: Joulin, Grave, Bojanowski and Mikolov, "Bag of tricks for efficient text classification", 2016.

    >>> BagClassifier(100, 8, 2, rngs=nnx.Rngs(0))(jnp.array([[7, 2, 0], [3, 4, 5]]), jnp.array([2, 0])).shape
    (2, 2)
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_size: int,
        num_classes: int,
        *,
        embedding_scale: float = 1.0,
        param_dtype: DType = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.embedding = Embedding(vocab_size, embedding_size, embedding_scale, param_dtype, rngs)
        self.head = nnx.Linear(embedding_size, num_classes, param_dtype=param_dtype, rngs=rngs)

    def __call__(
        self, tokens: Array, lengths: Array, features: Array | None = None, *, rngs: nnx.Rngs | None = None
    ) -> Array:
        """Tokens `[B, T]` and lengths `[B]` to scores `[B, C]`; features and rngs are not used."""
        return self.head(pool_steps(self.embedding(tokens.T), lengths, "mean"))


class FlattenClassifier(nnx.Module):
    """The word vectors of a fixed number of steps side by side, and a linear layer: a weight per place and feature.

    Args:
        vocab_size: V.
        embedding_size: D, features of a word.
        max_tokens: the number of steps.
        num_classes: C.
        embedding_scale: standard deviation of the embedding at the start.
        param_dtype: of the parameters.
        rngs: draws them.

    >>> FlattenClassifier(100, 8, 3, 2, rngs=nnx.Rngs(0))(jnp.array([[7, 2], [3, 4]]), jnp.array([2, 1])).shape
    (2, 2)
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_size: int,
        max_tokens: int,
        num_classes: int,
        *,
        embedding_scale: float = 1.0,
        param_dtype: DType = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.embedding = Embedding(vocab_size, embedding_size, embedding_scale, param_dtype, rngs)
        self.head = nnx.Linear(max_tokens * embedding_size, num_classes, param_dtype=param_dtype, rngs=rngs)

    def __call__(
        self, tokens: Array, lengths: Array, features: Array | None = None, *, rngs: nnx.Rngs | None = None
    ) -> Array:
        """Tokens `[B, T]` with T up to `max_tokens`, and lengths `[B]`, to scores `[B, C]`.

        Features and rngs are not used.
        """
        valid = length_mask(lengths, tokens.shape[1]).T[..., None]
        xs = jnp.where(valid, self.embedding(tokens), 0)
        flat = xs.reshape(len(tokens), -1)
        assert self.head.bias is not None
        return flat @ self.head.kernel[...][: flat.shape[1]] + self.head.bias[...]
