"""The neural probabilistic language model: the next token from a fixed number of tokens before it."""

import jax.numpy as jnp
from flax import nnx

from rnn_jax.dropout import check_rate, dropout
from rnn_jax.models.head import Head
from rnn_jax.models.text import Embedding
from rnn_jax.types import Array, DType


class FeedForwardLanguageModel(nnx.Module):
    """A network without recurrence over the last n tokens.

        x_t = (E[token_{t-n+1}], ..., E[token_t])        a_t = tanh(x_t H + d)        scores_t = a_t U + x_t W + b

    The carry of this model is what it reads of the past: the last n - 1 tokens. So it reads streams as a recurrent
    model does.

    Args:
        vocab_size: V.
        embedding_size: D.
        context: n.
        hidden_size: of a.
        direct: whether there is W, the direct connections.
        tied: one table serves as E and makes the scores, of (a, x) projected to D numbers; without W and with a of D
            numbers, of a itself.
        embedding_dropout, input_dropout, output_dropout: in training, of whole rows of E, of x and of a.
        embedding_scale: standard deviation of E at the start.
        param_dtype: of the parameters.
        rngs: draws them.

    Source: Bengio, Ducharme, Vincent and Jauvin, "A neural probabilistic language model", 2003.

    >>> model = FeedForwardLanguageModel(100, 8, 4, 16, rngs=nnx.Rngs(0))
    >>> model(jnp.array([[7, 2, 0], [3, 4, 5]])).shape
    (2, 3, 100)
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_size: int,
        context: int,
        hidden_size: int,
        *,
        direct: bool = True,
        tied: bool = False,
        embedding_dropout: float = 0.0,
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
        embedding_scale: float = 0.1,
        param_dtype: DType = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if context < 1:
            raise ValueError(f"context must be at least 1 token, got {context}")
        rates = {"embedding": embedding_dropout, "input": input_dropout, "output": output_dropout}
        for name, rate in rates.items():
            check_rate(f"{name}_dropout", rate)
        inputs = context * embedding_size
        self.embedding = Embedding(vocab_size, embedding_size, embedding_scale, param_dtype, rngs)
        self.hidden = nnx.Linear(inputs, hidden_size, param_dtype=param_dtype, rngs=rngs)
        self.head = Head(hidden_size + direct * inputs, vocab_size, embedding_size if tied else None, param_dtype, rngs)
        self.context = context
        self.direct = direct
        self.embedding_dropout = embedding_dropout
        self.input_dropout = input_dropout
        self.output_dropout = output_dropout

    def begin(self, batch_size: int) -> Array:
        """What stands before a text: `[B, n - 1]` times token 0."""
        return jnp.zeros((batch_size, self.context - 1), jnp.int32)

    def read(
        self, tokens: Array, carry: Array | None = None, *, resets: Array | None = None, rngs: nnx.Rngs | None = None
    ) -> tuple[Array, Array]:
        """Tokens `[B, T]`: the carry after them and features `[B, T, F]`, of which `scores` is linear; F is D if tied.

        `resets` is taken and not used: n tokens are soon past a border.
        """
        del resets
        tokens = tokens.astype(jnp.int32)
        whole = jnp.concatenate((self.begin(len(tokens)) if carry is None else carry, tokens), axis=1)
        steps = tokens.shape[1]
        windows = jnp.stack([whole[:, i : i + steps] for i in range(self.context)], axis=-1)
        xs = self.embedding.with_dropout(windows, self.embedding_dropout, rngs)
        xs = xs.reshape(*tokens.shape, self.hidden.in_features)
        if rngs is not None:
            xs = dropout(rngs.dropout(), xs, self.input_dropout)
        hidden = jnp.tanh(self.hidden(xs))
        if rngs is not None:
            hidden = dropout(rngs.dropout(), hidden, self.output_dropout)
        features = jnp.concatenate((hidden, xs), axis=-1) if self.direct else hidden
        return whole[:, steps:], self.head.states(features)

    def scores(self, states: Array) -> Array:
        """Features `[..., F]` to a score of each next token, `[..., V]`."""
        return self.head.scores(states, self.embedding)

    def __call__(self, tokens: Array) -> Array:
        """Tokens `[B, T]` to a score of each next token, `[B, T, V]`."""
        return self.scores(self.read(tokens)[1])

    def token_losses(
        self, tokens: Array, targets: Array, carry: Array | None = None, *, resets: Array | None = None
    ) -> tuple[Array, Array]:
        """The carry after tokens `[B, T]`, and the loss of each target, nats `[B, T]`, without dropout."""
        carry, states = self.read(tokens, carry, resets=resets)
        return carry, self.head.token_losses(states, self.embedding, targets)

    def loss(
        self,
        tokens: Array,
        targets: Array,
        carry: Array | None = None,
        *,
        resets: Array | None = None,
        num_samples: int = 0,
        rngs: nnx.Rngs | None = None,
    ) -> tuple[Array, tuple[Array, Array]]:
        """The mean loss over tokens `[B, T]`, nats; the carry after them; and the loss again, as nothing is added.

        `num_samples`: of the sampled softmax, for which `rngs` draws; 0: the exact loss.
        """
        carry, states = self.read(tokens, carry, resets=resets, rngs=rngs)
        shares = jnp.full(targets.shape, 1 / targets.size)
        entropy = self.head.cross_entropy(states, self.embedding, targets, shares, num_samples, rngs)
        return entropy, (carry, entropy)
