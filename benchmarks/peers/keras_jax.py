"""Keras 3 on JAX: `SimpleRNN`, `LSTM` and `GRU` (gates z, r, n), batch-major, called without state."""

import os

os.environ["KERAS_BACKEND"] = "jax"  # before keras is imported, which chooses once

from typing import Any

import jax.numpy as jnp
import keras
import numpy as np

from benchmarks.peers.runner import JaxRunner, NotHere, columns
from benchmarks.problem import Problem


def make(problem: Problem, variant: str) -> JaxRunner:
    """The runner; unequal lengths are a mask."""
    del variant
    if keras.backend.backend() != "jax":
        raise NotHere(f"Keras was imported before and runs on {keras.backend.backend()}")
    shape, given = problem.shape, problem.params
    options: dict[str, Any] = {"return_sequences": True, "dtype": problem.dtype}
    options |= {"recurrent_initializer": "zeros"}  # the orthogonal default fails in bfloat16
    order = (0, 1, 2, 3)[: 4 if problem.cell == "lstm" else 1]
    bias = given["b"]
    if problem.cell == "lstm":
        layer = keras.layers.LSTM(shape.hidden_size, **options)
    elif problem.cell == "gru":
        layer = keras.layers.GRU(shape.hidden_size, reset_after=True, **options)
        order = (1, 0, 2)
        recurrent_bias = np.concatenate((np.zeros(2 * shape.hidden_size, np.float32), given["b_hn"]))
        bias = np.stack((bias, recurrent_bias))
    else:
        layer = keras.layers.SimpleRNN(shape.hidden_size, **options)
    layer.build((shape.batch_size, shape.length, shape.input_size))
    params = [jnp.asarray(columns(array, order), problem.dtype) for array in (given["w_ih"], given["w_hh"], bias)]
    fixed = [variable.value for variable in layer.non_trainable_variables]

    def apply(params, xs, lengths):
        mask = None if lengths is None else jnp.arange(shape.length) < lengths[:, None]
        return layer.stateless_call(params, fixed, xs, mask=mask)[0]

    def to_ours(gradient):
        w_ih, w_hh, b = (columns(array, order) for array in gradient)
        if problem.cell == "gru":
            return {"w_ih": w_ih, "w_hh": w_hh, "b": b[0], "b_hn": b[1, 2 * shape.hidden_size :]}
        return {"w_ih": w_ih, "w_hh": w_hh, "b": b}

    return JaxRunner(problem, apply, params, to_ours, batch_major=True)
