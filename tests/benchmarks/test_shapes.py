"""The shapes that are timed."""

import dataclasses
import doctest

import numpy as np
import pytest

from benchmarks import shapes, turns
from benchmarks.peers import runner
from benchmarks.problem import draw
from benchmarks.shapes import SHAPES, Shape


@pytest.mark.parametrize("module", [shapes, runner, turns])
def test_the_examples(module):
    assert doctest.testmod(module)._asdict() | {"attempted": 0} == {"failed": 0, "attempted": 0}


def test_the_fixed_ones():
    """What has been reported stays comparable only as long as these stay."""
    sizes = {name: shape.describe() for name, shape in SHAPES.items()}
    assert sizes == {
        "S1": "B64T64I1H32",
        "S2": "B64T500I128H64",
        "S3": "B128T24I1H400",
        "S4": "B32T1000I64H256",
        "S5": "B256T1024I512H512",
        "S6": "B16T4096I1024H1024",
        "S7": "B64T400I128H64r",
    }
    assert {name for name, shape in SHAPES.items() if shape.dtype} == {"S6"}


def test_unequal_lengths():
    lengths = SHAPES["S7"].lengths()
    assert (lengths.shape, lengths.dtype) == ((64,), np.int32)
    assert (lengths.min(), lengths.max()) == (18, 400)
    assert (np.diff(lengths) < 0).any()  # not sorted
    assert SHAPES["S7"].tokens == lengths.sum() == 13_659
    np.testing.assert_array_equal(lengths, SHAPES["S7"].lengths())
    short = shapes.get("B64T10I1H1r").lengths()
    assert (short.min(), short.max()) == (1, 10)


def test_even_lengths():
    assert SHAPES["S1"].lengths() is None
    assert SHAPES["S1"].tokens == 64 * 64


def test_resets():
    """At one step in a hundred."""
    resets = shapes.get("S2x").resets()
    assert (resets.shape, resets.dtype) == ((500, 64), np.bool_)
    assert 0.009 < resets.mean() < 0.011
    assert SHAPES["S2"].resets() is None
    assert draw("rnn", shapes.get("B9T90I1H1x"), "float32").resets.any()


def test_multiply_adds():
    """Of an LSTM's two products by hand."""
    assert Shape("", 2, 3, 5, 7).multiply_adds(4) == 3 * (2 * 5 * 28 + 2 * 7 * 28)


def test_a_shape_spelled_out():
    assert shapes.get("B2T5I3H4") == Shape("B2T5I3H4", 2, 5, 3, 4)
    assert shapes.get("B2T5I3H4r").ragged
    assert shapes.get("B2T5I3H4rx") == Shape("B2T5I3H4rx", 2, 5, 3, 4, ragged=True, restarts=True)
    assert shapes.get("S2") is SHAPES["S2"]


@pytest.mark.parametrize(
    "name", ["", "S9", "B0T5I3H4", "B2T5I3", "B2T5I3H4xr", "b2t5i3h4", "B2T5I3H99999999", "B2T5I3H\u0664"]
)
def test_no_shape(name):
    with pytest.raises(ValueError, match=r"^unknown '.*': take some of S1,S2,S3,S4,S5,S6,S7 or spell one out"):
        shapes.get(name)


@pytest.mark.parametrize(("letter", "names"), [("T", ["B4T1I3H8", "B4T2I3H8"]), ("B", ["B1T2I3H8", "B4T2I3H8"])])
def test_sweep(letter, names):
    swept = shapes.sweep(shapes.get("B4T2I3H8"), letter, (0.25, 1))
    assert [shape.name for shape in swept] == names
    assert [dataclasses.replace(shape, name="") for shape in swept][1] == dataclasses.replace(
        shapes.get("B4T2I3H8"), name=""
    )


def test_the_problem_is_the_same_everywhere():
    """In two draws; and nothing of the loss is in the padding."""
    first, second = (draw("gru", shapes.get("B3T6I2H4r"), "float32") for _ in range(2))
    for name, array in first.params.items():
        np.testing.assert_array_equal(array, second.params[name])
    np.testing.assert_array_equal(first.xs, second.xs)
    valid = np.arange(6)[:, None] < first.lengths
    assert (first.weights[~valid] == 0).all()
    assert (first.weights[valid] != 0).all()
    assert not valid.all()
