"""The GRU cell, gates in the order r, z, n, the reset after the recurrent product.

    r_t = sigmoid(x_t W_ir + h_{t-1} W_hr + b_r)                reset gate
    z_t = sigmoid(x_t W_iz + h_{t-1} W_hz + b_z)                update gate
    n_t = tanh(x_t W_in + b_n + r_t * (h_{t-1} W_hn + b_hn))    candidate
    h_t = (1 - z_t) * n_t + z_t * h_{t-1}
    y_t = h_t

Shapes: x `[..., I]`, h and y `[..., H]`, `w_ih [I, 3H]`, `w_hh [H, 3H]`, `b [3H]`, `b_hn [H]`. The second bias of n
stands inside the reset, as in PyTorch and cuDNN, so it cannot be folded into the first. The functions are those of a
`Cell`, with its arguments.

Source: Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine translation",
2014, which applies the reset before the product; the variant here is the one that cuDNN made common. Chrono
initialization: Tallec and Ollivier, "Can recurrent neural networks warp time?", 2018.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.cell import Cell, gates, matmul, of_weights
from rnn_jax.cells.nonlinearities import STANDARD, Nonlinearities, check, cut
from rnn_jax.initializers import SCHEMES, chrono_bias, gate_keys, init_gates
from rnn_jax.types import Array, DType, Key


class GRUParams(NamedTuple):
    """`w_ih [I, 3H]`, `w_hh [H, 3H]`, `b [3H]`, columns r, z, n, and `b_hn [H]`, n's bias inside the reset."""

    w_ih: Array
    w_hh: Array
    b: Array
    b_hn: Array


class GRUCarry(NamedTuple):
    """`h [..., H]`, the hidden state."""

    h: Array


class GRUActivations(NamedTuple):
    """Reset, update gate and candidate, `[..., H]` each."""

    r: Array
    z: Array
    n: Array


def init_params(
    key: Key,
    input_size: int,
    hidden_size: int,
    dtype: DType = jnp.float32,
    *,
    init: str = "pytorch",
    gain: float = 1.0,
    chrono: int | None = None,
) -> GRUParams:
    """Draws `GRUParams` by a scheme of `rnn_jax.initializers`, `w_hh` times `gain`.

    Args:
        key: draws them.
        input_size: I.
        hidden_size: H.
        dtype: of the parameters.
        init: the scheme's name.
        gain: of the recurrent weights.
        chrono: the longest memory wanted, in steps: draws the bias of z, here the share that is kept, from
            log U(1, chrono - 1). None leaves what the scheme drew.

    Raises: `ValueError` for an unknown scheme, a size below 1, or a `chrono` below 3.
    """
    key_gates, key_n, key_hn = jax.random.split(key, 3)
    keys = gate_keys(key_gates)
    w_ih, w_hh, b = init_gates(keys, input_size, hidden_size, 3, dtype, init, gain)
    if chrono is not None:
        drawn = chrono_bias(keys.chrono, hidden_size, chrono, b.dtype)
        b = b.at[hidden_size : 2 * hidden_size].set(drawn)
    draw = SCHEMES[init].bias
    if init == "pytorch":  # n's two biases stay apart, so each is one uniform draw and not the sum of two
        draw = SCHEMES[init].w_hh
        b = b.at[2 * hidden_size :].set(draw(key_n, (hidden_size,), hidden_size, dtype))
    return GRUParams(w_ih, w_hh, b, draw(key_hn, (hidden_size,), hidden_size, dtype))


def init_carry(batch_shape: tuple[int, ...], hidden_size: int, dtype: DType = jnp.float32) -> GRUCarry:
    """Zeros `[*batch_shape, H]`, H being `hidden_size`, of `dtype`."""
    return GRUCarry(jnp.zeros((*batch_shape, hidden_size), dtype))


def project(params: GRUParams, xs: Array) -> tuple[Array, ...]:
    """x W_ih + b: `[..., I]` to three arrays `[..., H]`."""
    return gates(matmul(xs, params.w_ih) + params.b, 3)


def activations(
    params: GRUParams, carry: GRUCarry, projected: tuple[Array, ...], by: Nonlinearities = STANDARD
) -> GRUActivations:
    """The gates and the candidate."""
    x_r, x_z, x_n = projected
    h_r, h_z, h_n = gates(matmul(carry.h, params.w_hh), 3)
    r, z = (by.gate(cut(total, by.clip)) for total in (x_r + h_r, x_z + h_z))
    return GRUActivations(r, z, by.candidate(cut(x_n + r * (h_n + params.b_hn), by.clip)))


def recur(
    params: GRUParams, carry: GRUCarry, projected: tuple[Array, ...], by: Nonlinearities = STANDARD
) -> tuple[GRUCarry, Array]:
    """The part of a step that needs the carry: three `[..., H]` to the new carry and y `[..., H]`."""
    _, z, n = activations(params, carry, projected, by)
    h = cut((1 - z) * n + z * carry.h, by.clip_state).astype(carry.h.dtype)
    return GRUCarry(h), h


def make(by: Nonlinearities = STANDARD) -> Cell[GRUParams, GRUCarry]:
    """The GRU cell, with nonlinearities and limits `by`. Raises `ValueError` for a limit that is not above 0."""
    check(by)
    step, shown = (recur, activations) if by == STANDARD else (partial(recur, by=by), partial(activations, by=by))
    return of_weights("gru", init_params, init_carry, step, project, 3, shown)
