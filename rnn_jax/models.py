"""Models built from modules, and the bridge from a module to a pure function."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from rnn_jax.modules import Recurrent
from rnn_jax.types import Array, Carry, Params


def last_output(carry: Carry, only_backward: bool = False) -> Array:
    """The last hidden state of the top layer, `[B, D * H]`: both directions where it has two.

    Each direction's final carry, not the output at the last step: there the backward pass has read one input only.
    With `only_backward` a layer with two directions gives `[B, H]`, the backward one alone: what `hidden[-1]` is in
    PyTorch, and what the lectures' bidirectional classifiers read without meaning to (docs/errata.md, D5).
    """
    top = carry[-1]
    if not hasattr(top, "forward"):
        return top.h
    return top.backward.h if only_backward else jnp.concatenate((top.forward.h, top.backward.h), axis=-1)


class Forecaster(nnx.Module):
    """Reads a window and predicts the values after it: y = W h_T + b, h_T the last hidden state.

    Args:
        cell: the name of a cell.
        input_size: I, features per step.
        hidden_size: H.
        ahead: how many values to predict.
        residual: predicts the change from the window's last value (feature 0) instead of the value itself.
        rngs: draws the parameters.
        options: of `Recurrent` (`num_layers`, `bidirectional`, `backend`, `forget_bias`, ...).

    Example:

        >>> model = Forecaster("lstm", 1, 400, ahead=8, rngs=nnx.Rngs(0))
        >>> model(jnp.ones((2, 24, 1))).shape, num_params(model)
        ((2, 8), 646408)
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        ahead: int,
        *,
        residual: bool = False,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        self.recurrent = Recurrent(cell, input_size, hidden_size, rngs=rngs, **options)
        self.head = nnx.Linear(
            self.recurrent.output_size, ahead, param_dtype=options.get("param_dtype", jnp.float32), rngs=rngs
        )
        self.residual = residual

    def __call__(self, xs: Array, *, rngs: nnx.Rngs | None = None) -> Array:
        """Windows `[B, T, I]` to predictions `[B, ahead]`, in float32 or wider."""
        carry, _ = self.recurrent(xs, rngs=rngs)
        predictions = self.head(last_output(carry).astype(self.head.kernel[...].dtype))
        return predictions + xs[:, -1, :1] if self.residual else predictions


class Reader(nnx.Module):
    """Reads a sequence of features and answers at its end, o = W h_T + b, or at every step, o_t = W h_t + b.

    Args:
        cell: the name of a cell.
        input_size: I, features per step.
        hidden_size: H.
        num_outputs: O, numbers to predict, or scores of classes.
        every_step: answer at every step.
        rngs: draws the parameters.
        options: of `Recurrent` (`num_layers`, `bidirectional`, `backend`, `forget_bias`, ...).

    Example:

        >>> xs = jnp.ones((2, 7, 3))
        >>> Reader("gru", 3, 5, 4, rngs=nnx.Rngs(0))(xs).shape
        (2, 4)
        >>> Reader("gru", 3, 5, 4, every_step=True, rngs=nnx.Rngs(0))(xs).shape
        (2, 7, 4)
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        num_outputs: int,
        *,
        every_step: bool = False,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        self.recurrent = Recurrent(cell, input_size, hidden_size, rngs=rngs, **options)
        self.head = nnx.Linear(
            self.recurrent.output_size, num_outputs, param_dtype=options.get("param_dtype", jnp.float32), rngs=rngs
        )
        self.every_step = every_step

    def __call__(self, xs: Array, *, rngs: nnx.Rngs | None = None) -> Array:
        """Sequences `[B, T, I]` to `[B, O]`, or with `every_step` to `[B, T, O]`, in float32 or wider."""
        carry, ys = self.recurrent(xs, rngs=rngs)
        summary = ys if self.every_step else last_output(carry)
        return self.head(summary.astype(self.head.kernel[...].dtype))


def pure(model: nnx.Module) -> tuple[Callable[..., Any], Params]:
    """A module as a pure function: `apply(params, *args, **kwargs)` and its parameters, nested dicts of arrays.

    >>> apply, params = pure(Forecaster("gru", 1, 4, ahead=1, rngs=nnx.Rngs(0)))
    >>> apply(params, jnp.ones((2, 7, 1))).shape, sorted(params)
    ((2, 1), ['head', 'recurrent'])
    """
    graph, state = nnx.split(model, nnx.Param)
    params = nnx.to_pure_dict(state)

    def apply(params: Params, *args: Any, **kwargs: Any) -> Any:
        filled = jax.tree.map(lambda leaf: leaf, state)
        nnx.replace_by_pure_dict(filled, params)
        return nnx.merge(graph, filled)(*args, **kwargs)

    return apply, params


def num_params(model: nnx.Module) -> int:
    """How many numbers the module learns."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def summary(model: nnx.Module) -> list[tuple[str, str, int]]:
    """A row `(name, shape, number of parameters)` for each array and one for each part and the whole, parts in order.

    >>> for row in summary(Forecaster("rnn", 1, 4, ahead=1, rngs=nnx.Rngs(0))):
    ...     print(*row, sep=" | ")
    recurrent.layers.0.b | 4 | 4
    recurrent.layers.0.w_hh | 4 x 4 | 16
    recurrent.layers.0.w_ih | 1 x 4 | 4
    recurrent |  | 24
    head.bias | 1 | 1
    head.kernel | 4 x 1 | 4
    head |  | 5
    total |  | 29
    """
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    rows: list[tuple[str, str, int]] = []
    for part in (name for name in vars(model) if name in params):
        leaves = jax.tree_util.tree_leaves_with_path(params[part])
        for path, leaf in leaves:
            name = ".".join([part, *(str(entry.key) for entry in path)])
            rows.append((name, " x ".join(map(str, leaf.shape)), leaf.size))
        rows.append((part, "", sum(leaf.size for _, leaf in leaves)))
    rows.append(("total", "", num_params(model)))
    return rows
