"""How much of the gradient is left so many steps back: an Elman network and two LSTMs over 1,000 steps.

Whatever a loss asks of the last state reaches the one k steps before it by way of their Jacobian, dh_T/dh_{T-k}: the
norm of that, as a logarithm, since in float32 the number itself would soon be zero.
"""

import math

import jax
import jax.numpy as jnp

from rnn_jax import cells
from rnn_jax.diagnostics import cell_step, jacobian_norms, memory_horizon

T, INPUTS, H = 1000, 8, 64
LAGS = (0, 10, 100, 1000)
xs = jax.random.normal(jax.random.key(0), (T, INPUTS))


def horizon(name, **options):
    """Prints log10 of the norm by lag, and returns the lag from which on less than a thousandth is left."""
    cell = cells.get(name)
    params = cell.init_params(jax.random.key(1), INPUTS, H, **options)
    step = cell_step(cell, params)
    norms = jax.jit(lambda start: jacobian_norms(step, start, xs))(cell.init_carry((), H))
    left = [(norms.whole[lag] - norms.whole[0]) / math.log(10) for lag in LAGS]
    print(f"{name:5}{options or ''!s:30}", *(f"{value:9.1f}" for value in left))
    assert jnp.isfinite(norms.whole).all()
    return float(memory_horizon(norms, factor=1000))


print(" " * 35, *(f"lag {lag:5}" for lag in LAGS))
elman = horizon("rnn", init="glorot_orthogonal")
lstm = horizon("lstm")
remembering = horizon("lstm", chrono=T)  # biases for a memory of up to T steps
print(f"less than a thousandth is left from lag {elman:.0f}, {lstm:.0f} and {remembering:.0f} on")
assert max(elman, lstm) < 100 < T <= remembering
