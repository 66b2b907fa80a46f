"""ONNX's node tests of RNN, LSTM and GRU (tests/golden/onnx_nodes.json) as calls of this library.

ONNX has weights `[D, G*H, I]`, one block of rows for each gate, two biases in one array `[D, 2 * G*H]`, and outputs
`[T, D, B, H]`; with `layout=1` the batch comes first. Its order of gates is i, o, f, c and z, r, h.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from helpers.conformance import RESET_BEFORE, Case, carry_of, params_of
from rnn_jax.compose import Directions

PATH = Path(__file__).parents[1] / "golden" / "onnx_nodes.json"

BLOCKS = {"RNN": [0], "LSTM": [0, 2, 3, 1], "GRU": [1, 0, 2]}
"""Where ONNX has the blocks that come first, second, ... here."""

READ = {"hidden_size", "direction", "layout", "linear_before_reset"}
"""The attributes that are understood below; a file with others needs more than is said here."""


def cell_name(op: str, attributes: dict[str, Any], inputs: dict[str, Any]) -> str:
    """The cell that computes a node."""
    if op == "GRU":
        return "gru" if attributes.get("linear_before_reset") else RESET_BEFORE
    if op == "LSTM":
        return "lstm_peephole" if "P" in inputs else "lstm"
    return "rnn"


def direction_params(op: str, cell: str, inputs: dict[str, np.ndarray], direction: int) -> Any:
    """Our parameters of one direction."""

    def ordered(rows: np.ndarray) -> np.ndarray:
        parts = np.split(rows, len(BLOCKS[op]))
        return np.concatenate([parts[block] for block in BLOCKS[op]])

    arrays = {name: ordered(inputs[onnx][direction]).T for name, onnx in (("w_ih", "W"), ("w_hh", "R"))}
    if "B" in inputs:
        of_input, of_state = (ordered(half) for half in np.split(inputs["B"][direction], 2))
        arrays["b"] = of_input + of_state
        if cell == "gru":  # the state's bias of n stands inside the reset
            hidden = len(arrays["w_hh"])
            arrays["b"][2 * hidden :], arrays["b_hn"] = of_input[2 * hidden :], of_state[2 * hidden :]
    if "P" in inputs:
        p_i, p_o, p_f = np.split(inputs["P"][direction], 3)
        arrays["peepholes"] = np.stack((p_i, p_f, p_o))
    return params_of(cell, **arrays)


def one_case(entry: dict[str, Any]) -> Case:
    """One node."""
    op, attributes = entry["op"], entry["attributes"]
    assert not attributes.keys() - READ, attributes
    kinds = {"sequence_lens": np.int32}
    inputs = {name: np.array(value, kinds.get(name, np.float32)) for name, value in entry["inputs"].items()}
    name, cell = entry["name"], cell_name(op, attributes, inputs)
    batch_first, direction = attributes.get("layout", 0), attributes.get("direction", "forward")
    both = direction == "bidirectional"
    xs = np.swapaxes(inputs["X"], 0, 1) if batch_first else inputs["X"]
    params = [direction_params(op, cell, inputs, each) for each in range(1 + both)]
    carry = None
    if "initial_h" in inputs:
        states = [np.swapaxes(inputs[n], 0, 1) if batch_first else inputs[n] for n in ("initial_h", "initial_c")]
        carries = [carry_of(cell, *(state[each] for state in states)) for each in range(1 + both)]
        carry = (Directions(*carries),) if both else tuple(carries)
    options: dict[str, Any] = {"reverse": True} if direction == "reverse" else {}
    if "sequence_lens" in inputs:
        options["lengths"] = inputs["sequence_lens"]

    def read(carries: Any, ys: Any) -> tuple[np.ndarray, ...]:
        last = carries[0] if both else (carries[0],)
        found = {
            "Y": np.stack(np.split(np.asarray(ys), 1 + both, axis=-1), axis=1),
            "Y_h": np.stack([one.h for one in last]),
            "Y_c": np.stack([getattr(one, "c", one.h) for one in last]),
        }
        batch_axis = {"Y": 2, "Y_h": 1, "Y_c": 1}
        return tuple(np.moveaxis(found[n], batch_axis[n], 0) if batch_first else found[n] for n in entry["outputs"])

    stack = (Directions(*params),) if both else tuple(params)
    want = tuple(np.array(value, np.float32) for value in entry["outputs"].values())
    return Case("ONNX", name, "", cell, stack, xs, carry, options, read=read, want=want)


@cache
def cases() -> list[Case]:
    """All of the file."""
    return [one_case(entry) for entry in json.loads(PATH.read_text(encoding="utf-8"))]
