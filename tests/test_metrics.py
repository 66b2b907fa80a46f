"""Measures: the worked example, the limits, and input that does not fit."""

import math

import numpy as np
import pytest

from rnn_jax.metrics import regression


def test_worked_example():
    measures = regression([11.18, 11.66, 8.97], [-0.33, -0.61, 1.35], persistence=[11.0, 11.18, 11.66])
    assert measures["mse"] == pytest.approx(113.70, abs=0.005)
    assert measures["mae"] == pytest.approx(10.467, abs=0.0005)
    assert measures["r2"] == pytest.approx(-81.85, abs=0.005)
    assert measures["rmse"] == pytest.approx(math.sqrt(measures["mse"]))
    assert set(measures) == {"mse", "mae", "rmse", "r2", "skill"}
    assert all(type(value) is float for value in measures.values())


def test_limits():
    y = np.arange(6.0).reshape(3, 2)
    last = y - 1
    perfect, same, mean = (regression(y, p, persistence=last) for p in (y, last, np.full_like(y, y.mean())))
    assert (perfect["mse"], perfect["r2"], perfect["skill"]) == (0, 1, 1)
    assert same["skill"] == 0
    assert mean["r2"] == 0


def test_float32_is_summed_in_float64():
    y = np.full(10_000, 1e4, dtype=np.float32)
    y[::2] += 1
    measures = regression(y, y + np.float32(0.5), persistence=y)
    assert measures["mse"] == 0.25
    assert measures["r2"] == 0


def test_no_variance_and_perfect_persistence():
    ones = np.ones(3)
    off = regression(ones, 2 * ones, persistence=ones)
    assert (off["r2"], off["skill"]) == (-math.inf, -math.inf)
    assert math.isnan(regression(ones, ones, persistence=ones)["skill"])


def test_a_run_that_diverged_is_reported():
    assert regression([1.0, 2.0], [1e200, 1.0], persistence=[0.0, 1.0])["mse"] == math.inf
    assert math.isnan(regression([1.0, 2.0], [math.nan, 1.0], persistence=[0.0, 1.0])["mse"])


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"^targets \(3,\), predictions \(3, 1\) and persistence \(3,\) must have one"):
        regression(np.ones(3), np.ones((3, 1)), np.ones(3))
    with pytest.raises(ValueError, match=r"^no targets to measure: shape \(0,\)$"):
        regression([], [], [])
