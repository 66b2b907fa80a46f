"""The examples in docstrings are true."""

import doctest

import pytest

from experiments.common import directions
from experiments.report import reading, significance, text


@pytest.mark.parametrize("module", [directions, reading, significance, text])
def test_examples(module):
    tested = doctest.testmod(module)
    assert tested.attempted > 0
    assert tested.failed == 0
