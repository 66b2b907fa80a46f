"""Numbers that nobody here made: cases that other projects publish with their outputs, by every back end that can.

tests/convert has the same comparison with PyTorch for gradients.
"""

import pytest
from helpers import keras_calls, onnx_nodes
from helpers.conformance import backends, error

CASES = {f"{case.source}-{case.name}": case for case in (*onnx_nodes.cases(), *keras_calls.cases())}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.lacking])
def test_outputs(name):
    case = CASES[name]
    errors = {backend: error(case, backend) for backend in backends(case)}
    assert "scan" in errors
    assert max(errors.values()) <= 1, errors
