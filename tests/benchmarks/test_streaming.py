"""All contenders of streaming take the same steps, and the table says what was measured."""

import doctest
import json
import sys

import numpy as np
import pytest

from benchmarks import streaming, streaming_steps
from benchmarks.streaming_steps import INPUT_SIZE, MAKERS, draw, observations, set_up

SIZES = [(1, 6), (3, 7)]


def reference(batch_size, hidden_size):
    """h after all observations, by the equations."""
    given = {name: array.astype(np.float64) for name, array in draw(hidden_size).items()}
    h = c = np.zeros((batch_size, hidden_size))
    for x in observations(batch_size):
        i, f, g, o = np.split(x @ given["w_ih"] + h @ given["w_hh"] + given["b"], 4, axis=-1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
    return h


@pytest.mark.parametrize("name", [name for name in MAKERS if not name.endswith("_all")])
def test_steps(name, tmp_path):
    if name not in streaming.contenders():
        pytest.skip("not installed")
    if name.startswith("onnxruntime"):
        for _, hidden_size in SIZES:
            streaming.write_onnx(f"{tmp_path}/{hidden_size}.onnx", hidden_size)
    found, answers = set_up(lambda *sizes: MAKERS[name](str(tmp_path), *sizes), SIZES)
    for (batch_size, hidden_size), h in zip(SIZES, found, strict=True):
        np.testing.assert_allclose(
            np.reshape(h, (batch_size, hidden_size)), reference(batch_size, hidden_size), atol=1e-6
        )
    assert len(answers["time"](what="1", calls=3)) == 3


def test_a_whole_run(tmp_path, monkeypatch, capsys):
    """With processes, small: rows, contenders and quantiles."""
    monkeypatch.setattr(streaming, "SIZES", ((2, 5),))
    monkeypatch.setattr(streaming, "STEPS", 4)
    monkeypatch.setattr(streaming, "contenders", lambda: ["rnn_jax"])
    monkeypatch.setattr(sys, "argv", ["streaming", f"--raw_dir={tmp_path}", "--repeats=2"])
    streaming.main()
    found = json.loads((tmp_path / "streaming.json").read_text())
    assert (found["input_size"], found["steps_per_turn"], found["turns"]) == (INPUT_SIZE, 4, 2)
    (row,) = found["rows"]
    assert (row["batch_size"], row["hidden_size"]) == (2, 5)
    assert 0 < row["p50"]["rnn_jax"] <= row["p99"]["rnn_jax"]
    assert "| 2   | 5   |" in capsys.readouterr().out


def test_a_contender_that_differs():
    with pytest.raises(RuntimeError, match=r"other outputs than rnn_jax has: pytorch_cell_1 nan$"):
        streaming.check_same({"rnn_jax": [[1.0, 2.0]], "pytorch_cell_1": [[1.0, float("nan")]]})


@pytest.mark.parametrize("module", [streaming, streaming_steps], ids=["streaming", "steps"])
def test_examples(module):
    assert doctest.testmod(module, optionflags=doctest.IGNORE_EXCEPTION_DETAIL).failed == 0
