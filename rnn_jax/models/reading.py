"""A language model over a whole text: the loss of every token, given all that stands before it."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax

from rnn_jax.types import Array, Params

TokenLosses = Callable[..., tuple[Any, Array]]
"""A model's `token_losses`: `(params, tokens [B, T], targets [B, T], carry, resets=...) -> (carry, losses [B, T])`."""


def text_losses(
    token_losses: TokenLosses,
    params: Params,
    carry: Any,
    tokens: Array,
    first: int | Array,
    *,
    reset_at: int | None = None,
    num_streams: int = 1,
    warm_up: int = 0,
    chunk: int = 256,
) -> Array:
    """The loss of each token of a text.

    With one stream the carry goes over the whole text: exact. Several streams read parts of it side by side, each from
    `warm_up` tokens before its part on: faster, and off by what the model would have known of still earlier ones.

    Args:
        token_losses: of the model, pure.
        params: its parameters.
        carry: before a text, of `num_streams` rows.
        tokens: `[N]` integers.
        first: the token that is read before the text: what ends one, or the last of the text before it.
        reset_at: the carry is zeros before this token is read, which stands between texts; None: never.
        num_streams: how many parts are read side by side.
        warm_up: tokens read before each part, whose losses do not count.
        chunk: tokens of a stream at once; of no influence but on memory and rounding.

    Returns: `[N]` nats, float32 or wider.
    """
    size = tokens.shape[0]
    part = -(-size // num_streams)
    steps = -(-(warm_up + part) // chunk) * chunk
    whole = jnp.concatenate((jnp.asarray(first, tokens.dtype)[None], tokens)).astype(jnp.int32)
    parts = jnp.arange(num_streams)[:, None] * part
    starts = jnp.maximum(parts - warm_up, 0)  # before the text there is nothing to read
    rows = whole[jnp.minimum(starts + jnp.arange(steps + 1), size)]  # behind it what does not count
    inputs, targets = (jnp.moveaxis(each.reshape(num_streams, -1, chunk), 1, 0) for each in (rows[:, :-1], rows[:, 1:]))

    def read(carry: Any, both: tuple[Array, Array]) -> tuple[Any, Array]:
        resets = None if reset_at is None else both[0] == reset_at
        return token_losses(params, *both, carry, resets=resets)

    _, found = lax.scan(read, carry, (inputs, targets))
    found = jnp.moveaxis(found, 0, 1).reshape(num_streams, steps)
    return jnp.take_along_axis(found, parts - starts + jnp.arange(part), axis=1).ravel()[:size]
