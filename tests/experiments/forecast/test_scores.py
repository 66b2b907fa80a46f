"""How good forecasts are, worked out by hand: steps left out, units, the best baseline, intervals."""

import dataclasses

import numpy as np
import pytest
from helpers.series import TABLE_FLAGS, hours, write

from experiments.common.flags import parse
from experiments.forecast import run, scores
from experiments.forecast.flags import Config
from experiments.forecast.scores import Bands, Judge
from experiments.forecast.task import make_output

NAN = np.nan
TARGETS = np.array([[[1.0], [2.0]], [[3.0], [4.0]], [[5.0], [NAN]]])
LAST = np.array([[[0.0]] * 2, [[1.0]] * 2, [[3.0]] * 2])
JUDGE = Judge(TARGETS, LAST, np.full((3, 1), 0.5), np.ones((3, 1, 1)), (1, 2))


def two_targets():
    """The second one is never measured at the first step."""
    second = TARGETS * 10
    second[:, 0] = NAN
    return Judge(
        np.concatenate([TARGETS, second], axis=2), np.concatenate([LAST, LAST * 10], axis=2), np.ones((3, 2)),
        np.ones((3, 1, 2)), (1, 2),
    )  # fmt: skip


class TestMeasure:
    def test_by_hand(self):
        """Errors 1, 1, 1 at the first step and 2, 2 at the second, where one target was not measured."""
        found = JUDGE.measure(TARGETS + np.array([[1.0], [2.0]]))
        assert found["steps"]["mse"] == [1.0, 4.0]
        assert found["steps"]["mae"] == [1.0, 2.0]
        assert found["steps"]["mase"] == [2.0, 4.0]
        naive = [(1 + 4 + 4) / 3, (4 + 9) / 2]
        assert found["steps"]["skill"] == pytest.approx([1 - 1 / naive[0], 1 - 4 / naive[1]])
        assert found["all"]["mse"] == pytest.approx((3 * 1 + 2 * 4) / 5)
        assert found["all"]["mae"] == pytest.approx(7 / 5)
        assert found["targets"] == {}

    def test_a_step_that_is_not_forecast(self):
        """As of trees, which forecast some steps: no measure of all steps."""
        forecast = TARGETS + 1
        forecast[:, 1] = NAN
        found = JUDGE.measure(forecast)
        assert found["all"] == {}
        assert found["steps"]["mse"][0] == 1
        assert np.isnan(found["steps"]["mse"][1])

    def test_only_the_steps_that_are_reported(self):
        judged = JUDGE._replace(steps=(2,))
        assert judged.measure(TARGETS + np.array([[1.0], [2.0]]))["steps"]["mse"] == [4.0]

    def test_nothing_that_is_reported_is_forecast(self):
        assert JUDGE.measure(np.full_like(TARGETS, NAN)) == {"all": {}, "steps": {}, "targets": {}}

    def test_targets_apart(self):
        judged = two_targets()
        found = judged.measure(judged.targets + np.array([1.0, 20.0]))
        assert found["targets"]["mse"] == [1.0, 400.0]
        assert found["steps"]["mse"] == pytest.approx([1, (2 * 1 + 2 * 400) / 4])

    def test_a_target_that_was_not_measured(self):
        judged = two_targets()
        judged.targets[..., 1] = NAN
        found = judged.measure(judged.last + 1)
        assert found["targets"]["mse"][0] == pytest.approx(found["all"]["mse"])
        assert np.isnan(found["targets"]["mse"][1])
        assert set(found["targets"]) == set(found["all"])

    def test_in_units_of_a_factor(self):
        """The forecast comes in physical units; targets and persistence are divided already."""
        judged = JUDGE._replace(factor=np.full((3, 1, 1), 4.0))
        found = judged.measure(4 * TARGETS + 4)
        assert found["all"]["mse"] == pytest.approx(1)
        np.testing.assert_allclose(judged.squared_errors(4 * TARGETS + 8, 1), 4)

    def test_squared_errors(self):
        judged = two_targets()
        found = judged.squared_errors(judged.targets + np.array([1.0, 3.0]), 2)
        np.testing.assert_allclose(found[:2], (1 + 9) / 2)
        assert np.isnan(found[2]), "neither was measured"
        np.testing.assert_allclose(judged.squared_errors(judged.targets + 2, 1), 4)


