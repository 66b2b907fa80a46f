"""The LSTM whose output is projected, gates in the order i, f, g, o.

    z_t = x_t W_ih + h_{t-1} W_hh + b     cut into z_i, z_f, z_g, z_o
    i_t, f_t, o_t = sigmoid(z)            input, forget and output gate
    g_t = tanh(z_g)                       candidate
    c_t = f_t * c_{t-1} + i_t * g_t
    h_t = (o_t * tanh(c_t)) W_hr
    y_t = h_t

Many cells and a small state: H numbers remember, and the P of h_t are what the gates and the next layer read. The
recurrent weights shrink from 4 H^2 to 4 P H, which pays for the P H of the projection where P is below 4/5 of H.

Shapes: x `[..., I]`, c `[..., H]`, h and y `[..., P]`, `w_ih [I, 4H]`, `w_hh [P, 4H]`, `b [4H]`, `w_hr [H, P]`. In
bfloat16 the carry's c is float32, as of the LSTM. The functions are those of a `Cell`, with its arguments.

Source: Sak, Senior and Beaufays, "Long short-term memory recurrent neural network architectures for large scale
acoustic modeling", 2014, without its peepholes, as `torch.nn.LSTM` has it.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.cell import Cell, Sizes, gates, matmul, of_weights
from rnn_jax.cells.lstm import LSTMActivations, LSTMCarry, gate_biases
from rnn_jax.initializers import SCHEMES, gate_keys, init_gates
from rnn_jax.types import Array, DType, Key


class LSTMProjectionParams(NamedTuple):
    """`w_ih [I, 4H]`, `w_hh [P, 4H]`, `b [4H]`, columns i, f, g, o, and the projection `w_hr [H, P]`."""

    w_ih: Array
    w_hh: Array
    b: Array
    w_hr: Array


def projected_size(proj_size: int | None, hidden_size: int) -> int:
    """P: `proj_size`, by default half of H = `hidden_size`, and at least 1."""
    return max(1, hidden_size // 2) if proj_size is None else proj_size


def init_params(
    proj_size: int | None,
    key: Key,
    input_size: int,
    hidden_size: int,
    dtype: DType = jnp.float32,
    *,
    init: str = "pytorch",
    gain: float = 1.0,
    forget_bias: float | None = None,
    chrono: int | None = None,
) -> LSTMProjectionParams:
    """Draws `LSTMProjectionParams`, the projection as the scheme draws input weights.

    Args:
        proj_size: P; None: half of H.
        key, input_size, hidden_size, dtype, init, gain, forget_bias, chrono: of `rnn_jax.cells.lstm.init_params`.

    Raises: what that raises.
    """
    key_gates, key_hr = jax.random.split(key)
    keys, size = gate_keys(key_gates), projected_size(proj_size, hidden_size)
    w_ih, w_hh, b = init_gates(keys, input_size, hidden_size, 4, dtype, init, gain, size)
    w_hr = SCHEMES[init].w_ih(key_hr, (hidden_size, size), hidden_size, dtype)
    return LSTMProjectionParams(w_ih, w_hh, gate_biases(keys.chrono, b, hidden_size, forget_bias, chrono), w_hr)


def init_carry(
    proj_size: int | None, batch_shape: tuple[int, ...], hidden_size: int, dtype: DType = jnp.float32
) -> LSTMCarry:
    """Zeros: h `[*batch_shape, P]` of `dtype`, and c `[*batch_shape, H]`, float32 where that is narrower."""
    h = jnp.zeros((*batch_shape, projected_size(proj_size, hidden_size)), dtype)
    return LSTMCarry(h, jnp.zeros((*batch_shape, hidden_size), jnp.promote_types(dtype, jnp.float32)))


def project(params: LSTMProjectionParams, xs: Array) -> tuple[Array, ...]:
    """x W_ih + b: `[..., I]` to four arrays `[..., H]`."""
    return gates(matmul(xs, params.w_ih) + params.b, 4)


def activations(params: LSTMProjectionParams, carry: LSTMCarry, projected: tuple[Array, ...]) -> LSTMActivations:
    """The gates and the candidate."""
    recurrent = gates(matmul(carry.h, params.w_hh), 4)
    z_i, z_f, z_g, z_o = (x + r for x, r in zip(projected, recurrent, strict=True))
    return LSTMActivations(jax.nn.sigmoid(z_i), jax.nn.sigmoid(z_f), jnp.tanh(z_g), jax.nn.sigmoid(z_o))


def recur(params: LSTMProjectionParams, carry: LSTMCarry, projected: tuple[Array, ...]) -> tuple[LSTMCarry, Array]:
    """The part of a step that needs the carry: four `[..., H]` to the new carry and y `[..., P]`."""
    i, f, g, o = activations(params, carry, projected)
    c = (f * carry.c + i * g).astype(carry.c.dtype)
    h = matmul(o * jnp.tanh(c), params.w_hr).astype(carry.h.dtype)
    return LSTMCarry(h, c), h


def sizes(params: LSTMProjectionParams) -> Sizes:
    """I and H: the rows of `w_ih` and of `w_hr`."""
    return Sizes(params.w_ih.shape[0], params.w_hr.shape[0])


def make(proj_size: int | None = None) -> Cell[LSTMProjectionParams, LSTMCarry]:
    """The LSTM with P = `proj_size` outputs, by default half of its cells. Raises `ValueError` for a P below 1."""
    if proj_size is not None and proj_size < 1:
        raise ValueError(f"proj_size must be at least 1, got {proj_size}")
    init, start = partial(init_params, proj_size), partial(init_carry, proj_size)
    return of_weights("lstm_projection", init, start, recur, project, 4, activations, sizes=sizes)
