"""The linear recurrent unit: a complex number turns and shrinks in every unit.

    lambda = exp(-exp(nu_log) + i exp(theta_log))               modulus below 1, whatever the parameters are
    s_t = lambda * s_{t-1} + exp(gamma_log) * (x_t B)           s, B and C complex
    y_t = Re(s_t C) + x_t D

Nothing is nonlinear in time: what is stands between layers. y reads x_t past the state, so that it does not follow from
the carry, and `Cell.output` is None. As of `rnn_jax.cells.mingru` all steps can be computed at once.

Shapes: x `[..., I]`, s and y `[..., H]`, `nu_log`, `theta_log`, `gamma_log` `[H]`, `b_re` and `b_im` `[I, H]`, `c_re`
and `c_im` `[H, H]`, `d [I, H]`; complex numbers as real and imaginary parts, in the carry too, so that lengths, resets
and zoneout work as for any other. In bfloat16 the carry is float32: it is a sum over time. The functions are those of a
`Cell`, with its arguments.

Source: Orvieto et al., "Resurrecting recurrent neural networks for long sequences", 2023.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells import linear
from rnn_jax.cells.cell import Cell, Sizes, matmul
from rnn_jax.initializers import gate_keys, init_gates
from rnn_jax.types import Array, DType, Key


class LRUParams(NamedTuple):
    """`nu_log`, `theta_log`, `gamma_log` `[H]`, `b_re`, `b_im` `[I, H]`, `c_re`, `c_im` `[H, H]`, `d [I, H]`."""

    nu_log: Array
    theta_log: Array
    gamma_log: Array
    b_re: Array
    b_im: Array
    c_re: Array
    c_im: Array
    d: Array


class LRUCarry(NamedTuple):
    """Real and imaginary part of s, `[..., H]` each."""

    re: Array
    im: Array


def init_params(
    key: Key,
    input_size: int,
    hidden_size: int,
    dtype: DType = jnp.float32,
    *,
    init: str = "pytorch",
    r_min: float = 0.0,
    r_max: float = 1.0,
    max_phase: float = 2 * math.pi,
) -> LRUParams:
    """Draws `LRUParams`: lambda uniformly from a ring, gamma such that s has the scale of its input.

    Args:
        key: draws them.
        input_size: I.
        hidden_size: H.
        dtype: of the parameters.
        init: the scheme of B and D, as input weights, and of C, as recurrent ones; B and C over the root of 2, being
            complex. The paper's is close to `gaussian`.
        r_min, r_max: the ring's radii, 0 to 1: the longer the memory wanted, the closer to 1.
        max_phase: the largest angle.

    Raises: `ValueError` for an unknown scheme, a size below 1, or radii that do not rise within 0..1.
    """
    if not 0 <= r_min < r_max <= 1:
        raise ValueError(f"r_min and r_max must rise within 0..1, got {r_min} and {r_max}")
    key_ring, key_phase, key_gates = jax.random.split(key, 3)
    w_ih, w_hh, _ = init_gates(gate_keys(key_gates), input_size, hidden_size, 3, dtype, init)
    b_re, b_im, d = jnp.split(w_ih, 3, axis=-1)
    c_re, c_im, _ = jnp.split(w_hh, 3, axis=-1)
    tiny = 1e-6  # neither radius nor angle may be 0, of which there is no logarithm
    share = jax.random.uniform(key_ring, (hidden_size,), jnp.float32, tiny, 1 - tiny)
    nu = -0.5 * jnp.log(share * (r_max**2 - r_min**2) + r_min**2)
    theta = max_phase * jax.random.uniform(key_phase, (hidden_size,), jnp.float32, tiny, 1.0)
    gamma_log = 0.5 * jnp.log(-jnp.expm1(-2 * nu))  # sqrt(1 - |lambda|^2)
    nu_log, theta_log, gamma_log = (part.astype(dtype) for part in (jnp.log(nu), jnp.log(theta), gamma_log))
    root = jnp.asarray(math.sqrt(0.5), dtype)
    return LRUParams(nu_log, theta_log, gamma_log, root * b_re, root * b_im, root * c_re, root * c_im, d)


def init_carry(batch_shape: tuple[int, ...], hidden_size: int, dtype: DType = jnp.float32) -> LRUCarry:
    """Zeros `[*batch_shape, H]`, H being `hidden_size`, of `dtype`, or float32 where that is narrower."""
    zeros = jnp.zeros((*batch_shape, hidden_size), jnp.promote_types(dtype, jnp.float32))
    return LRUCarry(zeros, zeros)


def project(params: LRUParams, xs: Array) -> tuple[Array, Array, Array]:
    """Real and imaginary part of exp(gamma_log) * (x B), and x D: `[..., I]` to three arrays `[..., H]`."""
    gamma = jnp.exp(params.gamma_log)
    return gamma * matmul(xs, params.b_re), gamma * matmul(xs, params.b_im), matmul(xs, params.d)


def eigenvalues(params: LRUParams) -> tuple[Array, Array]:
    """Real and imaginary part of lambda, `[H]` each, at least in float32: its distance from 1 is the memory."""
    nu_log, theta_log = (
        part.astype(jnp.promote_types(part.dtype, jnp.float32)) for part in (params.nu_log, params.theta_log)
    )
    modulus, angle = jnp.exp(-jnp.exp(nu_log)), jnp.exp(theta_log)
    return modulus * jnp.cos(angle), modulus * jnp.sin(angle)


def output(params: LRUParams, carry: LRUCarry, projected: tuple[Array, Array, Array]) -> Array:
    """y `[..., H]` from the carry after the step."""
    y = matmul(carry.re, params.c_re) - matmul(carry.im, params.c_im) + projected[2]
    return y.astype(params.d.dtype)


def recur(params: LRUParams, carry: LRUCarry, projected: tuple[Array, Array, Array]) -> tuple[LRUCarry, Array]:
    """The part of a step that needs the carry: three `[..., H]` to the new carry and y `[..., H]`."""
    (re, im), (lambda_re, lambda_im), (u_re, u_im, _) = carry, eigenvalues(params), projected
    new_re = (lambda_re * re - lambda_im * im + u_re).astype(re.dtype)
    new_im = (lambda_re * im + lambda_im * re + u_im).astype(im.dtype)
    after = LRUCarry(new_re, new_im)
    return after, output(params, after, projected)


def coefficients(params: LRUParams, projected: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    """lambda, for every step, and what comes in: two complex arrays `[..., H]`."""
    inputs = jax.lax.complex(projected[0], projected[1])
    turn = jax.lax.complex(*eigenvalues(params)).astype(inputs.dtype)
    return jnp.broadcast_to(turn, inputs.shape), inputs


LINEAR = linear.Linear(
    project,
    coefficients,
    pack=lambda carry: jax.lax.complex(carry.re, carry.im),
    unpack=lambda s, carry: LRUCarry(s.real.astype(carry.re.dtype), s.imag.astype(carry.im.dtype)),
    output=output,
)
"""s as a linear recurrence."""


def parallel(params: LRUParams, carry: LRUCarry, xs: Array) -> tuple[LRUCarry, Array]:
    """All steps at once, as of `rnn_jax.cells.linear.parallel`: xs `[T, *batch, I]` to the final carry and ys."""
    return linear.parallel(LINEAR, params, carry, xs)


def sizes(params: LRUParams) -> Sizes:
    """I and H, of B."""
    return Sizes(*params.b_re.shape)


def make() -> Cell[LRUParams, LRUCarry]:
    """The linear recurrent unit."""
    return Cell("lru", init_params, init_carry, recur, project, 3, sizes=sizes, trial=None)
