"""Weights from and to PyTorch's `nn.RNN`, `nn.LSTM`, with a projection or without, and `nn.GRU`.

Gates stand in the same order on both sides; what differs is the layout and the number of biases. For layer k:

| PyTorch | here |
|---|---|
| `weight_ih_lk` `[G*H, I]`, from layer 1 on `[G*H, D*O]` | its transpose, `w_ih` |
| `weight_hh_lk` `[G*H, O]` | its transpose, `w_hh` |
| `bias_ih_lk` + `bias_hh_lk` `[G*H]` | `b` (`rnn`, `lstm`, and the blocks r and z of `gru`) |
| `weight_hr_lk` `[P, H]` | its transpose, `w_hr` (`lstm_projection`) |
| n's block of `bias_ih_lk`, n's block of `bias_hh_lk` | n's block of `b`, `b_hn` (`gru`) |
| the same names with `_reverse` | `Directions.backward` |

O, the features of the state, is P = `proj_size` with a projection, and else H. A P other than half of H needs
`rnn_jax.cells.lstm_projection.make(proj_size)` to run.

The functions take and return mappings from PyTorch's names to arrays and do not import PyTorch:

    params = from_torch("lstm", module.state_dict())                      # of a module on the CPU
    module.load_state_dict({name: torch.from_numpy(array) for name, array in to_torch(params).items()})

Values and gradients agree, training does not stay in step: PyTorch trains both biases, so that one step of SGD or Adam
moves their sum twice as far as it moves our one bias.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from rnn_jax import cells
from rnn_jax.cells import GRUParams, LSTMParams, LSTMProjectionParams, RNNParams
from rnn_jax.compose import Directions
from rnn_jax.types import Params

KINDS: dict[str, type] = {
    "rnn": RNNParams,
    "rnn_relu": RNNParams,
    "lstm": LSTMParams,
    "lstm_projection": LSTMProjectionParams,
    "gru": GRUParams,
}
"""The cells that PyTorch has too, and the named tuples of their parameters."""

NUM_GATES = {kind: cells.get(name).num_gates for name, kind in KINDS.items()}

_NAME = re.compile(r"(?:(?:weight|bias)_[ih]h|weight_hr)_l(\d+)(_reverse)?")
_SUFFIXES = ("", "_reverse")


def from_torch(cell_name: str, state: Mapping[str, Any]) -> tuple[Params, ...]:
    """Parameters of a stack from the state of a PyTorch module.

    Args:
        cell_name: `rnn`, `rnn_relu`, `lstm`, `lstm_projection` or `gru`. The names in `state` do not tell
            tanh from relu.
        state: PyTorch's names (`weight_ih_l0`, `bias_hh_l1_reverse`, ...) with anything that `np.asarray` takes, which
            a CPU tensor is (bfloat16 tensors are not). Sizes, layers and directions are read from it. Without biases
            (`bias=False`) ours are zero. The arrays are copied.

    Returns: what `rnn_jax.compose.init_stack` makes, in the dtype of `state`: a tuple with, for each layer, the cell's
    parameters or `Directions` of them.

    Raises: `ValueError` for another cell; for entries that are unknown, missing, or of a shape or dtype that does not
    fit, with names and shapes; for a projection that the cell does not have; for float64 where JAX would round it to
    float32.

    Example:

        >>> import numpy as np
        >>> from rnn_jax.convert import from_torch
        >>> state = {"weight_ih_l0": np.ones((15, 3), np.float32), "weight_hh_l0": np.ones((15, 5), np.float32)}
        >>> (params,) = from_torch("gru", state)
        >>> params.w_ih.shape, params.w_hh.shape, params.b.shape, params.b_hn.shape
        ((3, 15), (5, 15), (15,), (5,))
    """
    if cell_name not in KINDS:
        raise ValueError(f"PyTorch has no cell {cell_name!r}: take one of {', '.join(KINDS)}")
    kind = KINDS[cell_name]
    arrays = {name: np.asarray(value) for name, value in state.items()}
    num_layers, bidirectional = _check(kind, arrays)
    _check_dtype(arrays)
    layers = []
    for layer in range(num_layers):
        directions = [_from_entries(kind, arrays, f"l{layer}{suffix}") for suffix in _SUFFIXES[: 1 + bidirectional]]
        layers.append(Directions(*directions) if bidirectional else directions[0])
    return tuple(layers)


def load_torch(module: Any, state: Mapping[str, Any]) -> None:
    """Gives a module of `rnn_jax.models` the weights of a PyTorch module: `load` of `from_torch`.

    Args:
        module: a `Recurrent`, of the same cell, sizes, layers and directions.
        state: of `from_torch`.

    Raises: `ValueError` as `from_torch`, and for other sizes than the module's, with both.
    """
    module.load(from_torch(module.cell.name, state))


def to_torch(params: Any) -> dict[str, np.ndarray]:
    """The state of the PyTorch module with the same values: the inverse of `from_torch`.

    `b` becomes `bias_ih`; `bias_hh` is zero, but for n's block in a GRU, which is `b_hn`. So `from_torch` of the result
    equals `params` exactly. For a module with `bias=False` leave out the names that begin with `bias`.

    Args:
        params: one entry per layer, as `rnn_jax.compose.init_stack` makes them; of a single layer, `(params,)`; or a
            `Recurrent` module.

    Returns: new arrays by PyTorch's names, of the dtype of `params` (of which `torch.from_numpy` takes no bfloat16).

    Raises: `ValueError` for parameters that are not of one PyTorch module: no layers, other cells, one direction here
    and two there, or shapes that do not fit, with PyTorch's names and shapes.

    Example:

        >>> import jax
        >>> from rnn_jax import cells, compose
        >>> from rnn_jax.convert import to_torch
        >>> params = compose.init_stack(jax.random.key(0), cells.get("lstm"), 3, 5, num_layers=2)
        >>> state = to_torch(params)
        >>> len(state), state["weight_ih_l0"].shape, state["weight_hh_l1"].shape
        (8, (20, 3), (20, 5))
    """
    if hasattr(params, "params"):
        params = params.params()
    if hasattr(params, "_fields"):
        raise ValueError(f"params must be a tuple of layers: of one layer, (params,), got {type(params).__name__}")
    if not params:
        raise ValueError("params has no layers")
    directions = {
        f"l{layer}{suffix}": direction
        for layer, layer_params in enumerate(params)
        for suffix, direction in zip(
            _SUFFIXES, layer_params if isinstance(layer_params, Directions) else (layer_params,), strict=False
        )
    }
    kind = type(directions["l0"])
    if kind not in NUM_GATES:
        names = ", ".join(one.__name__ for one in NUM_GATES)
        raise ValueError(f"PyTorch has no counterpart of {kind.__name__}: only of {names}")
    state: dict[str, np.ndarray] = {}
    for place, direction in directions.items():
        if type(direction) is not kind:
            raise ValueError(f"one cell in all layers: l0 has {kind.__name__}, {place} {type(direction).__name__}")
        state |= _to_entries(direction, place)
    _check(kind, state)
    return state


def _from_entries(kind: type, arrays: Mapping[str, np.ndarray], place: str) -> Params:
    """The parameters of one layer and direction, `place` being `l0`, `l0_reverse`, ..."""
    # `jnp.array` and not `asarray`, which may share memory with a tensor that goes on being trained in place.
    w_ih, w_hh = (jnp.array(arrays[f"weight_{side}_{place}"].T) for side in ("ih", "hh"))
    hidden_size, columns = w_hh.shape  # of a projection P, and nobody asks
    zeros = np.zeros(columns, w_hh.dtype)
    b_ih, b_hh = (jnp.array(arrays.get(f"bias_{side}_{place}", zeros)) for side in ("ih", "hh"))
    if kind is LSTMProjectionParams:
        return LSTMProjectionParams(w_ih, w_hh, b_ih + b_hh, jnp.array(arrays[f"weight_hr_{place}"].T))
    if kind is GRUParams:
        return GRUParams(w_ih, w_hh, b_ih + b_hh.at[2 * hidden_size :].set(0), b_hh[2 * hidden_size :])
    return kind(w_ih, w_hh, b_ih + b_hh)


def _to_entries(params: Params, place: str) -> dict[str, np.ndarray]:
    """PyTorch's arrays of one layer and direction."""
    b_hh = np.zeros(np.shape(params.b), params.b.dtype)
    if isinstance(params, GRUParams):
        b_hh = np.concatenate((b_hh[: 2 * len(params.w_hh)], params.b_hn))
    # Copies: a view of a JAX array is read-only, which `torch.from_numpy` warns of.
    entries = {
        f"weight_ih_{place}": np.array(params.w_ih.T),
        f"weight_hh_{place}": np.array(params.w_hh.T),
        f"bias_ih_{place}": np.array(params.b),
        f"bias_hh_{place}": b_hh,
    }
    if isinstance(params, LSTMProjectionParams):
        entries[f"weight_hr_{place}"] = np.array(params.w_hr.T)
    return entries


