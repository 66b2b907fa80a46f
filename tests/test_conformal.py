"""Conformal intervals: the rank by hand, coverage of exchangeable errors, and nothing taken from the future."""

import math

import numpy as np
import pytest
from helpers.imports import third_party_imports
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_jax.conformal import conformal_radius, conformal_scores, rolling_conformal


def column(values):
    return np.array(values, float).reshape(-1, 1, 1)


class TestRadius:
    @pytest.mark.parametrize(
        ("count", "level", "expected"),
        [(9, 0.9, 9), (9, 0.8, 8), (9, 0.81, 9), (99, 0.55, 55), (10, 0.5, 6), (1, 0.5, 1), (3, 0.9, 3), (9, 0.01, 1)],
    )
    def test_rank(self, count, level, expected):
        """Of errors 1..n the radius is its own rank; 100 * 0.55 is a little above 55 in floating point."""
        errors = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
        errors[::2] *= -1
        assert conformal_radius(column(errors), level) == expected

    def test_each_step_and_target_by_itself(self):
        residuals = np.random.default_rng(0).normal(size=(50, 3, 2))
        residuals[::4, 1, 0] = np.nan
        radius = conformal_radius(residuals, 0.8)
        assert (radius.shape, radius.dtype) == ((3, 2), np.float64)
        for place in np.ndindex(3, 2):
            known = residuals[:, *place]
            assert radius[place] == conformal_radius(column(known[~np.isnan(known)]), 0.8)

    def test_nothing_measured(self):
        assert np.isnan(conformal_radius(np.full((4, 1, 1), np.nan), 0.9)).all()
        assert np.isnan(conformal_radius(np.zeros((0, 2, 1)), 0.9)).tolist() == [[True], [True]]

    @pytest.mark.parametrize(("count", "level"), [(19, 0.9), (100, 0.5), (37, 0.95)])
    def test_coverage_of_exchangeable_errors(self, count, level):
        """Drawn anew each time, from tails that no normal distribution has: P = ceil((n + 1) level) / (n + 1)."""
        draws = 4000
        errors = np.random.default_rng(1).standard_t(2, size=(count + 1, draws, 1))
        inside = np.abs(errors[-1]) <= conformal_radius(errors[:-1], level)
        expected = math.ceil(round((count + 1) * level, 9)) / (count + 1)
        assert expected >= level
        assert abs(inside.mean() - expected) < 3 * math.sqrt(expected * (1 - expected) / draws)

    def test_what_does_not_fit(self):
        with pytest.raises(ValueError, match=r"^residuals must be \[W, A, M\], got \(3,\)$"):
            conformal_radius(np.ones(3), 0.9)
        for level in (0, 1, 90):
            with pytest.raises(ValueError, match=rf"^level={level}: must be between 0 and 1$"):
                conformal_radius(np.ones((3, 1, 1)), level)


class TestScores:
    def test_by_hand(self):
        scores = conformal_scores(column([3, -1, np.nan, 0]), column([2, 4, 0, 1]))
        np.testing.assert_array_equal(scores, column([1.5, 0.25, np.nan, 0]))

    def test_intervals_follow_the_state(self):
        """Errors in proportion to a spread: both kinds of interval hold 90 %, but one in each state, the other not."""
        rng = np.random.default_rng(0)
        spread = rng.choice([1.0, 10.0], size=(8000, 1, 1))
        residuals = rng.normal(size=spread.shape) * spread
        old, new = slice(4000), slice(4000, None)
        radius = conformal_radius(conformal_scores(residuals[old], spread[old]), 0.9) * spread[new]
        inside, calm = np.abs(residuals[new]) <= radius, spread[new] == 1
        fixed = np.abs(residuals[new]) <= conformal_radius(residuals[old], 0.9)
        margin = 3 * math.sqrt(0.09 / 4000) * 2  # both halves are drawn
        assert abs(inside.mean() - 0.9) < margin
        assert abs(fixed.mean() - 0.9) < margin
        assert abs(inside[calm].mean() - inside[~calm].mean()) < 0.04
        assert fixed[calm].mean() - fixed[~calm].mean() > 0.15

    def test_what_does_not_fit(self):
        with pytest.raises(
            ValueError, match=r"^residuals \(2, 1, 1\) and spread \(3, 1, 1\) must have one shape \[W, A"
        ):
            conformal_scores(np.ones((2, 1, 1)), np.ones((3, 1, 1)))
        with pytest.raises(ValueError, match=r"^spread \(2, 1, 1\) must be above 0 where there is a residual$"):
            conformal_scores(column([1, 2]), column([1, 0]))


def rolled(old, new, level=0.8, window=5, first=0):
    origins = np.arange(first, first + len(old) + len(new))
    return rolling_conformal(
        old, new, level, window, origins_validation=origins[: len(old)], origins_test=origins[len(old) :]
    )


