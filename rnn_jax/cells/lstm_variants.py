"""LSTMs with a part taken away or put in: what each part does for the gradient is seen by its absence.

With z_k = x_t W_k + h_{t-1} U_k + b_k and sigma the logistic function:

| cell | gates | c_t | h_t |
|---|---|---|---|
| `lstm_additive` | g | c_{t-1} + g_t | tanh(c_t) |
| `lstm_no_forget` | i, g, o | c_{t-1} + i_t * g_t | o_t * tanh(c_t) |
| `lstm_coupled` | i, g, o | (1 - i_t) * c_{t-1} + i_t * g_t | o_t * tanh(c_t) |
| `lstm_peephole` | i, f, g, o | f_t * c_{t-1} + i_t * g_t | o_t * tanh(c_t) |
| `lstm_layer_norm` | i, f, g, o | f_t * c_{t-1} + i_t * g_t | o_t * tanh(LN(c_t)) |

    i, f, o = sigma(z),  g = tanh(z)
    peephole: i = sigma(z_i + p_i * c_{t-1}), f = sigma(z_f + p_f * c_{t-1}), o = sigma(z_o + p_o * c_t)
    layer norm: z = LN(x_t W_ih) + LN(h_{t-1} W_hh) + b with LN(v) = gain * (v - mean(v)) / std(v), over a gate each

`lstm_additive` is the first step of building an LSTM up: a memory that nothing can erase or shut. With all three gates
it is `lstm`. `lstm_no_forget` is the LSTM of 1997.

`lstm_without_dc` is wrong on purpose. Its values are the `lstm`'s; its gradient is that of a lecture which holds that
there is no dc because c_t is not learnable, and sends dh alone back through time:

    dc_t     = dh_t * o_t * (1 - tanh(c_t)^2)        the part through c_{t+1} is missing
    dc_{t-1} = 0                                     where the LSTM has dc_t * f_t

Here to measure what that costs (docs/errata.md, 4).

Shapes: x `[..., I]`, h, c and y `[..., H]`, `w_ih [I, G*H]`, `w_hh [H, G*H]`, `b [G*H]`. The functions are those of
a `Cell`, with its arguments.

Sources: Hochreiter and Schmidhuber, "Long short-term memory", 1997; Gers and Schmidhuber, "Recurrent nets that time and
count", 2000 (peepholes); Greff et al., "LSTM: a search space odyssey", 2017 (coupled gates, and the comparison); Ba,
Kiros and Hinton, "Layer normalization", 2016.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells import lstm
from rnn_jax.cells.cell import Cell, gates, matmul, of_weights
from rnn_jax.cells.lstm import LSTMActivations, LSTMCarry, LSTMParams, init_carry
from rnn_jax.initializers import chrono_bias, gate_keys, init_gates
from rnn_jax.types import Array, DType, GateWeights, Key, Params

EPSILON = 1e-5
"""Added to the variance of a layer norm."""

Init = Callable[..., Params]
Recur = Callable[[Params, LSTMCarry, tuple[Array, ...]], tuple[LSTMCarry, Array]]
Activations = Callable[[Params, LSTMCarry, tuple[Array, ...]], NamedTuple]


class AdditiveActivations(NamedTuple):
    """The candidate, `[..., H]`."""

    g: Array


class InputOutputActivations(NamedTuple):
    """Input gate, candidate and output gate, `[..., H]` each."""

    i: Array
    g: Array
    o: Array


class PeepholeParams(NamedTuple):
    """`w_ih [I, 4H]`, `w_hh [H, 4H]`, `b [4H]`, columns i, f, g, o, and `peepholes [3, H]`: p_i, p_f, p_o."""

    w_ih: Array
    w_hh: Array
    b: Array
    peepholes: Array


class LayerNormParams(NamedTuple):
    """`w_ih [I, 4H]`, `w_hh [H, 4H]`, `b [4H]`, columns i, f, g, o, and the norms' gains.

    `gain_ih [4, H]`, `gain_hh [4, H]`, `gain_c [H]`.
    """

    w_ih: Array
    w_hh: Array
    b: Array
    gain_ih: Array
    gain_hh: Array
    gain_c: Array


def sums(num_gates: int, params: GateWeights, carry: LSTMCarry, projected: tuple[Array, ...]) -> tuple[Array, ...]:
    """z of each gate."""
    recurrent = gates(matmul(carry.h, params.w_hh), num_gates)
    return tuple(x + r for x, r in zip(projected, recurrent, strict=True))


def project(num_gates: int, params: GateWeights, xs: Array) -> tuple[Array, ...]:
    """x W_ih + b: `[..., I]` to G arrays `[..., H]`."""
    return gates(matmul(xs, params.w_ih) + params.b, num_gates)


def remember(carry: LSTMCarry, c: Array, o: Array | float, exposed: Array | None = None) -> tuple[LSTMCarry, Array]:
    """The new carry and y = o * tanh(c) from the new cell state c `[..., H]`.

    Args:
        carry: the one before, for its dtypes.
        c: the new cell state.
        o: the output gate, `[..., H]`; 1: there is none.
        exposed: what the tanh is of, if not c itself.
    """
    c = c.astype(carry.c.dtype)
    h = (o * jnp.tanh(c if exposed is None else exposed)).astype(carry.h.dtype)
    return LSTMCarry(h, c), h


def additive_activations(params: LSTMParams, carry: LSTMCarry, projected: tuple[Array, ...]) -> AdditiveActivations:
    """g."""
    return AdditiveActivations(jnp.tanh(sums(1, params, carry, projected)[0]))


def additive_recur(params: LSTMParams, carry: LSTMCarry, projected: tuple[Array, ...]) -> tuple[LSTMCarry, Array]:
    """c grows by g."""
    return remember(carry, carry.c + additive_activations(params, carry, projected).g, 1.0)


def input_output_activations(
    params: LSTMParams, carry: LSTMCarry, projected: tuple[Array, ...]
) -> InputOutputActivations:
    """i, g, o."""
    z_i, z_g, z_o = sums(3, params, carry, projected)
    return InputOutputActivations(jax.nn.sigmoid(z_i), jnp.tanh(z_g), jax.nn.sigmoid(z_o))


def no_forget_recur(params: LSTMParams, carry: LSTMCarry, projected: tuple[Array, ...]) -> tuple[LSTMCarry, Array]:
    """c grows by i * g."""
    i, g, o = input_output_activations(params, carry, projected)
    return remember(carry, carry.c + i * g, o)


def coupled_recur(params: LSTMParams, carry: LSTMCarry, projected: tuple[Array, ...]) -> tuple[LSTMCarry, Array]:
    """c makes room for what comes in."""
    i, g, o = input_output_activations(params, carry, projected)
    return remember(carry, (1 - i) * carry.c + i * g, o)


def peephole_activations(params: PeepholeParams, carry: LSTMCarry, projected: tuple[Array, ...]) -> LSTMActivations:
    """i, f, g, o; o looks at the new c."""
    z_i, z_f, z_g, z_o = sums(4, params, carry, projected)
    p_i, p_f, p_o = params.peepholes
    i, f, g = jax.nn.sigmoid(z_i + p_i * carry.c), jax.nn.sigmoid(z_f + p_f * carry.c), jnp.tanh(z_g)
    return LSTMActivations(i, f, g, jax.nn.sigmoid(z_o + p_o * (f * carry.c + i * g)))


def peephole_recur(params: PeepholeParams, carry: LSTMCarry, projected: tuple[Array, ...]) -> tuple[LSTMCarry, Array]:
    """The LSTM's update with gates that look at c."""
    i, f, g, o = peephole_activations(params, carry, projected)
    return remember(carry, f * carry.c + i * g, o)


