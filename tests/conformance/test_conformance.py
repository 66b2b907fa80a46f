"""Numbers that nobody here made: cases that other projects publish with their outputs, by every back end that can.

`tests/convert` has the comparison with PyTorch that goes on to gradients; it is counted here and run there.
"""

from pathlib import Path

import numpy as np
import pytest
from helpers import keras_calls, onnx_nodes, torch_pieces
from helpers.conformance import ON_A_CPU, backends, error, summary
from helpers.markdown import ROOT

from rnn_jax.backends import native
from rnn_jax.compose import Directions

CASES = {
    f"{case.source}-{case.name}": case for case in (*onnx_nodes.cases(), *keras_calls.cases(), *torch_pieces.cases())
}
ROWS = {
    "ONNX": "ONNX's node tests of RNN, LSTM and GRU",
    "Keras": "Keras's tests of SimpleRNN, LSTM, GRU and Bidirectional with constant weights",
    "PyTorch": "PyTorch in float64, run in pieces: resets, and an empty sequence",
}
ELSEWHERE = "PyTorch in float64, two layers in both directions, with gradients"
"""In `tests/convert/test_convert_torch.py`."""


EXPRESSED = {name: case for name, case in CASES.items() if not case.lacking}


def kind(case):
    """What a case asks of a back end besides shapes: the cell, one direction or two, the options."""
    return case.cell, isinstance(case.params[0], Directions), tuple(sorted(case.options))


INTERPRETED = {kind(case): name for name, case in reversed(EXPRESSED.items())}.values()
"""The first case of each kind, for `pallas`: to interpret its kernel takes more time than all others together."""


@pytest.mark.parametrize("name", EXPRESSED)
def test_outputs(name):
    case = EXPRESSED[name]
    taking_part = [backend for backend in backends(case) if backend != "pallas" or name in INTERPRETED]
    errors = {backend: error(case, backend) for backend in taking_part}
    assert "scan" in errors
    assert max(errors.values()) <= 1, errors


def test_every_back_end_takes_part():
    taken = {name: backends(CASES[f"ONNX-test_{name}"]) for name in ("lstm_reverse", "lstm_with_peepholes")}
    here = [name for name in ON_A_CPU if name != "native" or native.vector_width() is not None]
    assert taken["lstm_reverse"] == here
    assert "scan" in taken["lstm_with_peepholes"]


def test_a_wrong_number_is_noticed():
    case = CASES["ONNX-test_lstm_reverse"]
    moved = case._replace(want=(case.want[0] + np.float32(3e-6), *case.want[1:]))
    assert error(case, "scan") <= 1 < error(moved, "scan")


def cases_elsewhere() -> int:
    """The cases in the golden files that `tests/convert` reads: each has outputs."""
    count = 0
    for path in (ROOT / "tests" / "golden").glob("torch_*.npz"):
        if path != Path(torch_pieces.PATH):
            with np.load(path) as golden:
                count += sum(name.endswith("/outputs") for name in golden)
    return count


def report(cases, elsewhere: int) -> tuple[list[str], str]:
    """The rows of the README's table, and its sum."""
    found = summary(cases)
    rows = [
        f"| {ROWS[source]} | {expressed} of {total} | "
        + ", ".join(f"{reason} ({count})" for reason, count in reasons.items())
        for source, (expressed, total, reasons) in found.items()
    ]
    rows.append(f"| {ELSEWHERE} | {elsewhere} of {elsewhere} | ")
    expressed, total = (sum(counts[at] for counts in found.values()) + elsewhere for at in (0, 1))
    return [f"{row.rstrip()} |" for row in rows], f"{expressed} of {total} expressed, all within 1e-6"


def test_what_the_readme_says():
    rows, line = report(CASES.values(), cases_elsewhere())
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [row for row in rows if row not in text.splitlines()] == []
    assert line in text
