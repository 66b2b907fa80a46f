"""A real file with missing values, through the reader for any CSV file."""

import os
from pathlib import Path

import pytest

from rnn_jax.data.series.series import read_csv


@pytest.mark.skipif("RNN_JAX_DATA" not in os.environ, reason="RNN_JAX_DATA is not set")
def test_facts_of_the_file():
    series = read_csv(Path(os.environ["RNN_JAX_DATA"]) / "pollution.csv.gz", "pm2.5")
    assert series.repairs[0] == "pollution.csv.gz: dropped 2,067 rows without a value in 'pm2.5'"
    assert "the longest hole: 155" in series.repairs[2]
    assert series.values.max() == 994
    # 214 runs without a value: the first is the beginning, the others are filled or breaks.
    assert "filled 143 holes" in series.repairs[1]
    assert series.breaks.sum() == 70 == 214 - 1 - 143
