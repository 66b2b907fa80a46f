"""Searches: every point a function of the seed, its number and what is known."""

import math

import numpy as np
import pytest

from experiments.sweep.search import Known, draw, propose
from experiments.sweep.space import Range

SPACE = {
    "learning_rate": Range(1e-4, 1.0, True, False),
    "hidden_size": Range(4, 7, False, True),
    "cell": ("rnn", "gru", "lstm"),
}


def test_random_points_cover_the_space():
    points = [draw(SPACE, 0, number) for number in range(600)]
    assert {point["cell"] for point in points} == set(SPACE["cell"])
    sizes = [int(point["hidden_size"]) for point in points]
    assert [sizes.count(size) / 600 for size in (4, 5, 6, 7)] == pytest.approx([0.25] * 4, abs=0.06)
    logs = np.log10([float(point["learning_rate"]) for point in points])
    assert -4 <= logs.min() < -3.9
    assert -0.1 < logs.max() <= 0
    assert np.mean(logs < -2) == pytest.approx(0.5, abs=0.06), "not uniform in the logarithm"


def test_another_seed_or_number_is_another_point():
    points = [str(draw(SPACE, seed, number)) for seed in range(3) for number in range(3)]
    assert len(set(points)) == 9


def searched(count, known=()):
    """A search for the learning rate 0.01 with a gru."""
    pytest.importorskip("optuna")
    known = list(known)
    for number in range(len(known), count):
        values = propose(SPACE, 3, number, known)
        distance = abs(math.log10(float(values["learning_rate"])) + 2) + (values["cell"] != "gru")
        known.append(Known(values, distance))
    return known


def test_optuna_finds_what_is_better():
    known = searched(40)
    assert len({str(point.values) for point in known[:10]}) == 10, "the first are drawn anew each time"
    first, last = (np.mean([point.objective for point in known[part]]) for part in (slice(10), slice(30, 40)))
    assert last < 0.5 * first
    for point in known:
        assert 1e-4 <= float(point.values["learning_rate"]) <= 1
        assert 4 <= int(point.values["hidden_size"]) <= 7


def test_optuna_goes_on_as_if_it_had_not_been_interrupted():
    assert searched(16) == searched(16, searched(13))


def test_optuna_knows_of_points_that_run():
    """They count: what it proposes beside them is another point."""
    known = searched(15)
    one = propose(SPACE, 3, 15, known)
    assert propose(SPACE, 3, 15, [*known, Known(one, None)]) != one