def _check(kind: type, arrays: Mapping[str, np.ndarray]) -> tuple[int, bool]:
    """Holds names and shapes against a PyTorch module's: its number of layers, and whether it has two directions."""
    projected = kind is LSTMProjectionParams
    if not projected and (projections := [name for name in arrays if name.startswith("weight_hr_l")]):
        raise ValueError(f"{projections[0]}: an LSTM with a projection (proj_size > 0) is the cell 'lstm_projection'")
    matches = {name: _NAME.fullmatch(name) for name in arrays}
    if unknown := [name for name, match in matches.items() if match is None]:
        raise ValueError(
            f"unknown entry {unknown[0]}: names are like weight_ih_l0; of a larger model pass the entries of the "
            "recurrent module alone, without its prefix"
        )
    found = [match for match in matches.values() if match is not None]
    num_layers = 1 + max((int(match[1]) for match in found), default=0)
    bidirectional = any(match[2] for match in found)
    biases = any(name.startswith("bias") for name in arrays)
    for name in ("weight_ih_l0", "weight_hr_l0" if projected else "weight_hh_l0"):  # the two that tell the sizes
        if name not in arrays:
            raise ValueError(f"missing entry {name}")
        if arrays[name].ndim != 2:
            raise ValueError(f"{name} must have 2 axes, got {list(arrays[name].shape)}")
    input_size = arrays["weight_ih_l0"].shape[1]
    proj_size, hidden_size = arrays["weight_hr_l0"].shape if projected else (None, arrays["weight_hh_l0"].shape[1])
    expected = []
    for name, shape in _entries(NUM_GATES[kind], input_size, hidden_size, proj_size, num_layers, bidirectional, biases):
        if name not in arrays:
            raise ValueError(f"missing entry {name}; there are {', '.join(arrays)}")
        if arrays[name].shape != shape:
            raise ValueError(
                f"{name} must be {list(shape)} ({kind.__name__} with {NUM_GATES[kind]} gates, input size {input_size}, "
                f"hidden size {hidden_size}), got {list(arrays[name].shape)}"
            )
        expected.append(name)
    if surplus := [name for name in arrays if name not in expected]:
        raise ValueError(f"unknown entry {surplus[0]}; expected are {', '.join(expected)}")
    return num_layers, bidirectional


