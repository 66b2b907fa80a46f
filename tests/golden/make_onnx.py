"""Golden file of ONNX's own node tests for `RNN`, `LSTM` and `GRU`: every input and every expected output.

    python tests/golden/make_onnx.py

writes `onnx_nodes.json` beside this file. That in the repository: onnx 1.23.2, whose test suite makes these cases by a
NumPy implementation of its operators; nothing of this library takes part. For each case, all arrays in float32:

    name          ONNX's
    op            RNN, LSTM or GRU
    attributes    of the node: hidden_size, direction, layout, ...
    inputs        X, W, R and, where the case has them, B, sequence_lens, initial_h, initial_c, P: nested lists
    outputs       those of Y, Y_h, Y_c that the case has
"""

import json
from pathlib import Path

import numpy as np

PATH = Path(__file__).parent / "onnx_nodes.json"
OPERATORS = ("RNN", "LSTM", "GRU")


def plain(array):
    """Nested lists of numbers that are short to write and give back the same float32."""
    array = np.asarray(array)
    if array.dtype.kind == "i":
        return array.tolist()
    assert array.dtype == np.float32, array.dtype
    return np.vectorize(lambda value: float(str(np.float32(value))), otypes=[object])(array).tolist()


def named(names, arrays):
    """The arrays by the names of the node's inputs or outputs, of which the empty ones are left out."""
    return {name: plain(array) for name, array in zip(filter(None, names), arrays, strict=True)}


def main():
    import onnx  # here and not above: the collection of doctests imports this file, with ONNX or without
    from onnx.backend.test.case.node import collect_testcases

    found = []
    for case in collect_testcases(None):
        (node, *others) = case.model.graph.node
        if others or node.op_type not in OPERATORS:
            continue
        ((inputs, outputs),) = case.data_sets
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        found.append(
            {
                "name": case.name,
                "op": node.op_type,
                "attributes": {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()},
                "inputs": named(node.input, inputs),
                "outputs": named(node.output, outputs),
            }
        )
    lines = ",\n".join(json.dumps(each) for each in sorted(found, key=lambda each: (each["op"], each["name"])))
    PATH.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"onnx {onnx.__version__}, {PATH.name}: {len(found)} cases, {PATH.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
