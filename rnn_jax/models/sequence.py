"""Sequence models: recurrent layers and a linear read-out, of the last hidden state or of every step."""

from typing import Any

import jax.numpy as jnp
from flax import nnx

from rnn_jax.cells import Cell
from rnn_jax.compose import Directions
from rnn_jax.models.recurrent import Recurrent
from rnn_jax.types import Array, Carry, Params


def last_output(
    cell: Cell[Params, Carry],
    carry: tuple[Carry, ...],
    only_backward: bool = False,
    ys: Array | None = None,
    lengths: Array | None = None,
) -> Array:
    """The last output of the top layer, `[B, D * O]`: both directions where it has two.

    Each direction's final carry, not the output at the last step: there the backward pass has read one input only.
    With `only_backward` a layer with two directions gives `[B, H]`, the backward one alone: what `hidden[-1]` is in
    PyTorch, and what the lectures' bidirectional classifiers read without meaning to (docs/errata.md, 5).

    Args:
        cell: their cell.
        carry: the final carries of `Recurrent`, one per layer, arrays `[B, H]`.
        only_backward: see above.
        ys: the outputs `[T, B, D * O]`, which a cell without `output` is read from: at the last valid step, and of a
            backward pass at the first.
        lengths: `[B]`, of `ys`; None: T.

    Raises: `ValueError` for a cell without `output`, where there are no `ys`.
    """
    top = carry[-1]
    if cell.output is None:
        if ys is None:
            raise ValueError(f"cell {cell.name!r} has no output, the function from its carry to y: give ys")
        return _last_step(ys, lengths, isinstance(top, Directions), only_backward)
    if not isinstance(top, Directions):
        return cell.output(top)
    backward = cell.output(top.backward)
    return backward if only_backward else jnp.concatenate((cell.output(top.forward), backward), axis=-1)


def _last_step(ys: Array, lengths: Array | None, both: bool, only_backward: bool) -> Array:
    """`last_output` from the outputs; an empty sequence has zeros there."""
    forward, backward = jnp.split(ys, 2, axis=-1) if both else (ys, ys[..., :0])
    if only_backward and both:
        return backward[0]
    last = forward[-1]
    if lengths is not None:
        steps = jnp.maximum(lengths - 1, 0)[None, :, None]
        last = jnp.take_along_axis(forward, steps, axis=0)[0]
    return jnp.concatenate((last, backward[0]), axis=-1)


class SequenceModel(nnx.Module):
    """Reads a sequence of features and answers at its end, o = W h_T + b, or at every step, o_t = W h_t + b.

    Args:
        cell: the name of a cell.
        input_size: I, features per step.
        hidden_size: H.
        output_size: O: values to predict, or scores of classes.
        every_step: answer at every step.
        residual: predicts the change from the last value read (feature 0) instead of the value itself.
        rngs: draws the parameters.
        options: of `Recurrent` (`num_layers`, `bidirectional`, `backend`, `forget_bias`, ...).

    Example:

        >>> from rnn_jax.models import num_params
        >>> model = SequenceModel("lstm", 1, 400, output_size=8, rngs=nnx.Rngs(0))
        >>> model(jnp.ones((2, 24, 1))).shape, num_params(model)
        ((2, 8), 646408)
        >>> SequenceModel("gru", 3, 5, 4, every_step=True, rngs=nnx.Rngs(0))(jnp.ones((2, 7, 3))).shape
        (2, 7, 4)
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        output_size: int,
        *,
        every_step: bool = False,
        residual: bool = False,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        self.recurrent = Recurrent(cell, input_size, hidden_size, rngs=rngs, **options)
        self.head = nnx.Linear(
            self.recurrent.output_size, output_size, param_dtype=options.get("param_dtype", jnp.float32), rngs=rngs
        )
        self.every_step = every_step
        self.residual = residual

    def __call__(self, xs: Array, *, rngs: nnx.Rngs | None = None) -> Array:
        """Sequences xs `[B, T, I]` to `[B, O]`, or with `every_step` to `[B, T, O]`, in float32 or wider.

        `rngs` draws the masks of dropout and zoneout from its `dropout` stream; None: evaluation.
        """
        carry, ys = self.recurrent(xs, rngs=rngs)
        summary = ys if self.every_step else last_output(self.recurrent.cell, carry, ys=jnp.swapaxes(ys, 0, 1))
        outputs = self.head(summary.astype(self.head.kernel[...].dtype))
        if self.residual:
            outputs += xs[..., :1] if self.every_step else xs[:, -1, :1]
        return outputs