def _entries(
    num_gates: int,
    input_size: int,
    hidden_size: int,
    proj_size: int | None,
    num_layers: int,
    bidirectional: bool,
    biases: bool,
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a PyTorch module, in its order; `proj_size` None: no projection."""
    rows, output_size = num_gates * hidden_size, hidden_size if proj_size is None else proj_size
    for layer in range(num_layers):
        for suffix in _SUFFIXES[: 1 + bidirectional]:
            yield f"weight_ih_l{layer}{suffix}", (rows, input_size)
            yield f"weight_hh_l{layer}{suffix}", (rows, output_size)
            if biases:
                yield f"bias_ih_l{layer}{suffix}", (rows,)
                yield f"bias_hh_l{layer}{suffix}", (rows,)
            if proj_size is not None:
                yield f"weight_hr_l{layer}{suffix}", (proj_size, hidden_size)
        input_size = output_size * (1 + bidirectional)


def _check_dtype(arrays: Mapping[str, np.ndarray]) -> None:
    """One floating dtype, and one that JAX keeps: a checkpoint is never rounded silently."""
    (first, dtype), *others = ((name, array.dtype) for name, array in arrays.items())
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"{first} must be floating point, got {dtype}")
    for name, other in others:
        if other != dtype:
            raise ValueError(f"entries must share one dtype: {first} is {dtype}, {name} is {other}")
    if jnp.array(np.zeros(0, dtype)).dtype != dtype:
        raise ValueError(
            f"{first} is float64, which JAX would round to float32: set jax_enable_x64, or cast the entries to float32"
        )
