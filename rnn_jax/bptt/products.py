"""The two large products that every backward pass ends in, and the sum for the biases."""

import jax.numpy as jnp

from rnn_jax.cells.cell import matmul
from rnn_jax.types import Array, GateWeights


def outer_sum(left: Array, dz: Array) -> Array:
    """The sum over all leading axes of left_t^T dz_t: `[..., M]` and `[..., N]` to `[M, N]`."""
    return matmul(left.reshape(-1, left.shape[-1]).T, dz.reshape(-1, dz.shape[-1]))


def total(dz: Array) -> Array:
    """The sum over all leading axes: `[..., N]` to `[N]`."""
    return dz.sum(tuple(range(dz.ndim - 1)))


def input_gradient(params: GateWeights, dz: Array) -> Array:
    """dx = dz W_ih^T: `[..., G*H]` to `[..., I]`."""
    return matmul(dz, params.w_ih.T)


def join(*gates: Array) -> Array:
    """G arrays `[..., H]` side by side, `[..., G*H]`."""
    return jnp.concatenate(gates, axis=-1)
