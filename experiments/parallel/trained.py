"""The first recurrent layer of a finished run, and what it reads."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.common.restore import restore
from rnn_jax.cells import Cell
from rnn_jax.compose import Directions
from rnn_jax.models.parameters import bind
from rnn_jax.types import Array, Params

BATCH = 256
"""Sequences that are read at most."""


class Reader:
    """In place of `Recurrent`: keeps what it is called with."""

    def __init__(self, recurrent: Any):
        self._recurrent = recurrent
        self.xs = jnp.zeros((0, 0, 0))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recurrent, name)

    def __call__(self, xs: Array, *arguments: Any, **options: Any) -> Any:
        self.xs = xs if options.get("time_major") else jnp.swapaxes(xs, 0, 1)
        return self._recurrent(xs, *arguments, **options)


def first_layer(folder: str) -> tuple[dict[str, Any], Cell[Any, Any], Params, np.ndarray]:
    """A run, the cell and parameters of its first layer, and its inputs `[steps, I]`, sequence after sequence."""
    restored = restore(Path(folder), "run")
    look, data = restored.task.look_at(restored.config, BATCH)
    inputs, _ = look.take(data)
    bound = bind(restored.model)(jax.device_put(restored.params))
    reader = Reader(bound.recurrent)
    bound.recurrent = nnx.static(reader)
    bound(*inputs)
    layer = reader.params()[0]
    params = layer.forward if isinstance(layer, Directions) else layer
    keys = ("dataset", "protocol", "num_params", "seeds", "steps")
    about = {key: restored.result(key, object) for key in keys}
    xs = np.asarray(reader.xs.swapaxes(0, 1), np.float32)
    return about, reader.cell, params, xs.reshape(-1, xs.shape[-1])
