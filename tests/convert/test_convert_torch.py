"""Weights from and to PyTorch: against files that PyTorch made, so that PyTorch is not needed here."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.torch_layout import carries_of, gradients_of, init, relative_error, values_and_gradients

from rnn_jax.convert.torch import KINDS, from_torch, to_torch

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = {"rnn": "rnn_tanh", "rnn_relu": "rnn_relu", "lstm": "lstm", "gru": "gru"}


@pytest.mark.parametrize("backend", ["manual", "scan"])
@pytest.mark.parametrize("case", ["full", "packed"])
@pytest.mark.parametrize("cell_name", FILES)
def test_values_and_gradients_of_pytorch(cell_name, case, backend):
    with np.load(GOLDEN / f"torch_{FILES[cell_name]}.npz") as golden:
        state = {name.removeprefix("state/"): golden[name] for name in golden if name.startswith("state/")}
        get = {name.removeprefix(f"{case}/"): golden[name] for name in golden if name.startswith(f"{case}/")}
        lengths = golden["lengths"] if case == "packed" else None
    parts = ("h", "c") if cell_name == "lstm" else ("h",)
    carries = partial(carries_of, cell_name, bidirectional=True)
    arguments = (from_torch(cell_name, state), get["inputs"], carries([get[f"{part}_0"] for part in parts]))
    cotangents = (carries([get[f"d_{part}_n"] for part in parts]), get["d_outputs"])

    values, gradients = values_and_gradients(cell_name, arguments, cotangents, lengths=lengths, backend=backend)

    want_values = (carries([get[f"{part}_n"] for part in parts]), get["outputs"])
    want_gradients = (
        gradients_of(cell_name, {name: get[f"grad/{name}"] for name in state}),
        get["grad/inputs"],
        carries([get[f"grad/{part}_0"] for part in parts]),
    )
    assert relative_error(values, want_values) < 1e-12
    assert relative_error(gradients, want_gradients) < 1e-12


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("cell_name", KINDS)
def test_round_trip_is_exact(cell_name, num_layers, bidirectional, dtype):
    params = init(cell_name, num_layers, bidirectional, dtype=dtype)
    back = from_torch(cell_name, to_torch(params))
    assert jax.tree.structure(back) == jax.tree.structure(params)
    for got, want in zip(jax.tree.leaves(back), jax.tree.leaves(params), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("cell_name", FILES)
def test_second_round_trip_keeps_what_pytorch_computes(cell_name):
    """From PyTorch and back, only how the sum falls into two biases is lost."""
    with np.load(GOLDEN / f"torch_{FILES[cell_name]}.npz") as golden:
        state = {name.removeprefix("state/"): golden[name] for name in golden if name.startswith("state/")}
    back = to_torch(from_torch(cell_name, state))
    assert list(back) == list(state)
    for name in (name for name in state if name.startswith("weight")):
        np.testing.assert_array_equal(back[name], state[name])
    summed, kept = (slice(0, 6), slice(6, 9)) if cell_name == "gru" else (slice(None), slice(0, 0))
    for place in ("l0", "l0_reverse", "l1", "l1_reverse"):
        ours, theirs = ([entries[f"bias_{side}_{place}"] for side in ("ih", "hh")] for entries in (back, state))
        np.testing.assert_array_equal(ours[0][summed] + ours[1][summed], theirs[0][summed] + theirs[1][summed])
        np.testing.assert_array_equal(ours[0][kept], theirs[0][kept])
        np.testing.assert_array_equal(ours[1][kept], theirs[1][kept])


@pytest.mark.parametrize("cell_name", KINDS)
def test_without_biases_they_are_zero(cell_name):
    params = init(cell_name, 2, True)
    state = {name: array for name, array in to_torch(params).items() if name.startswith("weight")}
    for layer, expected in zip(from_torch(cell_name, state), params, strict=True):
        for got, want in zip(layer, expected, strict=True):
            np.testing.assert_array_equal(got.w_hh, want.w_hh)
            assert not any(np.any(value) for name, value in got._asdict().items() if name.startswith("b"))
            assert [value.shape for value in got] == [value.shape for value in want]


@pytest.mark.parametrize("hidden_size", [1, 64])  # a transpose of one row or column is contiguous, and a view
def test_nothing_is_shared_with_the_source(hidden_size):
    params = init("gru", sizes=(1, hidden_size))
    state = to_torch(params)
    assert all(array.flags.writeable for array in state.values())
    converted = from_torch("gru", state)
    for array in state.values():
        array += 1
    for got, want in zip(converted[0], params[0], strict=True):
        np.testing.assert_array_equal(got, want)


def test_entries_in_any_order_and_of_any_kind():
    params = init("lstm", 2, True)
    state = {name: array.tolist() for name, array in reversed(to_torch(params).items())}
    assert relative_error(from_torch("lstm", state), params) == 0


def state_of(cell_name: str, num_layers: int = 1, bidirectional: bool = False, **changes):
    """A PyTorch state with some entries changed, added, or (None) left out."""
    state = to_torch(init(cell_name, num_layers, bidirectional)) | changes
    return {name: value for name, value in state.items() if value is not None}


@pytest.mark.parametrize(
    ("cell_name", "state", "message"),
    [
        ("rnn_identity", {}, "no cell 'rnn_identity'.*rnn, rnn_relu, lstm, lstm_projection, gru"),
        ("elman", {}, "no cell 'elman'"),
        ("lstm", {}, "missing entry weight_ih_l0"),
        ("lstm", state_of("lstm", weight_hr_l0=np.zeros((2, 3))), "weight_hr_l0: an LSTM with a projection"),
        ("lstm", state_of("gru"), r"weight_ih_l0 must be \[12, 4\] .*4 gates.*hidden size 3.*got \[9, 4\]"),
        ("gru", state_of("rnn"), r"weight_ih_l0 must be \[9, 4\] .*got \[3, 4\]"),
        ("rnn", state_of("rnn", weight_ih_l0=np.zeros(3)), r"weight_ih_l0 must have 2 axes, got \[3\]"),
        ("rnn", state_of("rnn", bias_hh_l0=np.zeros(4)), r"bias_hh_l0 must be \[3\].*got \[4\]"),
        (
            "rnn",
            state_of("rnn", 2, True, weight_ih_l1=np.zeros((3, 3))),
            r"weight_ih_l1 must be \[3, 6\].*got \[3, 3\]",
        ),
        ("rnn", state_of("rnn", 2, True, weight_hh_l1_reverse=None), "missing entry weight_hh_l1_reverse"),
        ("rnn", state_of("rnn", 3, weight_ih_l1=None), "missing entry weight_ih_l1"),
        ("rnn", state_of("rnn", weight_hh_l0=None), "missing entry weight_hh_l0"),
        ("rnn", state_of("rnn", 2, bias_ih_l1=None), "missing entry bias_ih_l1"),
        ("rnn", state_of("rnn", head_weight=np.zeros(3)), "unknown entry head_weight: names are like weight_ih_l0"),
        ("rnn", {f"rnn.{name}": value for name, value in state_of("rnn").items()}, "without its prefix"),
        ("rnn", state_of("rnn", weight_ih_l00=np.zeros(3)), "unknown entry weight_ih_l00; expected are weight_ih_l0, "),
        ("rnn", state_of("rnn", bias_ih_l0=np.zeros(3, np.float32)), "one dtype: weight_ih_l0 .*64, bias_ih_l0 .*32"),
        ("rnn", {name: value.astype(int) for name, value in state_of("rnn").items()}, "floating point, got int64"),
    ],
)
def test_from_torch_refuses(cell_name, state, message):
    with pytest.raises(ValueError, match=message):
        from_torch(cell_name, state)


def test_float64_is_never_rounded_silently():
    state = state_of("gru")
    with jax.enable_x64(False):
        with pytest.raises(ValueError, match=r"weight_ih_l0 is float64.*jax_enable_x64"):
            from_torch("gru", state)
        (params,) = from_torch("gru", {name: value.astype(np.float32) for name, value in state.items()})
    assert params.w_ih.dtype == jnp.float32


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ((), "no layers"),
        (init("gru")[0], r"of one layer, \(params,\), got GRUParams"),
        (init("gru", bidirectional=True)[0], "got Directions"),
        ((np.zeros(3),), "no counterpart of ndarray: only of RNNParams, LSTMParams, LSTMProjectionParams, GRUParams"),
        ((*init("gru"), *init("lstm", sizes=(3, 3))), "l0 has GRUParams, l1 LSTMParams"),
        ((*init("gru"), *init("gru", 1, True, sizes=(3, 3))), "missing entry weight_ih_l0_reverse"),
        ((*init("gru"), *init("gru", sizes=(4, 3))), r"weight_ih_l1 must be \[9, 3\].*got \[9, 4\]"),
        ((init("gru")[0]._replace(b_hn=np.zeros(1)),), r"bias_hh_l0 must be \[9\].*got \[7\]"),
        (jax.tree.map(lambda value: value[None], init("lstm")), "weight_ih_l0 must have 2 axes"),
    ],
)
def test_to_torch_refuses(params, message):
    with pytest.raises(ValueError, match=message):
        to_torch(params)