def normalize(values: Array, gain: Array) -> Array:
    """LN(v) = gain * (v - mean(v)) / sqrt(var(v) + `EPSILON`) over the last axis: values `[..., H]`, gain `[H]`."""
    centred = values - values.mean(axis=-1, keepdims=True)
    return gain * centred * jax.lax.rsqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + EPSILON)


def layer_norm_project(params: LayerNormParams, xs: Array) -> tuple[Array, ...]:
    """LN(x W_ih) + b of each gate: `[..., I]` to four arrays `[..., H]`."""
    products = gates(matmul(xs, params.w_ih), 4)
    return tuple(
        normalize(p, gain) + b for p, gain, b in zip(products, params.gain_ih, gates(params.b, 4), strict=True)
    )


def layer_norm_activations(params: LayerNormParams, carry: LSTMCarry, projected: tuple[Array, ...]) -> LSTMActivations:
    """i, f, g, o of normalized sums."""
    products = gates(matmul(carry.h, params.w_hh), 4)
    z_i, z_f, z_g, z_o = (
        x + normalize(p, gain) for x, p, gain in zip(projected, products, params.gain_hh, strict=True)
    )
    return LSTMActivations(jax.nn.sigmoid(z_i), jax.nn.sigmoid(z_f), jnp.tanh(z_g), jax.nn.sigmoid(z_o))


