"""The GRU of its first paper, gates in the order r, z, n: the reset before the recurrent product.

    r_t = sigmoid(x_t W_ir + h_{t-1} W_hr + b_r)            reset gate
    z_t = sigmoid(x_t W_iz + h_{t-1} W_hz + b_z)            update gate
    n_t = tanh(x_t W_in + (r_t * h_{t-1}) W_hn + b_n)       candidate
    h_t = (1 - z_t) * n_t + z_t * h_{t-1}
    y_t = h_t

The default of ONNX's GRU, and Keras's with `reset_after=False`. Two products that depend on each other make a step,
where `rnn_jax.cells.gru`, PyTorch's and cuDNN's, has one; in return n needs no second bias.

Shapes: x `[..., I]`, h and y `[..., H]`, `w_ih [I, 3H]`, `w_hh [H, 3H]`, `b [3H]`. The functions are those of a
`Cell`, with its arguments.

Source: Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine translation",
2014.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.cell import Cell, gates, matmul, of_weights
from rnn_jax.cells.gru import GRUActivations, GRUCarry, init_carry, project
from rnn_jax.initializers import chrono_bias, gate_keys, init_gates
from rnn_jax.types import Array, DType, Key


class GRUResetBeforeParams(NamedTuple):
    """`w_ih [I, 3H]`, `w_hh [H, 3H]`, `b [3H]`, columns r, z, n."""

    w_ih: Array
    w_hh: Array
    b: Array


def init_params(
    key: Key,
    input_size: int,
    hidden_size: int,
    dtype: DType = jnp.float32,
    *,
    init: str = "pytorch",
    gain: float = 1.0,
    chrono: int | None = None,
) -> GRUResetBeforeParams:
    """Draws `GRUResetBeforeParams`; arguments, and what raises, as of `rnn_jax.cells.gru.init_params`."""
    keys = gate_keys(key)
    w_ih, w_hh, b = init_gates(keys, input_size, hidden_size, 3, dtype, init, gain)
    if chrono is not None:
        b = b.at[hidden_size : 2 * hidden_size].set(chrono_bias(keys.chrono, hidden_size, chrono, b.dtype))
    return GRUResetBeforeParams(w_ih, w_hh, b)


def activations(params: GRUResetBeforeParams, carry: GRUCarry, projected: tuple[Array, ...]) -> GRUActivations:
    """The gates and the candidate."""
    x_r, x_z, x_n = projected
    h, gate_columns = carry.h, 2 * carry.h.shape[-1]
    h_r, h_z = gates(matmul(h, params.w_hh[:, :gate_columns]), 2)
    r, z = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
    return GRUActivations(r, z, jnp.tanh(x_n + matmul(r * h, params.w_hh[:, gate_columns:])))


def recur(params: GRUResetBeforeParams, carry: GRUCarry, projected: tuple[Array, ...]) -> tuple[GRUCarry, Array]:
    """The part of a step that needs the carry: three `[..., H]` to the new carry and y `[..., H]`."""
    _, z, n = activations(params, carry, projected)
    h = ((1 - z) * n + z * carry.h).astype(carry.h.dtype)
    return GRUCarry(h), h


def make() -> Cell[GRUResetBeforeParams, GRUCarry]:
    """The GRU with its reset before the product."""
    return of_weights("gru_reset_before", init_params, init_carry, recur, project, 3, activations)
