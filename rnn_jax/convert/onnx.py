"""Stacks of RNN, LSTM and GRU as ONNX models, which ONNX Runtime and other engines run without Python or JAX.

One ONNX node for each layer, with both of its directions. Per direction, D of them side by side:

| ONNX | here |
|---|---|
| `W` `[D, G*H, I]`, `R` `[D, G*H, H]` | the transposes of `w_ih` and `w_hh`, gates in ONNX's order |
| `B` `[D, 2 * G*H]` | `b` and zeros; n's block of the second half is `b_hn` of a GRU |
| `P` `[D, 3*H]` | `peepholes`, in the order i, o, f |

| cell | node | gates there |
|---|---|---|
| `rnn`, `rnn_relu`, `rnn_identity` | `RNN` with `Tanh`, `Relu`, `Affine` | |
| `lstm`, `lstm_peephole` | `LSTM` | i, o, f, c, where ours are i, f, g, o |
| `gru` | `GRU` with `linear_before_reset=1` | z, r, h, where ours are r, z, n |

The other cells are not exported. The package `onnx` is imported when a model is made.

Source: the operators RNN, LSTM and GRU of the ONNX specification, https://onnx.ai/onnx/operators.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from rnn_jax import cells
from rnn_jax.compose import Directions
from rnn_jax.types import Params

if TYPE_CHECKING:
    import onnx

OPSET = 17
"""The version of the operators: they have not changed since 14, and older runtimes read it."""

IR_VERSION = 8
"""The version of the file format that came with it."""


class Operator(NamedTuple):
    """How a cell is written in ONNX.

    Attributes:
        op: the name of the node.
        order: where our gates are in ONNX's order of blocks.
        attributes: of the node, for one direction; lists are repeated for the second.
    """

    op: str
    order: tuple[int, ...]
    attributes: dict[str, Any] = {}  # noqa: RUF012  # never written to


OPERATORS: dict[str, Operator] = {
    "rnn": Operator("RNN", (0,), {"activations": ["Tanh"]}),
    "rnn_relu": Operator("RNN", (0,), {"activations": ["Relu"]}),
    "rnn_identity": Operator(
        "RNN", (0,), {"activations": ["Affine"], "activation_alpha": [1.0], "activation_beta": [0.0]}
    ),
    "lstm": Operator("LSTM", (0, 3, 1, 2)),
    "lstm_peephole": Operator("LSTM", (0, 3, 1, 2)),
    "gru": Operator("GRU", (1, 0, 2), {"linear_before_reset": 1}),
    "gru_reset_before": Operator("GRU", (1, 0, 2), {"linear_before_reset": 0}),
}
"""The cells that can be exported, by name."""


def to_onnx(
    cell_name: str,
    params: Sequence[Params | Directions[Params]],
    *,
    lengths: bool = False,
    initial_state: bool = False,
    batch_first: bool = False,
) -> "onnx.ModelProto":
    """The ONNX model of a stack: the values of `rnn_jax.compose.unroll_stack`, without dropout or zoneout.

    Its inputs and outputs, float32 but for `lengths`, by name; B and T are open:

    | | | |
    |---|---|---|
    | in | `xs` | `[T, B, I]`, or `[B, T, I]` with `batch_first` |
    | in | `lengths` | `[B]` int32, 0 to T; past it outputs are zero and the state is held |
    | in | `h_0`, for an LSTM `c_0` | `[L * D, B, H]`, layer by layer, forward before backward |
    | out | `ys` | `[T, B, D * H]`, or `[B, T, D * H]` with `batch_first` |
    | out | `h_n`, for an LSTM `c_n` | `[L * D, B, H]` |

    Args:
        cell_name: a key of `OPERATORS`. Parameters do not tell tanh from relu.
        params: one entry per layer, as `rnn_jax.compose.init_stack` makes them, float32; of a
            `rnn_jax.models.Recurrent`, `module.params()`.
        lengths: whether the model takes `lengths`.
        initial_state: whether the model takes `h_0` and `c_0`; without them it begins with zeros.
        batch_first: whether the batch axis comes first, as in a `rnn_jax.models.Recurrent`.

    Returns: an `onnx.ModelProto`, which `onnx.save` writes; it has passed `onnx.checker`.

    Raises: `ValueError` for a cell that is not in `OPERATORS`, parameters of another cell, no layers, layers of one
    direction and of two, or another dtype than float32; `ImportError`, saying what to install, without `onnx`.

    Example:

        params = compose.init_stack(key, cells.get("lstm"), input_size=3, hidden_size=5, num_layers=2)
        onnx.save(to_onnx("lstm", params, lengths=True), "lstm.onnx")
        session = onnxruntime.InferenceSession("lstm.onnx")
        ys, h_n, c_n = session.run(None, {"xs": xs, "lengths": lengths})  # NumPy's arrays, float32 and int32
    """
    layers = _layers(cell_name, params)
    onnx = _import_onnx()
    graph = Graph(onnx)
    parts = ("h", "c") if OPERATORS[cell_name].op == "LSTM" else ("h",)
    num_layers, num_directions = len(layers), len(layers[0])
    hidden_size = layers[0][0].w_hh.shape[0]

    def sequence(name: str, features: int) -> Any:
        return graph.info(name, [*("BT" if batch_first else "TB"), features])

    def states(names: Sequence[str]) -> list[Any]:
        return [graph.info(name, [num_layers * num_directions, "B", hidden_size]) for name in names]

    inputs = [sequence("xs", layers[0][0].w_ih.shape[0])]
    inputs += [graph.info("lengths", ["B"], onnx.TensorProto.INT32)] if lengths else []
    starts = [f"{part}_0" for part in parts] if initial_state else []
    inputs += states(starts)
    begun = {name: graph.split(name, num_layers, num_directions) for name in starts}

    xs = graph.add("Transpose", ["xs"], perm=[1, 0, 2]) if batch_first else "xs"
    finals: list[list[str]] = [[] for _ in parts]
    for number, layer in enumerate(layers):
        given = ["lengths" if lengths else "", *(begun[name][number] for name in starts)]
        xs, *last = graph.layer(cell_name, f"layer_{number}", layer, xs, given)
        for found, one in zip(finals, last, strict=True):
            found.append(one)
    if batch_first:
        graph.add("Transpose", [xs], "ys", perm=[1, 0, 2])
    else:
        graph.add("Identity", [xs], "ys")
    # ONNX does not say what the state of an empty sequence is, and ONNX Runtime sets it to zero.
    empty = graph.is_zero("lengths") if lengths and initial_state else ""
    for part, found in zip(parts, finals, strict=True):
        if empty:
            graph.add("Where", [empty, f"{part}_0", graph.add("Concat", found, axis=0)], f"{part}_n")
        else:
            graph.add("Concat", found, f"{part}_n", axis=0)
    return graph.model(inputs, [sequence("ys", num_directions * hidden_size), *states([f"{part}_n" for part in parts])])


class Graph:
    """The nodes and the constants of a model while it is put together; names of values are strings."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def info(self, name: str, shape: Sequence[int | str], kind: int | None = None) -> Any:
        """What an input or output is: its name, shape and type, float32 if none is given."""
        kind = self.onnx.TensorProto.FLOAT if kind is None else kind
        return self.onnx.helper.make_tensor_value_info(name, kind, list(shape))

    def constant(self, name: str, array: np.ndarray) -> str:
        """A constant, by a name of its own."""
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, op: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """A node with one output, which is named after it if nothing else is said."""
        output = output or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def split(self, name: str, num_layers: int, num_directions: int) -> list[str]:
        """The states of all layers `[L * D, B, H]`, cut into `[D, B, H]` for each."""
        outputs = [f"{name}_{layer}" for layer in range(num_layers)]
        sizes = self.constant(f"{name}_sizes", np.full(num_layers, num_directions, np.int64))
        self.nodes.append(self.onnx.helper.make_node("Split", [name, sizes], outputs, axis=0))
        return outputs

    def is_zero(self, name: str) -> str:
        """Whether integers `[B]` are zero, `[B, 1]`."""
        equal = self.add("Equal", [name, self.constant(f"{name}_zero", np.zeros(1, np.int32))])
        return self.add("Unsqueeze", [equal, self.constant(f"{name}_axis", np.ones(1, np.int64))])

    def layer(self, cell_name: str, name: str, layer: Sequence[Any], xs: str, given: Sequence[str]) -> tuple[str, ...]:
        """The node of one layer: outputs `[T, B, D * H]` and last states `[D, B, H]`, as names.

        Args:
            cell_name: a key of `OPERATORS`.
            name: of the node.
            layer: the parameters of each direction.
            xs: the inputs, `[T, B, I]`.
            given: lengths, empty for none, and where there are initial states these.
        """
        op, order, attributes = OPERATORS[cell_name]
        num_directions, hidden_size = len(layer), layer[0].w_hh.shape[0]
        each = [weights(order, direction) for direction in layer]
        w, r, b, *p = (self.constant(f"{name}_{key}", np.stack([arrays[key] for arrays in each])) for key in each[0])
        states = [*given[1:], *[""] * ((2 if op == "LSTM" else 1) - len(given[1:]))]
        inputs = [xs, w, r, b, given[0], *states, *p]
        repeated = {
            key: value * num_directions if isinstance(value, list) else value for key, value in attributes.items()
        }
        outputs = [f"{name}_{key}" for key in (("Y", "Y_h", "Y_c") if op == "LSTM" else ("Y", "Y_h"))]
        self.nodes.append(
            self.onnx.helper.make_node(
                op,
                inputs,
                outputs,
                name=name,
                hidden_size=hidden_size,
                direction="bidirectional" if num_directions == 2 else "forward",
                **repeated,
            )
        )
        beside = self.add("Transpose", [outputs[0]], perm=[0, 2, 1, 3])  # [T, D, B, H] to [T, B, D, H]
        shape = self.constant(f"{name}_shape", np.array([0, 0, num_directions * hidden_size], np.int64))
        return self.add("Reshape", [beside, shape]), *outputs[1:]

    def model(self, inputs: list[Any], outputs: list[Any]) -> Any:
        """The finished model, checked."""
        helper = self.onnx.helper
        graph = helper.make_graph(self.nodes, "rnn_jax", inputs, outputs, self.constants)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, producer_name="rnn_jax", opset_imports=[opset], ir_version=IR_VERSION)
        self.onnx.checker.check_model(model, full_check=True)
        return model