class TestSpread:
    def test_over_seeds(self):
        seeds = [JUDGE.measure(TARGETS + add) for add in (1.0, 3.0)]
        found = scores.spread(seeds)
        assert found["all"]["mae"] == {"mean": 2.0, "std": pytest.approx(np.sqrt(2)), "values": [1.0, 3.0]}
        assert [each["values"] for each in found["steps"]["mae"]] == [[1.0, 3.0], [1.0, 3.0]]
        assert found["targets"] == {}


class TestCompare:
    RNG = np.random.default_rng(0)
    REAL = RNG.standard_normal((200, 2, 1))
    JUDGE = Judge(REAL, REAL * 0, np.ones((200, 1)), np.ones((200, 1, 1)), (1, 2))

    def near(self, *deviations):
        """A forecast with errors of these sizes at the two steps."""
        return self.REAL + self.RNG.standard_normal((200, 2, 1)) * np.array(deviations)[:, None]

    def test_with_the_best_at_each_step(self):
        others = {"early": self.near(0.5, 2.0), "late": self.near(2.0, 0.5), "trees": self.near(0.1, 0.1)}
        others["trees"][:] = NAN
        ours = self.near(0.25, 1.0)
        found = scores.compare(self.JUDGE, ours, others, (1, 2))
        assert [(each["step"], each["baseline"]) for each in found] == [(1, "early"), (2, "late")]
        assert found[0]["mse_ratio"] == pytest.approx(
            np.mean((ours - self.REAL)[:, 0] ** 2) / np.mean((others["early"] - self.REAL)[:, 0] ** 2)
        )
        assert found[0]["mse_ratio"] < 0.5 < 2 < found[1]["mse_ratio"]
        assert found[0]["statistic"] < 0 < found[1]["statistic"]
        assert max(each["p_value"] for each in found) < 1e-3

    def test_a_twin_is_no_better(self):
        others = {"a": self.near(1.0, 1.0)}
        (found,) = scores.compare(self.JUDGE, self.near(1.0, 1.0), others, (1,))
        assert found["p_value"] > 0.01
        (same,) = scores.compare(self.JUDGE, others["a"], others, (1,))
        assert same["mse_ratio"] == 1
        assert not same["p_value"] < 0.9

    def test_too_few_windows(self):
        judged = Judge(*(each[:1] for each in self.JUDGE[:4]), (1,))
        (found,) = scores.compare(judged, self.REAL[:1] + 1, {"a": self.REAL[:1] + 2}, (1,))
        assert (found["baseline"], found["mse_ratio"]) == ("a", 0.25)
        assert np.isnan(found["p_value"])


class TestBands:
    OUTPUTS = np.array([[[1.0]], [[2.0]]])[None]

    def test_around_a_point(self):
        lower, upper = Bands(0.9, np.array([[0.5], [1.0]])).of(self.OUTPUTS)
        assert (lower.ravel().tolist(), upper.ravel().tolist()) == ([0.5, 1.0], [1.5, 3.0])

    def test_of_a_gaussian(self):
        """95 % lie within 1.96 deviations."""
        outputs = np.array([[[[1.0, 2.0]]]])
        lower, upper = Bands(0.95, None).of(outputs)
        assert (lower.item(), upper.item()) == pytest.approx((1 - 2 * 1.959964, 1 + 2 * 1.959964))

    def test_of_quantiles(self):
        lower, upper = Bands(0.9, None).of(np.array([[[[-1.0, 0.0, 1.0, 2.0, 5.0]]]]))
        assert (lower.item(), upper.item()) == (-1, 5)


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    """Of two targets, the second one ten times the first; settled config and task."""
    table = hours(400)
    table["heat"] = 10 * table["load"]
    table.loc[350:355, "load"] = NAN
    file = write(table, tmp_path_factory.mktemp("table") / "hours.csv")
    flags = [*TABLE_FLAGS, "--target=load,heat", "--ahead=2", "--lag=6", "--season=24", f"--csv={file}"]
    return run.read(parse(Config, flags))


