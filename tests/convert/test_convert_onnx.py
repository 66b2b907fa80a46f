"""ONNX models of our stacks: in ONNX Runtime, where it is installed, they give what `unroll_stack` gives."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.torch_layout import carries_of, init

from rnn_jax import cells, compose
from rnn_jax.cells import LSTMParams
from rnn_jax.convert.onnx import OPERATORS, to_onnx, weights
from rnn_jax.models import Recurrent

INPUT_SIZE, HIDDEN_SIZE = 3, 5
SHAPES = {(7, 4): [7, 3, 1, 0], (2, 1): [2]}
"""T and B, and lengths: one model runs both."""


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def session_of(model):
    runtime = pytest.importorskip("onnxruntime")
    return runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def stack(cell_name: str, num_layers: int, bidirectional: bool):
    """Weights small enough that a cell without a bound, `rnn_identity`, does not grow."""
    params = init(cell_name, num_layers, bidirectional, (INPUT_SIZE, HIDDEN_SIZE), jnp.float32)
    return jax.tree.map(lambda leaf: leaf * np.float32(0.3), params)


def states_of(carries):
    """h, and for an LSTM c, as ONNX has them: `[L * D, B, H]` each."""
    each = [one for layer in carries for one in (layer if isinstance(layer, compose.Directions) else (layer,))]
    return [np.stack(part) for part in zip(*each, strict=True)]


def assert_close(got, want):
    assert len(got) == len(want)
    for ours, theirs in zip(want, got, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cell_name", OPERATORS)
def test_lengths_and_states_in_two_layers_of_two_directions(cell_name):
    pytest.importorskip("onnx")
    params = stack(cell_name, 2, True)
    session = session_of(to_onnx(cell_name, params, lengths=True, initial_state=True))
    parts = ["h_0", "c_0"][: len(cells.get(cell_name).init_carry((), 1))]
    for (num_steps, batch), lengths in SHAPES.items():
        xs, lengths = draw(num_steps, batch, INPUT_SIZE), np.array(lengths, np.int32)
        states = {name: draw(4, batch, HIDDEN_SIZE, seed=seed) for seed, name in enumerate(parts, 1)}
        got = session.run(None, {"xs": xs, "lengths": lengths, **states})
        carry = carries_of(cell_name, tuple(states.values()), bidirectional=True)
        final, ys = compose.unroll_stack(cells.get(cell_name), params, xs, carry=carry, lengths=lengths)
        assert_close(got, [ys, *states_of(final)])


@pytest.mark.parametrize("lengths", [False, True])
def test_a_module_with_the_batch_first(lengths):
    pytest.importorskip("onnx")
    module = Recurrent("lstm", INPUT_SIZE, HIDDEN_SIZE, num_layers=2, dropout=0.5, rngs=nnx.Rngs(0))
    session = session_of(to_onnx("lstm", module.params(), lengths=lengths, batch_first=True))
    xs = draw(4, 7, INPUT_SIZE)
    given = {"lengths": np.array(SHAPES[7, 4], np.int32)} if lengths else {}
    final, ys = module(xs, **given)
    assert_close(session.run(None, {"xs": xs, **given}), [ys, *states_of(final)])


def test_what_a_model_says_of_itself():
    pytest.importorskip("onnx")
    model = to_onnx("lstm", stack("lstm", 2, True), lengths=True, initial_state=True)

    def shapes(values):
        return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}

    states = [4, "B", HIDDEN_SIZE]
    assert shapes(model.graph.input) == {
        "xs": ["T", "B", INPUT_SIZE],
        "lengths": ["B"],
        "h_0": states,
        "c_0": states,
    }
    assert shapes(model.graph.output) == {"ys": ["T", "B", 2 * HIDDEN_SIZE], "h_n": states, "c_n": states}
    assert [node.op_type for node in model.graph.node].count("LSTM") == 2
    assert [each.version for each in model.opset_import] == [17]


def test_blocks_in_the_order_of_onnx():
    """H = I = 1, so that a block is one column: i, f, g, o become i, o, f, c, and r, z, n become z, r, h."""
    lstm = LSTMParams(*(jnp.array(values) for values in ([[1, 2, 3, 4]], [[5, 6, 7, 8]], [9, 10, 11, 12])))
    found = {name: array.ravel().tolist() for name, array in weights(OPERATORS["lstm"].order, lstm).items()}
    assert found == {"W": [1, 4, 2, 3], "R": [5, 8, 6, 7], "B": [9, 12, 10, 11, 0, 0, 0, 0]}
    gru = cells.GRUParams(*(jnp.array(values) for values in ([[1, 2, 3]], [[4, 5, 6]], [7, 8, 9], [10])))
    found = {name: array.ravel().tolist() for name, array in weights(OPERATORS["gru"].order, gru).items()}
    assert found == {"W": [2, 1, 3], "R": [5, 4, 6], "B": [8, 7, 9, 0, 0, 10]}
    values = ([[1, 2, 3, 4]], [[5, 6, 7, 8]], [9, 10, 11, 12], [[13], [14], [15]])
    peephole = cells.PeepholeParams(*(jnp.array(value) for value in values))
    assert weights(OPERATORS["lstm_peephole"].order, peephole)["P"].tolist() == [13, 15, 14]


@pytest.mark.parametrize(
    ("cell_name", "params", "message"),
    [
        ("lstm_layer_norm", (), "no node of ONNX for the cell 'lstm_layer_norm': only for rnn, rnn_relu, "),
        ("gru", (), "no layers"),
        ("gru", stack("gru", 1, False)[0], r"of one layer, \(params,\), got GRUParams"),
        ("gru", stack("lstm", 1, False), "'gru' has GRUParams, layer 0 is LSTMParams"),
        ("lstm", (*stack("lstm", 1, True), *stack("lstm", 1, False)), r"one number of directions, got \[2, 1\]"),
        ("rnn", init("rnn", dtype=jnp.float64), "must be float32, layer 0 has float64"),
        ("rnn", init("rnn", dtype=jnp.bfloat16), "must be float32, layer 0 has bfloat16"),
    ],
)
def test_refuses(cell_name, params, message):
    with pytest.raises(ValueError, match=message):
        to_onnx(cell_name, params)


def test_without_onnx_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match="to_onnx needs the package onnx: pip install onnx"):
        to_onnx("gru", stack("gru", 1, False))