def weights(order: Sequence[int], params: Any) -> dict[str, np.ndarray]:
    """ONNX's `W [G*H, I]`, `R [G*H, H]`, `B [2 * G*H]` and, with peepholes, `P [3*H]` of one direction.

    Args:
        order: of `Operator`.
        params: the parameters of one of the cells in `OPERATORS`.
    """

    def ordered(columns: np.ndarray) -> np.ndarray:
        blocks = np.split(np.asarray(columns), len(order), axis=-1)
        return np.concatenate([blocks[gate] for gate in order], axis=-1)

    second = np.zeros_like(params.b)
    if hasattr(params, "b_hn"):
        second[-len(params.b_hn) :] = params.b_hn
    arrays = {
        "W": ordered(params.w_ih).T,
        "R": ordered(params.w_hh).T,
        "B": np.concatenate((ordered(params.b), ordered(second))),
    }
    if hasattr(params, "peepholes"):
        p_i, p_f, p_o = np.asarray(params.peepholes)
        arrays["P"] = np.concatenate((p_i, p_o, p_f))
    return arrays


def _layers(cell_name: str, params: Sequence[Params | Directions[Params]]) -> list[tuple[Any, ...]]:
    """The parameters of each layer and direction, checked."""
    if cell_name not in OPERATORS:
        raise ValueError(f"no node of ONNX for the cell {cell_name!r}: only for {', '.join(OPERATORS)}")
    if hasattr(params, "_fields"):
        raise ValueError(f"params must be a tuple of layers: of one layer, (params,), got {type(params).__name__}")
    if not params:
        raise ValueError("params has no layers")
    layers = [tuple(layer) if isinstance(layer, Directions) else (layer,) for layer in params]
    if len({len(layer) for layer in layers}) > 1:
        raise ValueError(f"layers must have one number of directions, got {[len(layer) for layer in layers]}")
    kind = type(jax.eval_shape(lambda: cells.get(cell_name).init_params(jax.random.key(0), 1, 1)))
    for number, layer in enumerate(layers):
        for direction in layer:
            if type(direction) is not kind:
                raise ValueError(f"{cell_name!r} has {kind.__name__}, layer {number} is {type(direction).__name__}")
            dtypes = {str(array.dtype) for array in direction} - {"float32"}
            if dtypes:
                raise ValueError(f"parameters must be float32, layer {number} has {', '.join(sorted(dtypes))}")
    return layers


def _import_onnx() -> Any:
    """The package, or a word on how to get it."""
    try:
        import onnx
    except ImportError as error:
        raise ImportError("to_onnx needs the package onnx: pip install onnx") from error
    return onnx
