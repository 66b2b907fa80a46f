"""A linear forecast beside a network, and how much of it the forecast takes.

The weights come from a regression in closed form (`rnn_jax.data.series.lines`) when the network has been trained; so
does the share of the line in the forecast of each step, by least squares on validation data (Bates and Granger, "The
combination of forecasts", 1969). Until then both are zero. No gradient flows into them.
"""

import jax.numpy as jnp
from flax import nnx
from jax import lax

from rnn_jax.types import Array, DType

FORMS = ("none", "shared", "full")
"""No line; one line for every target, from its own lags; one for each, from all that is read."""


class LinePath(nnx.Module):
    """y = past window times weights + what is known of the future times weights + bias.

    Args:
        form: `shared` or `full`.
        lag, ahead: rows read and rows forecast.
        num_past: features of a row that are known of the past alone, those of the targets first.
        num_targets: M.
        num_known: K, features known of the future too.
        dtype: of the weights.
    """

    def __init__(self, form: str, lag: int, ahead: int, num_past: int, num_targets: int, num_known: int, dtype: DType):
        shared = form == "shared"
        self.shared, self.num_past, self.num_targets = shared, num_past, num_targets
        shape = (ahead,) if shared else (ahead, num_targets)
        self.past = nnx.Param(jnp.zeros((lag, *shape) if shared else (lag, num_past, *shape), dtype))
        if num_known and not shared:  # a checkpoint takes no empty array
            self.future = nnx.Param(jnp.zeros((ahead, num_known, *shape), dtype))
        self.bias = nnx.Param(jnp.zeros(shape, dtype))
        self.share = nnx.Param(jnp.zeros((ahead, num_targets), dtype))

    def __call__(self, past: Array, future: Array) -> Array:
        """Windows `[B, lag, I]` and `[B, ahead, K]` to `[B, ahead, M]`."""
        weights, bias = lax.stop_gradient(self.past[...]), lax.stop_gradient(self.bias[...])
        past = past.astype(weights.dtype)
        if self.shared:
            return jnp.einsum("blm,lh->bhm", past[..., : self.num_targets], weights) + bias[:, None]
        found = jnp.tensordot(past[..., : self.num_past], weights, 2) + bias
        if not hasattr(self, "future"):
            return found
        return found + jnp.tensordot(future.astype(weights.dtype), lax.stop_gradient(self.future[...]), 2)

    def blend(self, forecast: Array, past: Array, future: Array) -> Array:
        """The change that the line's share makes to a forecast `[B, ahead, M]`."""
        return lax.stop_gradient(self.share[...]) * (self(past, future) - forecast)
