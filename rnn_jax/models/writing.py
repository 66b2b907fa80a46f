"""A language model that writes: each token is drawn from what the model makes of those before it."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells import Cell
from rnn_jax.generate import generate
from rnn_jax.models.language_model import LanguageModel
from rnn_jax.models.parameters import pure
from rnn_jax.sampling import sample
from rnn_jax.types import Array, Key, Params


class Written(NamedTuple):
    """What a writer has written.

    Attributes:
        tokens: `[B, T]`; after a text's end its last token.
        lengths: `[B]`, tokens until the one that stops, that one included; T where it never came.
        carry: after the last token but one has been read: the next call begins with it and with `tokens[:, -1]`.
    """

    tokens: Array
    lengths: Array
    carry: Any


def make_writer(
    model: LanguageModel,
    num_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    stop: int | None = None,
) -> Callable[[Params, Any, Array, Key], Written]:
    """A compiled function `write(params, carry, first, key) -> Written`, all tokens in one loop on the device.

    Args:
        model: whose form counts alone: `rnn_jax.models.abstract` will do.
        num_tokens: T.
        temperature, top_k, top_p, min_p: which token is drawn, see `rnn_jax.sampling.sample`.
        stop: the token that ends a text; None: none does.

    The function takes the parameters, the carries before the token `first` `[B]`, that token, which the first step
    reads, and a key that draws all of them.

    Raises: `ValueError` for what `sample` refuses.

    >>> from flax import nnx
    >>> model = LanguageModel(100, 8, "gru", 5, rngs=nnx.Rngs(0))
    >>> write = make_writer(model, 7, temperature=0.8, top_k=10)
    >>> write(pure(model)[1], model.begin(2), jnp.array([3, 4]), jax.random.key(0)).tokens.shape
    (2, 7)
    """
    step, _ = pure(model, "step")
    draw = partial(sample, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    jax.eval_shape(draw, jnp.zeros((1, model.head.bias.shape[0])), jax.random.key(0))  # its complaints now

    def unknown(*_: Any, **__: Any) -> Any:
        raise NotImplementedError("parameters and carries come from the model")

    # As one cell, whose inputs are tokens and whose outputs are scores.
    whole: Cell[Any, Any] = Cell(
        "language model", unknown, unknown, lambda params, carry, x: step(params, carry, x[..., 0]), trial=None
    )

    @jax.jit
    def write(params: Params, carry: Any, first: Array, key: Key) -> Written:
        found = generate(
            whole,
            params,
            first,
            num_tokens,
            draw,
            embed=lambda token: token[..., None],
            carry=carry,
            key=key,
            stop=None if stop is None else lambda token: token == stop,
        )
        return Written(found.choices.T, found.lengths, found.carry)

    return write
