"""What the recurrent layers of a whole model are called with, for those who look at the layers by themselves."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from rnn_jax.controls import valid_steps
from rnn_jax.models.recurrent import Recurrent
from rnn_jax.types import Array, Params


class Call(NamedTuple):
    """Of `Recurrent`, time-major.

    Attributes:
        xs: `[T, B, I]`, which need not be the T and B of the model's inputs.
        valid: `[T, B]` bool, False at padding; None: no padding.
        resets: `[T, B]` bool; None: none.
    """

    xs: Array
    valid: Array | None
    resets: Array | None


def record_call(with_params: Callable[[Params], Any], params: Params, inputs: tuple[Any, ...]) -> Call:
    """The last call of the recurrent layers, in `recurrent`, when a model is called with these inputs.

    Args:
        with_params: of `bind`.
        params: its parameters.
        inputs: what the model is called with.
    """
    bound = with_params(params)
    recorder = _Recorder(bound.recurrent)
    bound.recurrent = nnx.static(recorder)
    bound(*inputs)
    return recorder.calls[-1]


def read_shape(with_params: Callable[[Params], Any], params: Params, inputs: tuple[Any, ...]) -> tuple[int, int]:
    """B and T of `record_call`; nothing is computed."""
    xs = jax.eval_shape(lambda *given: record_call(with_params, *given).xs, params, inputs)
    return xs.shape[1], xs.shape[0]


class _Recorder:
    """In place of `Recurrent`: does what it does, and notes what it is called with."""

    def __init__(self, recurrent: Recurrent):
        self._recurrent = recurrent
        self.calls: list[Call] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recurrent, name)

    def __call__(self, xs: Array, *arguments: Any, **options: Any) -> Any:
        def time_major(array: Array | None) -> Array | None:
            return array if array is None or options.get("time_major") else jnp.swapaxes(array, 0, 1)

        by_step = jnp.asarray(xs) if options.get("time_major") else jnp.swapaxes(xs, 0, 1)
        mask, resets = time_major(options.get("mask")), time_major(options.get("resets"))
        self.calls.append(Call(by_step, valid_steps(len(by_step), options.get("lengths"), mask), resets))
        return self._recurrent(xs, *arguments, **options)
