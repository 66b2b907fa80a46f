"""The coupled oscillatory network: units swing, driven by the input and by each other.

    z_t = z_{t-1} + dt * (tanh(x_t W_ih + h_{t-1} W_hh + z_{t-1} W_zh + b) - gamma * h_{t-1} - epsilon * z_{t-1})
    h_t = h_{t-1} + dt * z_t
    y_t = h_t

Steps of length dt of the oscillators h'' = tanh(...) - gamma h - epsilon h', of which z is the velocity. Over t dt of
time the state grows no faster than its root, and for small dt the gradient neither explodes nor vanishes exponentially.

Shapes: x `[..., I]`, h, z and y `[..., H]`, `w_ih [I, H]`, `w_hh [H, H]`, `w_zh [H, H]`, `b [H]`. In bfloat16 the carry
is float32: steps of dt would be lost in rounding. The functions are those of a `Cell`, with its arguments.

Source: Rusch and Mishra, "Coupled oscillatory recurrent neural network (coRNN): an accurate and (gradient) stable
architecture for learning long time dependencies", 2021, with the damping at z_{t-1}. The defaults are of the size
that the paper found for images read pixel by pixel; shorter sequences want a larger dt.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.cell import Cell, matmul, of_weights
from rnn_jax.cells.rnn import project
from rnn_jax.initializers import SCHEMES, gate_keys, init_gates
from rnn_jax.types import Array, DType, Key


class CoRNNParams(NamedTuple):
    """`w_ih [I, H]`, `w_hh [H, H]` of the positions, `w_zh [H, H]` of the velocities, `b [H]`."""

    w_ih: Array
    w_hh: Array
    w_zh: Array
    b: Array


class CoRNNCarry(NamedTuple):
    """Positions h and velocities z, `[..., H]` each."""

    h: Array
    z: Array


class Constants(NamedTuple):
    """The length of a step, the oscillators' stiffness, and their damping."""

    dt: float
    gamma: float
    epsilon: float


def init_params(
    key: Key,
    input_size: int,
    hidden_size: int,
    dtype: DType = jnp.float32,
    *,
    init: str = "pytorch",
    gain: float = 1.0,
) -> CoRNNParams:
    """Draws `CoRNNParams`, `w_hh` and `w_zh` times `gain`; arguments, and what raises, as of `rnn_jax.cells.rnn`'s."""
    key_gates, key_z = jax.random.split(key)
    w_ih, w_hh, b = init_gates(gate_keys(key_gates), input_size, hidden_size, 1, dtype, init, gain)
    w_zh = SCHEMES[init].w_hh(key_z, (hidden_size, hidden_size), hidden_size, dtype) * jnp.asarray(gain, dtype)
    return CoRNNParams(w_ih, w_hh, w_zh, b)


def init_carry(batch_shape: tuple[int, ...], hidden_size: int, dtype: DType = jnp.float32) -> CoRNNCarry:
    """Zeros `[*batch_shape, H]`, H being `hidden_size`, of `dtype`, or float32 where that is narrower."""
    zeros = jnp.zeros((*batch_shape, hidden_size), jnp.promote_types(dtype, jnp.float32))
    return CoRNNCarry(zeros, zeros)


def recur(constants: Constants, params: CoRNNParams, carry: CoRNNCarry, projected: Array) -> tuple[CoRNNCarry, Array]:
    """The part of a step that needs the carry: `[..., H]` to the new carry and y `[..., H]`."""
    dt, gamma, epsilon = constants
    h, z = carry
    force = jnp.tanh(projected + matmul(h, params.w_hh) + matmul(z, params.w_zh))
    new_z = (z + dt * (force - gamma * h - epsilon * z)).astype(z.dtype)
    new_h = (h + dt * new_z).astype(h.dtype)
    return CoRNNCarry(new_h, new_z), new_h.astype(params.b.dtype)


def make(dt: float = 0.042, gamma: float = 2.7, epsilon: float = 4.7) -> Cell[CoRNNParams, CoRNNCarry]:
    """The coupled oscillators.

    Args:
        dt: the length of a step.
        gamma: the oscillators' stiffness.
        epsilon: their damping.
    """
    step = partial(recur, Constants(dt, gamma, epsilon))
    return of_weights("cornn", init_params, init_carry, step, project)
