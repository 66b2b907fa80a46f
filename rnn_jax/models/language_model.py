"""Recurrent language models: at every step a probability for each next token."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from rnn_jax.dropout import check_rate, dropout
from rnn_jax.models.head import Head
from rnn_jax.models.recurrent import Recurrent
from rnn_jax.models.text import Embedding
from rnn_jax.types import Array, Carry


class Regularization(NamedTuple):
    """What the loss of training has besides the cross-entropy, of the top layer's outputs h_t.

    Attributes:
        activation: alpha of alpha mean(h_t^2), of the outputs after dropout.
        temporal: beta of beta mean((h_t - h_{t-1})^2), of those before. Of texts with lengths it is a mean over their
            tokens, like the loss, and the first of a text counts as no change.

    Source: Merity, McCann and Socher, "Revisiting activation regularization for language RNNs", 2017.
    """

    activation: float = 0.0
    temporal: float = 0.0


UNREGULARIZED = Regularization()


class LanguageModel(nnx.Module):
    """Embedding, recurrent layers, a score per token.

        x_t = E[token_t]        h_t = recurrent(x_t, ...)        scores_t = W h_t + b        P(token_{t+1}) = softmax

    `tied`: W is E, and h_t is first projected to the embedding's size where that is another. The dropouts are those of
    AWD-LSTM: whole rows of E (`embedding_dropout`), features of x (`input_dropout`), between layers (`dropout` with
    `variational`), of the top outputs (`output_dropout`), of recurrent weights (`weight_drop`); but for the last, one
    mask per sequence and call.

    Args:
        vocab_size: V.
        embedding_size: D, features of a token.
        cell: the name of a cell.
        hidden_size: H.
        tied: one table serves as E and W.
        embedding_dropout, input_dropout, output_dropout: rates.
        embedding_scale: standard deviation of E at the start.
        num_classes: C, kinds of text; 0: one. Of several, `begin` makes the first carry of a text from its class.
        rngs: draws the parameters.
        options: of `Recurrent`, one direction.

    Sources: Mikolov et al., "Recurrent neural network based language model", 2010; Zaremba, Sutskever and Vinyals,
    "Recurrent neural network regularization", 2014; Inan, Khosravi and Socher, "Tying word vectors and word
    classifiers", 2017; Press and Wolf, "Using the output embedding to improve language models", 2017; Merity, Keskar
    and Socher, "Regularizing and optimizing LSTM language models", 2018.

    Example:

        >>> model = LanguageModel(100, 8, "lstm", 5, tied=True, rngs=nnx.Rngs(0))
        >>> carry, hidden = model.read(jnp.array([[7, 2, 0], [3, 4, 5]]))
        >>> hidden.shape, model.scores(hidden).shape
        ((2, 3, 8), (2, 3, 100))
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_size: int,
        cell: str,
        hidden_size: int,
        *,
        tied: bool = False,
        embedding_dropout: float = 0.0,
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
        embedding_scale: float = 0.1,
        num_classes: int = 0,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        rates = {"embedding": embedding_dropout, "input": input_dropout, "output": output_dropout}
        for name, rate in rates.items():
            check_rate(f"{name}_dropout", rate)
        if options.get("bidirectional"):
            raise ValueError("a language model reads in one direction: what comes next is what it predicts")
        dtype = options.get("param_dtype", jnp.float32)
        self.embedding = Embedding(vocab_size, embedding_size, embedding_scale, dtype, rngs)
        self.recurrent = Recurrent(cell, embedding_size, hidden_size, rngs=rngs, **options)
        self.head = Head(self.recurrent.output_size, vocab_size, embedding_size if tied else None, dtype, rngs)
        if num_classes:
            shapes = jax.tree.leaves(self.recurrent.init_carry(1))
            self.classes = nnx.List([Embedding(num_classes, leaf.shape[-1], 0.1, dtype, rngs) for leaf in shapes])
        self.embedding_dropout = embedding_dropout
        self.input_dropout = input_dropout
        self.output_dropout = output_dropout

    def begin(self, batch_size: int, labels: Array | None = None) -> tuple[Carry, ...]:
        """The carries before a text, one per layer: zeros, or of classes `[B]` a learnt vector each.

        Raises: `ValueError` for classes that the model does not have.
        """
        zeros: tuple[Carry, ...] = self.recurrent.init_carry(batch_size)
        if labels is None:
            return zeros
        if not hasattr(self, "classes"):
            raise ValueError("labels given, but the model has no classes: build it with num_classes")
        leaves, structure = jax.tree.flatten(zeros)
        rows = [table(labels).astype(leaf.dtype) for table, leaf in zip(self.classes, leaves, strict=True)]
        begun: tuple[Carry, ...] = jax.tree.unflatten(structure, rows)
        return begun

    def read(
        self,
        tokens: Array,
        carry: tuple[Carry, ...] | None = None,
        *,
        resets: Array | None = None,
        lengths: Array | None = None,
    ) -> tuple[tuple[Carry, ...], Array]:
        """Reads tokens `[B, T]`: the carries after them, and the states `[B, T, D or O]` that `scores` takes.

        Args:
            tokens: `[B, T]`.
            carry: of an earlier call, for what comes after it; None: zeros.
            resets: `[B, T]` bool: the carry is zeros before that token.
            lengths: `[B]`; past it, padding.
        """
        carry, ys = self.recurrent(self.embedding(tokens), carry=carry, resets=resets, lengths=lengths)
        return carry, self.head.states(ys)

    def step(self, carry: tuple[Carry, ...], token: Array) -> tuple[tuple[Carry, ...], Array]:
        """Reads one token `[B]`: the carries after it, and a score of each next token, `[B, V]`."""
        carry, y = self.recurrent.step(carry, self.embedding(token))
        return carry, self.scores(self.head.states(y))

    def scores(self, states: Array) -> Array:
        """States `[..., D or O]` to a score of each next token, `[..., V]`, in float32 or wider."""
        return self.head.scores(states, self.embedding)

    def state_losses(self, states: Array, targets: Array) -> Array:
        """The loss of each target, nats `[B, T]`, from the states of `read`."""
        return self.head.token_losses(states, self.embedding, targets)

    def __call__(self, tokens: Array) -> Array:
        """Tokens `[B, T]` to a score of each next token, `[B, T, V]`: what is learnt of `read`, from zeros."""
        return self.scores(self.read(tokens)[1])

    def token_losses(
        self, tokens: Array, targets: Array, carry: tuple[Carry, ...] | None = None, *, resets: Array | None = None
    ) -> tuple[tuple[Carry, ...], Array]:
        """The carries after tokens `[B, T]`, and the loss of each target, nats `[B, T]`, without dropout."""
        carry, states = self.read(tokens, carry, resets=resets)
        return carry, self.state_losses(states, targets)

    def loss(
        self,
        tokens: Array,
        targets: Array,
        carry: tuple[Carry, ...] | None = None,
        *,
        resets: Array | None = None,
        lengths: Array | None = None,
        regularization: Regularization = UNREGULARIZED,
        num_samples: int = 0,
        rngs: nnx.Rngs | None = None,
    ) -> tuple[Array, tuple[tuple[Carry, ...], Array]]:
        """The loss of training, `[]` nats per token.

        Args:
            tokens: `[B, T]`.
            targets: `[B, T]`, what comes next.
            carry: before the first token; None: zeros.
            resets: `[B, T]` bool: the carry is zeros before that token.
            lengths: `[B]`; past it, padding, which has no loss.
            regularization: what is added to it.
            num_samples: of the sampled softmax; 0: the exact loss.
            rngs: draws masks and samples from its `dropout` stream; None: no dropout.

        Returns: the loss, the carries after the tokens, and the cross-entropy alone.
        """
        xs = self._embed(tokens, rngs)
        resets = None if resets is None else resets.T
        carry, ys = self.recurrent(xs, carry=carry, resets=resets, lengths=lengths, time_major=True, rngs=rngs)
        dropped = ys if rngs is None else dropout(rngs.dropout(), ys, self.output_dropout, variational=True)
        steps, batch = tokens.shape[1], tokens.shape[0]
        whole = lengths is None
        lengths = jnp.full(batch, steps) if lengths is None else lengths
        valid = jnp.arange(steps)[:, None] < lengths
        shares = valid / jnp.maximum(valid.sum(), 1).astype(jnp.promote_types(ys.dtype, jnp.float32))
        entropy = self.head.cross_entropy(
            self.head.states(dropped), self.embedding, targets.T, shares, num_samples, rngs
        )
        total = entropy
        if regularization.activation:
            total += regularization.activation * _mean_square(dropped, valid, valid.sum())
        if regularization.temporal:
            changes = valid[1:].sum() if whole else valid.sum()
            total += regularization.temporal * _mean_square(ys[1:] - ys[:-1], valid[1:], changes)
        return total, (carry, entropy)

    def document_loss(
        self, tokens: Array, targets: Array, lengths: Array, labels: Array | None = None, **options: Any
    ) -> tuple[Array, tuple[tuple[Carry, ...], Array]]:
        """`loss` of whole texts, each from the carry that `begin` gives its class `[B]`."""
        return self.loss(tokens, targets, self.begin(len(tokens), labels), lengths=lengths, **options)

    def _embed(self, tokens: Array, rngs: nnx.Rngs | None) -> Array:
        """x `[T, B, D]`, with the dropouts below the layers."""
        xs = self.embedding.with_dropout(tokens.T, self.embedding_dropout, rngs)
        return xs if rngs is None else dropout(rngs.dropout(), xs, self.input_dropout, variational=True)


def _mean_square(values: Array, valid: Array, count: Array) -> Array:
    """Over features and `count` steps, of those that are valid: values `[T, B, H]`, valid `[T, B]`."""
    values = jnp.where(valid[..., None], values.astype(jnp.promote_types(values.dtype, jnp.float32)), 0)
    return jnp.sum(values**2) / jnp.maximum(count * values.shape[-1], 1)
