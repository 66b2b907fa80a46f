"""Plots of texts: a PNG is written, labels do not cover each other, and input that does not fit is named."""

import math

import numpy as np
import pytest

from rnn_jax.metrics import accuracy_by_length
from rnn_jax.plotting import text as plotting_text

RECORDS = [
    {"step": 100, "loss": 0.7},
    {"step": 200, "loss": 0.6, "train_accuracy": 0.8, "validation_accuracy": 0.75},
    {"step": 300, "loss": 0.5},
    {"step": 400, "loss": 0.4, "train_accuracy": 0.9, "validation_accuracy": 0.85},
]


class TestAccuracyCurves:
    def test_curves_and_levels(self, tmp_path, figures):
        plotting_text.accuracy_curves(tmp_path / "plots" / "a.png", RECORDS, {"NB-SVM": 0.9085, "majority": 0.5})
        (axes,) = figures[0].axes
        training, validation, *levels = axes.lines
        np.testing.assert_allclose(training.get_xydata(), [[200, 80], [400, 90]])
        np.testing.assert_allclose(validation.get_xydata(), [[200, 75], [400, 85]])
        assert [line.get_ydata()[0] for line in levels] == [90.85, 50]
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels == [
            "training: at best 90.00 %",
            "validation: at best 85.00 %",
            "NB-SVM: 90.85 %",
            "majority: 50.00 %",
        ]

    def test_what_is_absent_is_left_out(self, tmp_path, figures):
        records = [{"step": 5, "validation_accuracy": 0.5}, {"step": 10, "train_accuracy": None}]
        plotting_text.accuracy_curves(tmp_path / "a.png", records, {})
        (axes,) = figures[0].axes
        assert [line.get_xydata().tolist() for line in axes.lines] == [[[5, 50]]]
        many = [{"step": i, "accuracy": 0.5} for i in range(100)]
        plotting_text.accuracy_curves(tmp_path / "a.png", many, {})
        assert len(figures[1].axes[0].lines[0].get_xydata()) == 100

    def test_no_accuracy(self, tmp_path):
        for records in ([], RECORDS[:1]):
            with pytest.raises(ValueError, match=r"records has accuracy or train_accuracy or validation_accuracy$"):
                plotting_text.accuracy_curves(tmp_path / "a.png", records, {})


class TestConfusionMatrix:
    def test_counts_and_shares(self, tmp_path, figures):
        plotting_text.confusion_matrix(tmp_path / "c.png", np.array([[1500, 500], [0, 0]]), ["bad", "good"])
        axes = figures[0].axes[0]
        assert [text.get_text() for text in axes.texts] == ["1,500\n75.0 %", "500\n25.0 %", "0\n0.0 %", "0\n0.0 %"]
        assert axes.get_title(loc="left") == "75.00 % of 2,000 right"

    def test_shapes(self, tmp_path):
        with pytest.raises(ValueError, match=r"^2 classes need counts \[2, 2\], got \(3, 3\)$"):
            plotting_text.confusion_matrix(tmp_path / "c.png", np.eye(3), ["bad", "good"])


class TestAccuracyByLength:
    ROWS = accuracy_by_length([True, False, True, True], [0, 9, 10, 500], edges=[0, 10, 11, 20, math.inf])

    def test_curves_above_bars(self, tmp_path, figures):
        worse = [(low, high, count, accuracy / 2) for low, high, count, accuracy in self.ROWS]
        plotting_text.accuracy_by_length(tmp_path / "l.png", {"lstm_mean": self.ROWS, "gru": worse})
        axes, behind = figures[0].axes
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), [50, 100, math.nan, 100])
        assert [label.get_text() for label in axes.get_xticklabels()] == ["0-9", "10", "11-19", "20+"]
        assert [bar.get_height() for bar in behind.patches] == [2, 1, 0, 1]
        assert axes.get_zorder() > behind.get_zorder()

    def test_no_accuracy_below_0_or_above_100(self, tmp_path, figures):
        """Far apart, the curves leave room for the bars where no accuracy can be."""
        rows = {"a": [(0, 10, 5, 0.0), (10, 20, 5, 1.0)]}
        plotting_text.accuracy_by_length(tmp_path / "l.png", rows)
        axes = next(each for each in figures[0].axes if each.lines)
        assert axes.get_yticks().min() == 0
        assert axes.get_yticks().max() == 100

    def test_no_texts(self, tmp_path, figures):
        plotting_text.accuracy_by_length(tmp_path / "l.png", {"a": [(0, 10, 0, math.nan)]})
        assert np.isnan(figures[0].axes[0].lines[0].get_ydata()).all()

    def test_models_that_were_not_given_the_same_texts(self, tmp_path):
        with pytest.raises(ValueError, match=r"^the 2 models must have the same lengths and counts, got 2 different$"):
            plotting_text.accuracy_by_length(tmp_path / "l.png", {"a": self.ROWS, "b": self.ROWS[:2]})
        with pytest.raises(ValueError, match=r"^the 0 models must"):
            plotting_text.accuracy_by_length(tmp_path / "l.png", {})


class TestTellingWords:
    def test_the_ends_of_the_scores_are_shown(self, tmp_path, figures):
        rng = np.random.default_rng(0)
        words = [f"word{i}" for i in range(200)]
        scores = np.linspace(-1, 1, 200)
        plotting_text.telling_words(tmp_path / "w.png", rng.normal(size=(200, 16)), words, scores, num_words=41)
        axes = figures[0].axes[0]
        assert {text.get_text() for text in axes.texts} == set(words[:20] + words[-21:])
        boxes = [text.get_window_extent() for text in axes.texts]
        overlaps = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.shrunk(0.98, 0.98).overlaps(b)]
        assert not overlaps
        frame = axes.get_window_extent()
        assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)

    def test_the_components_are_the_axes_of_the_cloud(self):
        """Points on two orthogonal lines through the mean, the longer one first, whatever the rotation."""
        rng = np.random.default_rng(0)
        rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
        flat = np.array([[3, 0], [-3, 0], [0, 1], [0, -1]], dtype=float)
        points, shares = plotting_text._principal(flat @ rotation[:2] + 7)
        np.testing.assert_allclose(np.abs(points), np.abs(flat), atol=1e-12)
        np.testing.assert_allclose(shares, [0.9, 0.1])

    def test_few_words_and_marks_of_formulas(self, tmp_path, figures):
        plotting_text.telling_words(tmp_path / "w.png", np.eye(3), ["$", "_^$x", "\\"], np.zeros(3))
        assert {text.get_text() for text in figures[0].axes[0].texts} == {"$", "_^$x", "\\"}
        plotting_text.telling_words(tmp_path / "w.png", np.ones((2, 2)), ["a", "b"], np.array([1.0, -1.0]))

    def test_shapes(self, tmp_path):
        with pytest.raises(ValueError, match=r"^vectors \(3, 4\), 2 words and scores \(3,\) do not fit"):
            plotting_text.telling_words(tmp_path / "w.png", np.ones((3, 4)), ["a", "b"], np.ones(3))
        with pytest.raises(ValueError, match=r"^vectors \(3, 1\), 3 words"):
            plotting_text.telling_words(tmp_path / "w.png", np.ones((3, 1)), ["a", "b", "c"], np.ones(3))
        with pytest.raises(ValueError, match=r"^two words or more make a plot, got 1$"):
            plotting_text.telling_words(tmp_path / "w.png", np.ones((1, 2)), ["a"], np.ones(1))
