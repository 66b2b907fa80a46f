"""Permutation importance: a linear model, whose importance is known, and what stays as it was."""

import math

import numpy as np
import pytest

from rnn_jax.importance import permutation_importance

INPUTS = np.random.default_rng(0).normal(size=(4000, 2, 3))
GROUPS = {"first": [0], "second": [1], "third": [2]}


def predict(inputs):
    return (2 * inputs[:, -1, 0] + inputs[:, -1, 1])[:, None, None]


NOISE = np.random.default_rng(1).normal(size=(4000, 1, 1))
TARGETS = predict(INPUTS) + NOISE


def test_a_linear_model():
    """Permuting x of a term c x adds 2 c^2 var(x) to the error, here to 1."""
    found = permutation_importance(predict, INPUTS, TARGETS, GROUPS, seed=0, repeats=3)
    assert found["first"] == pytest.approx(8, rel=0.1)
    assert found["second"] == pytest.approx(2, rel=0.1)
    assert found["third"] == 0
    assert all(type(value) is float for value in found.values())


def test_by_hand():
    order = np.random.default_rng(5).permutation(4000)
    permuted = INPUTS.copy()
    permuted[:, :, [0, 2]] = INPUTS[order][:, :, [0, 2]]
    expected = np.mean((TARGETS - predict(permuted)) ** 2) / np.mean(NOISE**2) - 1
    assert permutation_importance(predict, INPUTS, TARGETS, {"both": [0, 2]}, seed=5)["both"] == pytest.approx(expected)


def test_the_other_groups_do_not_matter():
    all_of_them = permutation_importance(predict, INPUTS, TARGETS, GROUPS, seed=3, repeats=2)
    for name, features in GROUPS.items():
        alone = permutation_importance(predict, INPUTS, TARGETS, {name: features}, seed=3, repeats=2)
        assert alone[name] == all_of_them[name]


def test_inputs_stay_and_keep_their_type():
    inputs, kept, seen = INPUTS.astype(np.float32), INPUTS.astype(np.float32), []

    def typed(x):
        seen.append((x.dtype, x.shape))
        return predict(x)

    permutation_importance(typed, inputs, TARGETS, GROUPS, seed=0, repeats=2)
    np.testing.assert_array_equal(inputs, kept)
    assert seen == [(np.float32, INPUTS.shape)] * (1 + 3 * 2)


def test_missing_targets_are_left_out():
    holed = TARGETS.copy()
    holed[::3] = np.nan
    found = permutation_importance(predict, INPUTS, holed, GROUPS, seed=0)
    assert found["first"] == pytest.approx(8, rel=0.15)


def test_a_forecast_without_an_error():
    found = permutation_importance(predict, INPUTS, predict(INPUTS), GROUPS, seed=0)
    assert found["first"] == math.inf
    assert math.isnan(found["third"])


def test_what_does_not_fit():
    with pytest.raises(
        ValueError, match=r"^inputs must be \[W, T, I\] and targets \[W, \.\.\.\], got \(4000, 2\) and \("
    ):
        permutation_importance(predict, INPUTS[..., 0], TARGETS, GROUPS, seed=0)
    with pytest.raises(ValueError, match=r"got \(4000, 2, 3\) and \(3999, 1, 1\)$"):
        permutation_importance(predict, INPUTS, TARGETS[1:], GROUPS, seed=0)
    for wrong in (3, -1):
        with pytest.raises(
            ValueError, match=rf"^group x must be of features 0\.\.2 of \(4000, 2, 3\), got \[0, {wrong}\]$"
        ):
            permutation_importance(predict, INPUTS, TARGETS, {"x": [0, wrong]}, seed=0)
    with pytest.raises(ValueError, match=r"^targets \(4000, 1, 1\), predictions \(4000,\) must have one shape$"):
        permutation_importance(lambda x: x[:, -1, 0], INPUTS, TARGETS, GROUPS, seed=0)
    with pytest.raises(ValueError, match=r"^predictions \(4000, 1, 1\) are NaN at 4000 of 4000 measured targets$"):
        permutation_importance(lambda x: np.nan * predict(x), INPUTS, TARGETS, GROUPS, seed=0)
    with pytest.raises(ValueError, match=r"^repeats=0: must be at least 1$"):
        permutation_importance(predict, INPUTS, TARGETS, GROUPS, seed=0, repeats=0)
