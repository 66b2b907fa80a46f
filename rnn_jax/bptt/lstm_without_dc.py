"""The LSTM's backward step as a lecture has it, without the gradient of the cell state. Wrong on purpose.

The lecture says that there is no dc because c_t is not learnable, and sends dh alone back through time:

    dc_t     = dh_t * o_t * (1 - tanh(c_t)^2)        the part through c_{t+1} is missing
    dh_{t-1} = dz_t W_hh^T
    dc_{t-1} = 0

But c_t depends on c_{t-1} through f_t, so the true gradient has dc_{t-1} = dc_t * f_t (`rnn_jax.bptt.lstm`). Here to
measure what that costs (`launch.py vanishing`). docs/errata.md has the lecture's other faults, which are not
reproduced.
"""

import jax.numpy as jnp

from rnn_jax.bptt import lstm
from rnn_jax.bptt.lstm import LSTMLocal
from rnn_jax.bptt.rule import Rule
from rnn_jax.cells.lstm import LSTMCarry, LSTMParams
from rnn_jax.types import Array


def step(params: LSTMParams, local: LSTMLocal, dcarry: LSTMCarry) -> tuple[LSTMCarry, Array]:
    """From dh_t alone to dh_{t-1} and dz_t; dc_{t-1} is zero."""
    dbefore, dz = lstm.make().step(params, local, dcarry._replace(c=jnp.zeros_like(dcarry.c)))
    return dbefore._replace(c=jnp.zeros_like(dbefore.c)), dz


def make() -> Rule:
    """The rule without dc."""
    return lstm.make()._replace(step=step)
