"""Initial weights, one gate at a time.

A scheme names how the three kinds of parameter of a gate begin. Fan-in and fan-out are those of one gate's block
(`[I, H]` or `[H, H]`), never of the `[I, G*H]` array that holds all gates side by side.

| scheme | `w_ih` | `w_hh` | biases |
|---|---|---|---|
| `pytorch` | U(-1/sqrt(H), 1/sqrt(H)) | the same | the same, summed over PyTorch's two biases |
| `glorot_orthogonal` | Glorot uniform | orthogonal | 0 |
| `identity` | Glorot uniform | identity | 0 |
| `gaussian` | Glorot uniform | N(0, 1/H) | 0 |

Sources: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010; Saxe,
McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks", 2014;
Le, Jaitly and Hinton, "A simple way to initialize recurrent networks of rectified linear units", 2015; the uniform
scheme is the default of `torch.nn.RNN`, `LSTM` and `GRU`; `gaussian` with a gain is the random network of Sompolinsky,
Crisanti and Sommers, "Chaos in random neural networks", 1988.
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from rnn_jax.types import Array, DType, Key


class Initializer(Protocol):
    """Draws one gate's block, as each function of a scheme does.

    Args:
        key: what is drawn is a function of it; a scheme that draws nothing ignores it.
        shape: of the block: `[I, H]`, `[H, H]` or `[H]`.
        hidden_size: H.
        dtype: of the block.
    """

    def __call__(self, key: Key, shape: tuple[int, ...], hidden_size: int, dtype: DType, /) -> Array: ...


def pytorch_uniform(key: Key, shape: tuple[int, ...], hidden_size: int, dtype: DType) -> Array:
    """U(-k, k) with k = 1/sqrt(H), what PyTorch draws for every array of a recurrent layer."""
    bound = hidden_size**-0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def pytorch_bias(key: Key, shape: tuple[int, ...], hidden_size: int, dtype: DType) -> Array:
    """The sum of two `pytorch_uniform` draws: PyTorch adds two biases where one would do."""
    first, second = jax.random.split(key)
    return pytorch_uniform(first, shape, hidden_size, dtype) + pytorch_uniform(second, shape, hidden_size, dtype)


def glorot_uniform(key: Key, shape: tuple[int, ...], hidden_size: int, dtype: DType) -> Array:
    """U(-k, k) with k = sqrt(6 / (fan_in + fan_out)) of one gate's block."""
    del hidden_size
    return jax.nn.initializers.glorot_uniform()(key, shape, dtype)


def orthogonal(key: Key, shape: tuple[int, ...], hidden_size: int, dtype: DType) -> Array:
    """A uniformly random orthogonal `[H, H]` matrix: every singular value is 1."""
    del hidden_size
    return jax.nn.initializers.orthogonal()(key, shape, jnp.promote_types(dtype, jnp.float32)).astype(dtype)


def identity(key: Key, shape: tuple[int, ...], hidden_size: int, dtype: DType) -> Array:
    """The identity `[H, H]`: at the start the hidden state is copied from step to step."""
    del key, hidden_size
    rows, columns = shape
    return jnp.eye(rows, columns, dtype=dtype)


def gaussian(key: Key, shape: tuple[int, ...], hidden_size: int, dtype: DType) -> Array:
    """N(0, 1/H): for large H the eigenvalues fill the unit disc."""
    return jax.random.normal(key, shape, dtype) * jnp.asarray(hidden_size**-0.5, dtype)


def chrono_bias(key: Key, hidden_size: int, longest: int, dtype: DType) -> Array:
    """log U(1, longest - 1), `[H]`: biases for which sigmoid gates forget after 2 to `longest` steps.

    Args:
        key: draws them.
        hidden_size: H.
        longest: the longest memory wanted, in steps.
        dtype: of the result; drawn in float32.

    Raises: `ValueError` for a `longest` below 3.

    Source: Tallec and Ollivier, "Can recurrent neural networks warp time?", 2018.
    """
    if longest < 3:
        raise ValueError(f"chrono must be at least 3, the longest memory in steps, got {longest}")
    return jnp.log(jax.random.uniform(key, (hidden_size,), jnp.float32, 1.0, longest - 1.0)).astype(dtype)


def zeros(key: Key, shape: tuple[int, ...], hidden_size: int, dtype: DType) -> Array:
    """Zeros."""
    del key, hidden_size
    return jnp.zeros(shape, dtype)


class Scheme(NamedTuple):
    """How the input weights, the recurrent weights and the biases of every gate begin."""

    w_ih: Initializer
    w_hh: Initializer
    bias: Initializer


SCHEMES = {
    "pytorch": Scheme(pytorch_uniform, pytorch_uniform, pytorch_bias),
    "glorot_orthogonal": Scheme(glorot_uniform, orthogonal, zeros),
    "identity": Scheme(glorot_uniform, identity, zeros),
    "gaussian": Scheme(glorot_uniform, gaussian, zeros),
}


class GateKeys(NamedTuple):
    """A key for each thing that may be drawn for the gates of a cell, none of them shared."""

    w_ih: Key
    w_hh: Key
    bias: Key
    chrono: Key


def gate_keys(key: Key) -> GateKeys:
    """The keys of a cell's gates: one split, so that no two purposes can come upon the same key.

    `jax.random.fold_in(key, 1)` beside a split is no key of its own: it is the second of the split's.
    """
    return GateKeys(*jax.random.split(key, len(GateKeys._fields)))


class GateParams(NamedTuple):
    """The arrays that every cell has, gates side by side: `w_ih [I, G*H]`, `w_hh [H, G*H]`, `b [G*H]`."""

    w_ih: Array
    w_hh: Array
    b: Array


def init_gates(
    keys: GateKeys,
    input_size: int,
    hidden_size: int,
    num_gates: int,
    dtype: DType,
    scheme: str,
    gain: float = 1.0,
    state_size: int | None = None,
) -> GateParams:
    """Draws the arrays of `num_gates` gates by the named scheme; `w_hh` is multiplied by `gain`.

    Args:
        keys: of `gate_keys`; each array takes its own, and each gate of it one split from that.
        input_size: I.
        hidden_size: H.
        num_gates: G.
        dtype: of the arrays.
        scheme: a name in `SCHEMES`.
        gain: of the recurrent weights.
        state_size: how many rows `w_hh` has, where the state that it multiplies has other than H features; None: H.

    Returns: `GateParams` with `w_ih [I, G*H]`, `w_hh [H, G*H]`, `b [G*H]`, of `dtype`.
    Raises: `ValueError` for an unknown scheme, or a size below 1.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"unknown initializer scheme {scheme!r}: take one of {', '.join(SCHEMES)}")
    if input_size < 1 or hidden_size < 1:
        raise ValueError(f"sizes must be at least 1, got input_size={input_size}, hidden_size={hidden_size}")

    def side_by_side(key: Key, init: Initializer, *rows: int) -> Array:
        keys = jax.random.split(key, num_gates)
        return jnp.concatenate([init(k, (*rows, hidden_size), hidden_size, dtype) for k in keys], axis=-1)

    return GateParams(
        side_by_side(keys.w_ih, SCHEMES[scheme].w_ih, input_size),
        side_by_side(keys.w_hh, SCHEMES[scheme].w_hh, state_size or hidden_size) * jnp.asarray(gain, dtype),
        side_by_side(keys.bias, SCHEMES[scheme].bias),
    )
