"""Flags that follow from the series where they are not given."""

import doctest

import numpy as np
import pandas as pd
import pytest

from experiments.common.flags import UsageError, parse
from experiments.forecast import defaults
from experiments.forecast.flags import Config
from rnn_jax.data.series.forecasting import make_task, split_bounds
from rnn_jax.data.series.regularize import regularize
from rnn_jax.data.series.series import Column, Series
from rnn_jax.data.series.synthetic import hourly_temperature


def series(rows, step, targets=1, ids=1):
    """Random numbers of `ids` series one after the other; without a step rows have no times."""
    values = np.random.default_rng(0).standard_normal((rows * ids, targets))
    times = None if step is None else pd.date_range("1990-01-01", periods=rows, freq=step, tz="UTC")
    if times is not None and ids > 1:
        times = pd.DatetimeIndex(np.tile(times.asi8, ids).view(f"M8[{times.unit}]")).tz_localize("UTC")
    names = None if ids == 1 else [f"s{k}" for k in range(ids) for _ in range(rows)]
    everything = np.ones(rows * ids, bool)
    made = regularize(values, times, names, everything, ~everything)
    columns = tuple(Column(f"c{k}") for k in range(targets))
    return Series(
        "made", made.values, columns, targets, made.times, made.breaks, (), made.ids, made.id_names,
        season=made.season, step=made.step,
    )  # fmt: skip


def settled(found, *arguments):
    return defaults.settle(parse(Config, list(arguments)), found)


KINDS = {
    "monthly": (150, "MS", 12), "quarterly": (80, "QS", 4), "weekly": (500, "7D", 52), "daily": (900, "D", 7),
    "hourly": (3000, "h", 24), "numbers": (400, None, 1),
}  # fmt: skip


class TestEveryKind:
    @pytest.mark.parametrize("ahead", [1, 6])
    @pytest.mark.parametrize("kind", KINDS)
    def test_has_windows_in_each_split(self, kind, ahead):
        rows, step, season = KINDS[kind]
        found = series(rows, step)
        config = settled(found, f"--ahead={ahead}")
        assert config.season == found.season
        if kind != "quarterly":  # which has the months of its times
            assert config.season == season
        windows = make_task(found, "clean", config.lag, ahead, cycles=config.calendar)
        train = int(split_bounds(found)[0, 1])
        assert config.lag <= (train - ahead) // 3 + 1, "most of the training rows begin a window"
        assert 1 <= config.origins <= config.lag
        assert 4 <= config.batch_size <= 64
        assert len(windows.train) // config.batch_size >= 4, "an epoch has steps"
        steps = config.epochs * (len(windows.train) // config.batch_size)
        assert config.epochs in (4, 100) or 2000 < steps < 8000
        assert config.report_steps == defaults.some_steps(ahead)
        assert config.trees is True

    @pytest.mark.parametrize("kind", ["monthly", "weekly", "daily", "hourly"])
    def test_reads_a_season_where_there_is_room(self, kind):
        rows, step, season = KINDS[kind]
        assert settled(series(rows, step)).lag > season


class TestLag:
    def test_of_hours(self):
        assert settled(hourly_temperature(3000, 0)).lag == 64

    def test_of_a_year_of_days(self):
        """A season that is given: a year and a little, where a third of the training rows is that long."""
        assert 365 < settled(series(2500, "D"), "--season=365").lag < 2 * 365
        assert settled(series(900, "D"), "--season=365").lag <= 900 * 7 // 10 // 3

    def test_of_the_shortest_series(self):
        found = series(300, "h", ids=3)
        short = series(60, "h")
        assert settled(found).lag == settled(series(300, "h")).lag
        assert settled(short).lag <= 42 // 3

    @pytest.mark.parametrize("segment", [1, 5, 7])
    def test_segments_divide_it(self, segment):
        config = settled(hourly_temperature(3000, 0), f"--segment={segment}")
        assert config.lag % segment == 0
        assert config.lag > 48

    def test_what_is_given_stays(self):
        config = settled(
            hourly_temperature(3000, 0), "--lag=10", "--season=6", "--origins=4", "--batch_size=7", "--epochs=3",
            "--report_steps=1", "--notrees", "--calendar=year", "--units=scaled",
        )  # fmt: skip
        assert (config.lag, config.season, config.origins, config.batch_size, config.epochs) == (10, 6, 4, 7, 3)
        assert (config.report_steps, config.trees, config.calendar) == ((1,), False, ("year",))
        assert config.units == "scaled"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--lag=10", "--origins=11"], "--origins=11: a window has --lag=10 rows"),
            (["--segment=70", "--lag=64"], "--segment=70: does not divide --lag=64"),
        ],
    )
    def test_what_does_not_fit(self, arguments, message):
        with pytest.raises(UsageError, match=f"^{message}$"):
            settled(hourly_temperature(3000, 0), *arguments)


class TestCalendar:
    @pytest.mark.parametrize(
        ("rows", "step", "expected"),
        [
            (3000, "h", ("hour", "weekday")),
            (20_000, "h", ("hour", "weekday")),
            (30_000, "h", ("hour", "weekday", "year")),
            (200, "D", ("weekday",)),
            (1200, "D", ("weekday", "year")),
            (300, "7D", ("year",)),
            (150, "MS", ("year",)),
            (500, "min", ("hour",)),
            (500, None, ()),
        ],
    )
    def test_cycles_that_the_training_rows_show(self, rows, step, expected):
        assert settled(series(rows, step)).calendar == expected

    def test_none(self):
        assert settled(series(3000, "h"), "--calendar=none").calendar == ()

    def test_nothing_of_later_rows_decides(self):
        """Two years are there, and the first 70 % of them are less."""
        assert "year" not in settled(series(24 * 365 * 2 + 100, "h")).calendar


class TestRest:
    def test_origins(self):
        found = hourly_temperature(3000, 0)
        assert 1 < settled(found).origins < 64
        for flags in (
            ["--decoder=sequence"], ["--bidirectional"], ["--segment=2"], ["--normalize=mean"], ["--protocol=lecture"],
        ):  # fmt: skip
            assert settled(found, *flags).origins == 1, flags

    def test_trees_are_for_one_target(self):
        assert settled(series(400, "h", targets=2)).trees is False
        assert settled(series(400, "h", targets=2), "--trees").trees is True

    def test_units(self):
        assert settled(series(400, "h")).units == "units"

    def test_that_of_the_lectures(self):
        config = settled(hourly_temperature(3000, 0), "--protocol=lecture")
        assert (config.lag, config.batch_size, config.epochs, config.origins) == (64, 64, 10, 1)
        assert (config.calendar, config.normalize, config.blend, config.trees) == ((), "none", False, False)


@pytest.mark.parametrize(
    ("ahead", "steps"), [(1, (1,)), (2, (1, 2)), (4, (1, 2, 4)), (5, (1, 2, 5)), (96, (1, 24, 48, 96))]
)
def test_some_steps(ahead, steps):
    assert defaults.some_steps(ahead) == steps


def test_examples():
    tested = doctest.testmod(defaults)
    assert tested.attempted
    assert not tested.failed