@st.composite
def residuals(draw):
    """Validation and test, with gaps, repeated values and origins that leave rows out."""
    num_old, num_new = draw(st.integers(0, 8)), draw(st.integers(1, 12))
    steps, targets = draw(st.integers(1, 4)), draw(st.integers(1, 2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    errors = rng.integers(-5, 6, size=(num_old + num_new, steps, targets)).astype(float)
    errors[rng.random(errors.shape) < draw(st.sampled_from([0, 0.3]))] = np.nan
    origins = np.cumsum(rng.integers(1, 1 + draw(st.integers(1, 3)), size=num_old + num_new))
    return errors, origins, num_old


class TestRolling:
    @settings(max_examples=60, deadline=None)
    @given(residuals(), st.integers(1, 10), st.sampled_from([0.3, 0.5, 0.9]))
    def test_against_a_plain_search(self, drawn, window, level):
        errors, origins, num_old = drawn
        found = rolling_conformal(
            errors[:num_old], errors[num_old:], level, window,
            origins_validation=origins[:num_old], origins_test=origins[num_old:],
        )  # fmt: skip
        assert found.shape == errors[num_old:].shape
        for row, step, target in np.ndindex(*found.shape):
            known = errors[origins + step + 1 <= origins[num_old + row], step, target]
            known = known[~np.isnan(known)][-window:]
            np.testing.assert_array_equal(found[row, step, target], conformal_radius(column(known), level)[0, 0])

    @settings(max_examples=60, deadline=None)
    @given(residuals(), st.data())
    def test_what_is_not_known_yet_changes_nothing(self, drawn, data):
        errors, origins, num_old = drawn
        row = data.draw(st.integers(0, len(errors) - num_old - 1))
        later = origins[:, None] + 1 + np.arange(errors.shape[1]) > origins[num_old + row]
        changed = np.where(later[:, :, None], 1e6, errors)
        names = {"origins_validation": origins[:num_old], "origins_test": origins[num_old:]}
        before, after = (rolling_conformal(e[:num_old], e[num_old:], 0.8, 4, **names) for e in (errors, changed))
        np.testing.assert_array_equal(before[: row + 1], after[: row + 1])

    def test_by_hand(self):
        old, new = np.arange(1.0, 5).reshape(4, 1, 1), np.array([50.0, 60.0, 70.0, 80.0]).reshape(4, 1, 1)
        two_steps = np.concatenate([old, old], axis=1), np.concatenate([new, new], axis=1)
        radius = rolled(*two_steps, level=0.5, window=3)  # the second of three
        assert radius[:, 0, 0].tolist() == [3, 4, 50, 60]
        assert radius[:, 1, 0].tolist() == [2, 3, 4, 50]  # known one row later

    def test_the_start(self):
        radius = rolled(np.zeros((0, 2, 1)), np.ones((4, 2, 1)))
        assert np.isnan(radius[..., 0]).tolist() == [[True, True], [False, True], [False, False], [False, False]]

    def test_coverage_where_nothing_drifts_and_where_it_does(self):
        rng = np.random.default_rng(0)
        steady = rng.normal(size=(6000, 1, 1))
        grown = steady * np.exp(np.linspace(0, 3, 6000))[:, None, None]
        for errors in (steady, grown):
            radius = rolled(errors[:1000], errors[1000:], level=0.9, window=199)
            assert abs(np.mean(np.abs(errors[1000:]) <= radius) - 0.9) < 0.025
        fixed = conformal_radius(grown[:1000], 0.9)
        assert np.mean(np.abs(grown[1000:]) <= fixed) < 0.6

    def test_what_does_not_fit(self):
        old, new = np.ones((2, 1, 1)), np.ones((3, 1, 1))
        with pytest.raises(
            ValueError, match=r"^residuals \(2, 1, 1\), \(3, 2, 1\) and origins \(2,\), \(3,\) do not fit$"
        ):
            rolled(old, np.ones((3, 2, 1)))
        with pytest.raises(
            ValueError, match=r"^residuals \(2, 1, 1\), \(3, 1, 1\) and origins \(3,\), \(2,\) do not fit$"
        ):
            rolling_conformal(old, new, 0.9, 5, origins_validation=[0, 1, 2], origins_test=[3, 4])
        with pytest.raises(
            ValueError, match=r"^origins \(5,\) must ascend from the first of validation to the last of"
        ):
            rolling_conformal(old, new, 0.9, 5, origins_validation=[0, 1], origins_test=[1, 2, 3])
        with pytest.raises(ValueError, match=r"^window=0: must be at least 1$"):
            rolled(old, new, window=0)


def test_nothing_else_is_needed():
    assert third_party_imports("rnn_jax.conformal") <= {"numpy"}
