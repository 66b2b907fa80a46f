"""Weights from and to the cells of Flax NNX.

Kernels have our layout, `[I, ...]` and `[H, ...]`, gates our order, and the equations are ours but for biases:

| Flax | here | kernels | bias |
|---|---|---|---|
| `SimpleCell` | `rnn`, `rnn_relu`, `rnn_identity` | `dense_i`, `dense_h` | of `dense_i` |
| `LSTMCell` | `lstm` | `ii`, `if_`, `ig`, `io` and `hi`, `hf`, `hg`, `ho`, one per gate | of the recurrent four |
| `OptimizedLSTMCell` | `lstm` | `dense_i`, `dense_h` | of `dense_h` |
| `GRUCell` | `gru` | `dense_i`, `dense_h` | of `dense_i`; no `b_hn`, whatever its docstring says |

Flax's LSTM carry is the pair (c, h), ours is `LSTMCarry(h, c)`; the other carries are h on both sides. Flax is imported
when a cell is converted.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import jax.numpy as jnp

from rnn_jax.cells import GRUParams, LSTMParams, RNNParams
from rnn_jax.cells.rnn import ACTIVATIONS
from rnn_jax.types import Array

if TYPE_CHECKING:
    from flax import nnx

FlaxCell: TypeAlias = "nnx.SimpleCell | nnx.LSTMCell | nnx.OptimizedLSTMCell | nnx.GRUCell"
KnownParams = RNNParams | LSTMParams | GRUParams


def from_flax(cell: FlaxCell) -> KnownParams:
    """The parameters of one layer from a Flax cell.

    Which Elman cell they belong to, the caller knows: a `SimpleCell` with `activation_fn=nnx.relu` is our `rnn_relu`.

    Returns: `RNNParams`, `LSTMParams` or `GRUParams` of the cell's dtype, `b_hn` of a GRU zero.

    Raises: `ValueError` for another kind of cell, one with `residual=True`, or one whose functions are not ours.

    Example:

        >>> from flax import nnx
        >>> from rnn_jax.convert import from_flax
        >>> params = from_flax(nnx.LSTMCell(3, 5, rngs=nnx.Rngs(0)))
        >>> params.w_ih.shape, params.w_hh.shape, params.b.shape
        ((3, 20), (5, 20), (20,))
    """
    kind = _check_cell(cell)
    w_ih, w_hh, b = (jnp.concatenate([part[...] for part in parts], axis=-1) for parts in _places(cell))
    if kind is GRUParams:
        return GRUParams(w_ih, w_hh, b, jnp.zeros_like(b[..., : cell.hidden_features]))
    return kind(w_ih, w_hh, b)


def to_flax(params: KnownParams, cell: FlaxCell) -> None:
    """Writes the parameters of one layer into a Flax cell of the same kind and sizes: the inverse of `from_flax`.

    Raises: `ValueError`, and leaves the cell as it was, for another kind of parameters; for shapes or dtypes that
    differ (make the cell with the `param_dtype` of `params`, and an equal `dtype` for the computation); for a GRU whose
    `b_hn` is not zero, which Flax cannot express; and for cells that `from_flax` refuses.

    Example:

        >>> import jax
        >>> from flax import nnx
        >>> from rnn_jax import cells
        >>> from rnn_jax.convert import to_flax
        >>> params = cells.get("rnn").init_params(jax.random.key(0), input_size=3, hidden_size=5)
        >>> cell = nnx.SimpleCell(3, 5, rngs=nnx.Rngs(0))
        >>> to_flax(params, cell)
        >>> bool((cell.dense_i.kernel[...] == params.w_ih).all())
        True
    """
    kind = _check_cell(cell)
    if not isinstance(params, kind):
        raise ValueError(f"{type(cell).__name__} takes {kind.__name__}, got {type(params).__name__}")
    present = from_flax(cell)
    for name, ours, theirs in zip(present._fields, params, present, strict=True):
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            raise ValueError(
                f"{name} is {ours.dtype}{list(ours.shape)}, the {type(cell).__name__} has "
                f"{theirs.dtype}{list(theirs.shape)}"
            )
    if isinstance(params, GRUParams) and bool(jnp.any(params.b_hn != 0)):
        raise ValueError("b_hn is not zero: Flax's GRUCell has no bias inside the reset")
    for parts, value in zip(_places(cell), (params.w_ih, params.w_hh, params.b), strict=True):
        for part, block in zip(parts, jnp.split(value, len(parts), axis=-1), strict=True):
            part[...] = block


def _places(cell: FlaxCell) -> tuple[list[Any], list[Any], list[Any]]:
    """The variables that hold the blocks of `w_ih`, of `w_hh` and of `b`, from left to right."""
    from flax import nnx

    if isinstance(cell, nnx.LSTMCell):
        inputs, recurrent = [cell.ii, cell.if_, cell.ig, cell.io], [cell.hi, cell.hf, cell.hg, cell.ho]
    else:
        inputs, recurrent = [cell.dense_i], [cell.dense_h]
    biased = inputs if isinstance(cell, nnx.SimpleCell | nnx.GRUCell) else recurrent
    return [part.kernel for part in inputs], [part.kernel for part in recurrent], [part.bias for part in biased]


def _check_cell(cell: FlaxCell) -> type[Any]:
    """The named tuple of our parameters for a Flax cell that computes what one of our cells does."""
    from flax import nnx

    if isinstance(cell, nnx.SimpleCell):
        if cell.residual:
            raise ValueError("a SimpleCell with residual=True has no counterpart here")
        _check_function("activation_fn", cell.activation_fn, ACTIVATIONS)
        return RNNParams
    if isinstance(cell, nnx.LSTMCell | nnx.OptimizedLSTMCell | nnx.GRUCell):
        _check_function("gate_fn", cell.gate_fn, {"sigmoid": jax.nn.sigmoid})
        _check_function("activation_fn", cell.activation_fn, {"tanh": jnp.tanh})
        return GRUParams if isinstance(cell, nnx.GRUCell) else LSTMParams
    raise ValueError(
        f"cannot convert a {type(cell).__name__}: take a Flax SimpleCell, LSTMCell, OptimizedLSTMCell or GRUCell"
    )


def _check_function(name: str, function: Callable[[Array], Array], ours: dict[str, Callable[[Array], Array]]) -> None:
    """Compares values and not functions: `jnp.tanh`, `jax.lax.tanh` and `nnx.tanh` are all tanh."""
    with jax.ensure_compile_time_eval():  # so that weights can be converted inside a `jit` too
        points = jnp.linspace(-4, 4, 17)
        if not any(jnp.allclose(function(points), one(points), atol=1e-6) for one in ours.values()):
            raise ValueError(f"the cell's {name} must be {' or '.join(ours)}")