class TestJudgeOfATask:
    def test_units(self, windows):
        config, task = windows
        judged = scores.judge(config, task, task.test)
        np.testing.assert_array_equal(judged.targets, task.targets(task.test))
        values = task.series.values[: 400 * 7 // 10]
        np.testing.assert_allclose(judged.scale[0], np.abs(values[24:] - values[:-24]).mean(axis=0))
        assert (judged.factor == 1).all()

    def test_as_scaled(self, windows):
        """What comes in physical units is measured as the standardized values are: both targets count alike."""
        config, task = windows
        config = dataclasses.replace(config, units="scaled")
        judged = scores.judge(config, task, task.test)
        np.testing.assert_allclose(
            judged.targets,
            task.scaled_targets(task.test)
            + judged.targets * 0
            + (task.encoder.center[0, :2] / task.encoder.scale[0, :2]),
        )
        forecast = task.targets(task.test) + 0.5 * task.encoder.scale[0, :2]
        found = judged.measure(np.nan_to_num(forecast))
        np.testing.assert_allclose(found["targets"]["mae"], 0.5)

    def test_mase_is_the_same_in_either(self, windows):
        config, task = windows
        forecast = np.nan_to_num(task.targets(task.test)) + np.array([1.0, 3.0])
        of = [
            scores.judge(dataclasses.replace(config, units=units), task, task.test).measure(forecast)
            for units in ("units", "scaled")
        ]
        assert of[0]["targets"]["mase"] == pytest.approx(of[1]["targets"]["mase"])

    def test_an_interval_where_validation_measured_nothing(self, windows):
        """As wide as the widest."""
        config, task = windows
        values = task.series.values.copy()
        values[280:320, 1] = NAN
        holed = dataclasses.replace(task, series=dataclasses.replace(task.series, values=values))
        outputs = np.zeros((len(task.validation), 2, 2, 1))
        radius = scores.bands(config, holed, outputs).radius
        np.testing.assert_array_equal(radius[:, 0], scores.bands(config, task, outputs).radius[:, 0])
        assert (radius[:, 1] == radius[:, 0].max()).all()

    def test_intervals_hold_what_they_are_to_hold(self, windows):
        """Split conformal: of the validation residuals themselves, 90 % and one more at most."""
        config, task = windows
        rng = np.random.default_rng(0)
        outputs = {
            name: np.nan_to_num(task.scaled_targets(starts))[..., None]
            + rng.standard_normal((len(starts), 2, 2, 1)) * 0.1 * np.array([1.0, 4.0])[:, None, None]
            for name, starts in (("validation", task.validation), ("test", task.test))
        }
        band = scores.bands(config, task, outputs["validation"])
        assert band.radius.shape == (2, 2)
        assert (band.radius[1] / band.radius[0] > 2).all()
        lower, upper = band.of(outputs["validation"])
        real = task.scaled_targets(task.validation)
        share = ((lower <= real) & (real <= upper)).mean()
        assert 0.9 <= share < 0.97
        found = scores.interval_scores(config, task, band, outputs["test"])
        assert 0.8 < found["coverage"] < 1
        assert len(found["coverage_by_step"]) == 2
        scale = task.encoder.scale[0, :2]
        assert found["width"] == pytest.approx((2 * band.radius * scale).mean(), rel=0.1)


@pytest.mark.parametrize("level", [0.3, 0.5, 0.8])
def test_the_ends_of_an_interval_are_the_outer_quantiles(level):
    """However narrow it is: a quartile is no end of an interval of less than the middle half."""
    levels = make_output(parse(Config, ["--output=quantiles", f"--level={level}"])).levels
    assert list(levels) == sorted(set(levels))
    assert (levels[0], levels[-1]) == pytest.approx(((1 - level) / 2, (1 + level) / 2))
