"""Lyapunov exponents: the mean rates, per step, at which small differences grow along a trajectory.

    J_t Q_{t-1} = Q_t R_t,        lambda_i = mean over t of log |R_t[i, i]|

With Q_0 orthogonal the columns of Q_t span the fastest growing directions, and nothing over- or underflows. A largest
exponent above 0 is chaos: gradients explode; far below 0 they vanish, with horizon -1/lambda steps.

Sources: Benettin et al., "Lyapunov characteristic exponents for smooth dynamical systems and for Hamiltonian systems",
1980; Vogt et al., "On Lyapunov exponents for RNNs", 2020.
"""

from typing import Generic, NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.diagnostics.steps import Step, X, flat_step, general_directions, num_directions, num_steps, push
from rnn_jax.types import Array, C, tree_map


class LyapunovSpectrum(NamedTuple, Generic[C]):
    """Rates in nats per step.

    Attributes:
        exponents: `[K]`, descending.
        growth: `[T, K]`, log |R_t[i, i]|, of which they are the means after the warm-up.
        carry: after the last step.
    """

    exponents: Array
    growth: Array
    carry: C


def lyapunov_spectrum(
    step: Step[C, X], carry: C, xs: X, *, num_exponents: int | None = None, warmup: int = 0, qr_every: int = 1
) -> LyapunovSpectrum[C]:
    """The K largest Lyapunov exponents along one trajectory.

    Args:
        step: `(carry, x) -> carry`.
        carry: where it starts: N numbers in all.
        xs: inputs, arrays `[T, ...]`; of a system without inputs `jnp.zeros((T, 0))`.
        num_exponents: K; None: N.
        warmup: steps at the beginning that do not count: the trajectory finds its attractor, Q its directions.
        qr_every: steps between two QR decompositions, a divisor of T and of `warmup`: faster, and as exact while
            directions do not collapse onto one another in between.

    On a CPU set OPENBLAS_NUM_THREADS=1 before Python starts, as the experiments do: a QR decomposition of more than
    about 100 columns is split over the cores, and takes a thousand times as long where one of them is busy.

    Returns: `LyapunovSpectrum`; with `qr_every` n its growth is `[T / n, K]`, per n steps.
    Raises: `ValueError` for counts that do not fit.

    Example: of a linear map the exponents are the logarithms of the eigenvalues' moduli.

        >>> grow = jnp.array([0.5, 2.0])
        >>> spectrum = lyapunov_spectrum(lambda h, x: grow * h, jnp.zeros(2), jnp.zeros((100, 0)), warmup=50)
        >>> [round(float(e), 4) for e in jnp.exp(spectrum.exponents)]
        [2.0, 0.5]
    """
    flat, vector, unravel = flat_step(step, carry)
    steps, size = num_steps(xs), vector.size
    wanted = num_directions("num_exponents", num_exponents, size)
    if qr_every < 1 or steps % qr_every or warmup % qr_every or not 0 <= warmup < steps:
        raise ValueError(
            f"qr_every={qr_every} must divide T={steps} and warmup={warmup}, and warmup must be in 0..{steps - 1}"
        )

    def tangents(state: tuple[Array, Array], x: X) -> tuple[tuple[Array, Array], None]:
        return push(flat, *state, x), None

    def block(state: tuple[Array, Array], xs: X) -> tuple[tuple[Array, Array], Array]:
        (vector, columns), _ = jax.lax.scan(tangents, state, xs)
        q, r = jnp.linalg.qr(columns)
        return (vector, q), jnp.log(jnp.abs(jnp.diag(r)))

    blocks = tree_map(lambda leaf: leaf.reshape(steps // qr_every, qr_every, *leaf.shape[1:]), xs)
    start = general_directions(size, wanted, vector.dtype)
    (vector, _), growth = jax.lax.scan(block, (vector, start), blocks)
    exponents = growth[warmup // qr_every :].mean(axis=0) / qr_every
    return LyapunovSpectrum(jnp.sort(exponents, descending=True), growth, unravel(vector))
