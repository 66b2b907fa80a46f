"""How far back a gradient reaches."""

import math

import jax.numpy as jnp
import numpy as np

from rnn_jax.diagnostics.jacobians import JacobianNorms
from rnn_jax.types import Array, Carry


def memory_horizon(log_norms: Array | np.ndarray | JacobianNorms[Carry], factor: float = math.e) -> Array:
    """The lag from which on the norm stays below its value at lag 0 divided by `factor`. May be jitted.

    Args:
        log_norms: `[T + 1]`, natural logarithms of norms by lag 0..T, or `JacobianNorms`, whose `whole` is taken.
        factor: of the fall, above 1.

    Returns: the lag in steps, a scalar; `inf` where the norm at the longest lag is still above.
    Raises: `ValueError` for a factor of 1 or less, or no norms.

        >>> float(memory_horizon(np.log([1.0, 0.5, 0.25, 0.125]), factor=3)), float(memory_horizon(np.log([1.0, 0.9])))
        (2.0, inf)
    """
    values = jnp.asarray(log_norms.whole if isinstance(log_norms, JacobianNorms) else log_norms, float)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"log_norms must be [T + 1] with at least one entry, got shape {values.shape}")
    if not factor > 1:
        raise ValueError(f"factor must be above 1, got {factor}")
    above = values >= values[0] - math.log(factor)
    lags = jnp.arange(1, values.size + 1)
    last = jnp.max(jnp.where(above, lags, 0))
    return jnp.where(last == values.size, jnp.inf, last.astype(values.dtype))
