"""The last layer of every language model: a score for each token of the vocabulary, and the loss of the next one."""

import jax
import jax.numpy as jnp
from flax import nnx

from rnn_jax import losses
from rnn_jax.models.text import Embedding
from rnn_jax.types import Array, DType


class Head(nnx.Module):
    """From the top outputs to scores: W and b; tied to an embedding of size D, b and, where O is not D, a projection.

    Args:
        input_size: O.
        vocab_size: V.
        tied_size: D of the embedding that is W; None: W `[V, O]` is here.
        dtype: of the parameters.
        rngs: draws them.
    """

    def __init__(self, input_size: int, vocab_size: int, tied_size: int | None, dtype: DType, rngs: nnx.Rngs):
        self.bias = nnx.Param(jnp.zeros(vocab_size, dtype))
        self.tied = tied_size is not None
        if tied_size is None:
            scale = input_size**-0.5
            table = jax.random.uniform(rngs.params(), (vocab_size, input_size), dtype, -scale, scale)
            self.table = nnx.Param(table)
        elif tied_size != input_size:
            self.projection = nnx.Linear(input_size, tied_size, use_bias=False, param_dtype=dtype, rngs=rngs)

    def states(self, ys: Array) -> Array:
        """Outputs `[..., O]` to what W multiplies."""
        return self.projection(ys.astype(self.bias.dtype)) if hasattr(self, "projection") else ys

    def scores(self, states: Array, embedding: Embedding) -> Array:
        """States `[..., D or O]` to a score of each token, `[..., V]`, in float32 or wider."""
        weights, bias = self.weights(embedding)
        return losses.scores_of(states.astype(weights.dtype), weights, bias)

    def token_losses(self, states: Array, embedding: Embedding, targets: Array) -> Array:
        """The loss of each of the targets `[...]`, nats, from the states `[..., D or O]` before them."""
        return losses.token_losses(*self._flat(states, embedding), targets.ravel()).reshape(targets.shape)

    def cross_entropy(
        self,
        states: Array,
        embedding: Embedding,
        targets: Array,
        shares: Array,
        num_samples: int = 0,
        rngs: nnx.Rngs | None = None,
    ) -> Array:
        """The loss of training, `[]` nats: the sum over targets `[...]`, each with its share.

        Args:
            states: `[..., D or O]`.
            embedding: what may be W.
            targets: `[...]` integers.
            shares: `[...]`, see `rnn_jax.losses.cross_entropy`.
            num_samples: of the sampled softmax; 0: the exact loss.
            rngs: draws the samples from its `dropout` stream.
        """
        inputs = (*self._flat(states, embedding), targets.ravel(), shares.ravel())
        if not num_samples:
            return losses.cross_entropy(*inputs)
        assert rngs is not None
        return losses.sampled_cross_entropy(rngs.dropout(), *inputs, num_samples)

    def _flat(self, states: Array, embedding: Embedding) -> tuple[Array, Array, Array]:
        """States as `[N, D or O]` in the type of W, W and b."""
        weights, bias = self.weights(embedding)
        return states.reshape(-1, states.shape[-1]).astype(weights.dtype), weights, bias

    def weights(self, embedding: Embedding) -> tuple[Array, Array]:
        """W `[V, D or O]` and b `[V]`."""
        return (embedding.table if self.tied else self.table)[...], self.bias[...]
