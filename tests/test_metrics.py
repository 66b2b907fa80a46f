"""Measures: the worked example, the limits, and input that does not fit."""

import math

import numpy as np
import pytest
from helpers.imports import third_party_imports

from rnn_jax.metrics import accuracy_by_length, classification, confusion, regression


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


class TestClassification:
    def test_counts_and_measures_by_hand(self):
        labels, predictions = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2]
        counts = confusion(labels, predictions, num_classes=3)
        np.testing.assert_array_equal(counts, [[2, 1, 0], [0, 1, 1], [0, 0, 1]])
        assert counts.dtype == np.int64
        measures = classification(labels, predictions, num_classes=3)
        f1 = np.mean([4 / 5, 2 / 4, 2 / 3])
        assert measures == pytest.approx({"accuracy": 4 / 6, "error": 2 / 6, "f1": f1})
        assert all(type(value) is float for value in measures.values())

    def test_limits(self):
        y = np.array([0, 1, 1, 0])
        assert classification(y, y, 2) == {"accuracy": 1, "error": 0, "f1": 1}
        assert classification(y, 1 - y, 2) == {"accuracy": 0, "error": 1, "f1": 0}
        # One class for all: precision 1/2 and recall 1 of that class, nothing of the other.
        assert classification(y, np.zeros(4, int), 2)["f1"] == pytest.approx((2 / 3 + 0) / 2)

    def test_a_class_that_does_not_occur_is_left_out(self):
        assert classification([0, 1], [0, 1], num_classes=5)["f1"] == 1

    def test_small_types_do_not_overflow(self):
        y = np.full(300, 99, np.uint8)
        assert confusion(y, y, 100)[99, 99] == 300
        assert confusion(y > 0, y > 0, 2).tolist() == [[0, 0], [0, 300]]

    @pytest.mark.parametrize("num_classes", [2, 7])
    def test_counted_one_by_one(self, num_classes):
        y, p = np.random.default_rng(0).integers(num_classes, size=(2, 500))
        counts = np.zeros((num_classes, num_classes), int)
        for label, prediction in zip(y, p, strict=True):
            counts[label, prediction] += 1
        np.testing.assert_array_equal(confusion(y, p, num_classes), counts)
        precision, recall = (np.diag(counts) / counts.sum(axis) for axis in (0, 1))
        f1 = np.mean(2 * precision * recall / (precision + recall))
        assert classification(y, p, num_classes)["f1"] == pytest.approx(f1)

    def test_scikit_learn_is_imported_when_it_is_used(self):
        assert third_party_imports("rnn_jax.metrics") <= {"numpy"}

    def test_what_does_not_fit(self):
        with pytest.raises(ValueError, match=r"^labels \(3,\) and predictions \(2,\) must have one shape \[N\], N at"):
            classification([0, 1, 1], [0, 1], 2)
        with pytest.raises(ValueError, match=r"^labels \(1, 2\) and predictions \(1, 2\) must have one shape"):
            classification([[0, 1]], [[0, 1]], 2)
        with pytest.raises(ValueError, match=r" and predictions \(0,\) must have one shape \[N\], N at least 1$"):
            classification([], [], 2)
        with pytest.raises(ValueError, match=r"^labels must be integers in 0\.\.1, got 0\.\.2$"):
            classification([0, 2], [0, 1], 2)
        with pytest.raises(ValueError, match=r"^predictions must be integers in 0\.\.1, got 0\.2\.\.0\.7$"):
            classification([0, 1], [0.2, 0.7], 2)


class TestAccuracyByLength:
    def test_groups(self):
        rows = accuracy_by_length([True, False, True, True], [0, 9, 10, 5000], edges=[0, 10, 20, 30, math.inf])
        assert rows[0] == (0, 10, 2, 0.5)
        assert rows[1] == (10, 20, 1, 1.0)
        assert rows[2][:3] == (20, 30, 0)
        assert math.isnan(rows[2][3])
        assert rows[3] == (30, math.inf, 1, 1.0)

    def test_the_groups_make_up_the_whole(self):
        rng = np.random.default_rng(0)
        correct, lengths = rng.random(1000) < 0.8, rng.integers(1, 500, 1000)
        rows = accuracy_by_length(correct, lengths, edges=[1, 17, 120, 500])
        assert sum(count for _, _, count, _ in rows) == 1000
        assert sum(count * accuracy for _, _, count, accuracy in rows) == pytest.approx(correct.sum())

    def test_what_does_not_fit(self):
        with pytest.raises(ValueError, match=r"^correct \(2,\) and lengths \(3,\) must have one shape \[N\]$"):
            accuracy_by_length([True, False], [1, 2, 3], [0, 10])
        with pytest.raises(ValueError, match=r"^correct must be bool, got float64$"):
            accuracy_by_length([0.2, 0.9], [1, 2], [0, 10])
        for edges in ([5], [0, 10, 10], [10, 0]):
            with pytest.raises(ValueError, match=r"^edges must be two or more in ascending order, got \["):
                accuracy_by_length([True], [1], edges)
        for lengths in ([0, 5], [5, 10]):
            with pytest.raises(ValueError, match=r"must lie in 1 <= length < 10$"):
                accuracy_by_length([True, True], lengths, [1, 10])
