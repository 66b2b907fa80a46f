"""`jax.experimental.rnn`: cuDNN's LSTM, on an NVIDIA GPU and in float32 only, batch-major."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import rnn

from benchmarks.peers.runner import JaxRunner, NotHere
from benchmarks.problem import Problem


def flat_weights(problem: Problem) -> np.ndarray:
    """Its one array of weights: W_ih `[4H, I]`, W_hh `[4H, H]` and two biases, of which the second is zero."""
    given = problem.params
    parts = (given["w_ih"].T, given["w_hh"].T, given["b"], np.zeros_like(given["b"]))
    return np.concatenate([part.ravel() for part in parts])


def from_flat(problem: Problem, weights: jax.Array) -> dict[str, jax.Array]:
    """The same array, or its gradient, under our names."""
    shape = problem.shape
    w_ih, w_hh, b, _ = rnn.unpack_lstm_weights(weights, shape.input_size, shape.hidden_size, 1, False)
    return {"w_ih": w_ih[0].T, "w_hh": w_hh[0].T, "b": b[0]}


def make(problem: Problem, variant: str) -> JaxRunner:
    """The runner. Raises: `NotHere` without a GPU, or for another type than float32."""
    del variant
    if jax.devices()[0].platform != "gpu":
        raise NotHere("runs on a GPU only")
    if problem.dtype != "float32":
        raise NotHere("has float32 only")
    shape = problem.shape
    zeros = jnp.zeros((1, shape.batch_size, shape.hidden_size), jnp.float32)

    def apply(params, xs, lengths):
        if lengths is None:
            lengths = jnp.full(shape.batch_size, shape.length, jnp.int32)
        sizes = (shape.input_size, shape.hidden_size, 1, 0.0, False)
        precision = lax.Precision.DEFAULT if problem.tf32 else lax.Precision.HIGHEST
        return rnn.lstm(xs, zeros, zeros, params, lengths, *sizes, precision)[0]

    params = jnp.asarray(flat_weights(problem))
    return JaxRunner(problem, apply, params, lambda gradient: from_flat(problem, gradient), batch_major=True)