def layer_norm_recur(
    params: LayerNormParams, carry: LSTMCarry, projected: tuple[Array, ...]
) -> tuple[LSTMCarry, Array]:
    """The LSTM's update; h shows a normalized c, and c itself stays as it is."""
    i, f, g, o = layer_norm_activations(params, carry, projected)
    c = f * carry.c + i * g
    return remember(carry, c, o, normalize(c, params.gain_c))


def without_dc_recur(params: LSTMParams, carry: LSTMCarry, projected: tuple[Array, ...]) -> tuple[LSTMCarry, Array]:
    """The LSTM's update, with no derivative through c_{t-1}: wrong on purpose, see above."""
    return lstm.recur(params, carry._replace(c=jax.lax.stop_gradient(carry.c)), projected)


def init_additive(
    key: Key,
    input_size: int,
    hidden_size: int,
    dtype: DType = jnp.float32,
    *,
    init: str = "pytorch",
    gain: float = 1.0,
) -> LSTMParams:
    """Draws `LSTMParams` of one gate, g; arguments as of `rnn_jax.cells.rnn.init_params`."""
    return LSTMParams(*init_gates(gate_keys(key), input_size, hidden_size, 1, dtype, init, gain))


def init_no_forget(
    key: Key,
    input_size: int,
    hidden_size: int,
    dtype: DType = jnp.float32,
    *,
    init: str = "pytorch",
    gain: float = 1.0,
) -> LSTMParams:
    """Draws `LSTMParams` of three gates, i, g, o; arguments as of `rnn_jax.cells.rnn.init_params`."""
    return LSTMParams(*init_gates(gate_keys(key), input_size, hidden_size, 3, dtype, init, gain))


def init_coupled(
    key: Key,
    input_size: int,
    hidden_size: int,
    dtype: DType = jnp.float32,
    *,
    init: str = "pytorch",
    gain: float = 1.0,
    chrono: int | None = None,
) -> LSTMParams:
    """`init_no_forget`; `chrono`, the longest memory wanted, draws the input gate's bias from -log U(1, chrono - 1).

    Raises: `ValueError` for a `chrono` below 3, and what `init_no_forget` raises.
    """
    keys = gate_keys(key)
    w_ih, w_hh, b = init_gates(keys, input_size, hidden_size, 3, dtype, init, gain)
    if chrono is not None:
        b = b.at[:hidden_size].set(-chrono_bias(keys.chrono, hidden_size, chrono, b.dtype))
    return LSTMParams(w_ih, w_hh, b)


def init_peephole(
    key: Key,
    input_size: int,
    hidden_size: int,
    dtype: DType = jnp.float32,
    *,
    init: str = "pytorch",
    gain: float = 1.0,
    forget_bias: float | None = None,
    chrono: int | None = None,
) -> PeepholeParams:
    """`rnn_jax.cells.lstm.init_params`, which see for the arguments, and peepholes of zero."""
    drawn = lstm.init_params(
        key, input_size, hidden_size, dtype, init=init, gain=gain, forget_bias=forget_bias, chrono=chrono
    )
    return PeepholeParams(*drawn, jnp.zeros((3, hidden_size), dtype))


def init_layer_norm(
    key: Key,
    input_size: int,
    hidden_size: int,
    dtype: DType = jnp.float32,
    *,
    init: str = "pytorch",
    gain: float = 1.0,
    forget_bias: float | None = None,
    chrono: int | None = None,
) -> LayerNormParams:
    """`rnn_jax.cells.lstm.init_params`, which see for the arguments, and norms with a gain of one."""
    drawn = lstm.init_params(
        key, input_size, hidden_size, dtype, init=init, gain=gain, forget_bias=forget_bias, chrono=chrono
    )
    ones = jnp.ones((4, hidden_size), dtype)
    return LayerNormParams(*drawn, ones, ones, ones[0])


def make() -> tuple[Cell[Params, LSTMCarry], ...]:
    """The variants."""

    def cell(name: str, num_gates: int, init: Init, recur: Recur, activations: Activations) -> Cell[Params, LSTMCarry]:
        return of_weights(name, init, init_carry, recur, partial(project, num_gates), num_gates, activations)

    return (
        cell("lstm_additive", 1, init_additive, additive_recur, additive_activations),
        cell("lstm_no_forget", 3, init_no_forget, no_forget_recur, input_output_activations),
        cell("lstm_coupled", 3, init_coupled, coupled_recur, input_output_activations),
        cell("lstm_without_dc", 4, lstm.init_params, without_dc_recur, lstm.activations),
        cell("lstm_peephole", 4, init_peephole, peephole_recur, peephole_activations),
        replace(
            cell("lstm_layer_norm", 4, init_layer_norm, layer_norm_recur, layer_norm_activations),
            project=layer_norm_project,
        ),
    )
