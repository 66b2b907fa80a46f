"""What context is worth to a recurrent language model: the loss of the same tokens, given more and more before them.

    loss_n(c) = -log P(token_n | token_{n-c}, ..., token_{n-1})        the carry is zeros before token_{n-c}

Since the tokens that are predicted are the same for every c, what differs between two losses is the context alone. A
network may never have met zeros amid a text in training: of few tokens it may then make less than there is in them.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from rnn_jax.controls import select
from rnn_jax.models.language_model import LanguageModel
from rnn_jax.models.parameters import pure
from rnn_jax.types import Array, Carry, Params

ContextLosses = Callable[[Params, Array], Array]


def make_context_losses(model: LanguageModel, lengths: Sequence[int], *, reset_at: int | None = None) -> ContextLosses:
    """A pure function `losses(params, windows) -> [K, N]`, nats: of each window's last token, by length of context.

    Args:
        model: whose form counts alone: `rnn_jax.models.abstract` will do.
        lengths: K numbers c of tokens, each at least 1.
        reset_at: the carry is zeros before this token is read, which stands between texts; None: never.

    The function takes the parameters and N windows `[N, C + 1]` of integers: C tokens, of which a context of c is the
    last c, and the one that is predicted. It reads sum(c) tokens of each window, one after another.

    Raises: `ValueError` for a length below 1 or none at all; the function, for one beyond C.

    Source: Khandelwal, He, Qi and Jurafsky, "Sharp nearby, fuzzy far away: how neural language models use context",
    2018.

    >>> from flax import nnx
    >>> model = LanguageModel(100, 8, "gru", 5, rngs=nnx.Rngs(0))
    >>> losses = make_context_losses(model, [1, 2, 4])
    >>> losses(pure(model)[1], jnp.array([[7, 2, 0, 9, 1], [3, 4, 5, 5, 6]])).shape
    (3, 2)
    """
    if min(lengths, default=0) < 1:
        raise ValueError(f"lengths must be at least one, and none below 1 token, got {list(lengths)}")
    step, _ = pure(model, "step")
    begin, _ = pure(model, "begin")

    def losses(params: Params, windows: Array) -> Array:
        count, longest = windows.shape[0], windows.shape[1] - 1
        if max(lengths) > longest:
            raise ValueError(f"windows {windows.shape} have contexts of {longest} tokens, lengths are {list(lengths)}")
        tokens = windows.T.astype(jnp.int32)
        zeros = begin(params, count)

        def read(carry: tuple[Carry, ...], token: Array) -> tuple[tuple[Carry, ...], Array]:
            if reset_at is not None:
                carry = select(token == reset_at, zeros, carry)
            after: tuple[tuple[Carry, ...], Array] = step(params, carry, token)
            return after

        def given(length: Array) -> Array:
            # The scores of all steps but the last are not asked for, and so not computed.
            carry = lax.fori_loop(longest - length, longest - 1, lambda t, carry: read(carry, tokens[t])[0], zeros)
            _, scores = read(carry, tokens[-2])
            return -jnp.take_along_axis(jax.nn.log_softmax(scores), tokens[-1][:, None], axis=-1)[:, 0]

        found: Array = lax.map(given, jnp.asarray(lengths))
        return found

    return losses
