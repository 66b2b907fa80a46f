"""Grids and ranges as they are written, and the names of points."""

import pytest

from experiments import launchable
from experiments.sweep.space import Range, arguments, corners, grid_points, grid_size, parse_grid, point_name

FORECAST = launchable("forecast").config


@pytest.mark.parametrize(
    ("text", "space"),
    [
        ("cell=rnn,lstm;hidden_size=32,64", {"cell": ("rnn", "lstm"), "hidden_size": ("32", "64")}),
        (" cell = rnn , lstm ; ", {"cell": ("rnn", "lstm")}),
        ("learning_rate=1e-2,.01,0.5", {"learning_rate": ("0.01", "0.5")}),  # as a run writes it, each once
        ("calendar=hour,weekday|none", {"calendar": ("hour,weekday", "none")}),
        ("calendar=hour,weekday", {"calendar": ("hour", "weekday")}),
        ("bidirectional=true,false", {"bidirectional": ("true", "false")}),
        ("bidirectional=1", {"bidirectional": ("true",)}),
        ("forget_bias=none,1", {"forget_bias": ("none", "1.0")}),
        ("normalize=none,last", {"normalize": ("none", "last")}),
        ("csv=a..b", {"csv": ("a..b",)}),
        ("learning_rate=1e-4..1e-1:log", {"learning_rate": Range(1e-4, 1e-1, True, False)}),
        ("hidden_size=16..128", {"hidden_size": Range(16, 128, False, True)}),
        ("gain=-0..2.5", {"gain": Range(0.0, 2.5, False, False)}),
        ("lag=4..64:log", {"lag": Range(4, 64, True, True)}),
    ],
)
def test_what_is_written(text, space):
    assert parse_grid(text, FORECAST) == space


def test_an_absent_flag_is_not_given():
    assert arguments({"forget_bias": "none", "cell": "lstm"}) == ["--cell=lstm"]


def test_points_of_a_grid():
    space = parse_grid("cell=rnn,lstm,gru;hidden_size=32,64;lag=3", FORECAST)
    points = list(grid_points(space))
    assert grid_size(space) == len(points) == 6
    assert points[1] == {"cell": "rnn", "hidden_size": "64", "lag": "3"}
    assert len({point_name(point) for point in points}) == 6


def test_corners_have_every_value_and_both_ends():
    space = parse_grid("cell=rnn,lstm,gru;lag=3..9", FORECAST)
    assert list(corners(space)) == [
        {"cell": "rnn", "lag": "3"},
        {"cell": "lstm", "lag": "3"},
        {"cell": "gru", "lag": "3"},
        {"cell": "rnn", "lag": "9"},
    ]


class TestNames:
    def test_what_a_shell_would_not_take(self):
        name = point_name({"csv": "my file[1].csv", "calendar": "hour,week"})
        assert name.startswith("csv=my_file_1_.csv-calendar=hour_week-")
        assert name != point_name({"csv": "my file(1).csv", "calendar": "hour,week"})

    def test_long_ones(self):
        one, other = (point_name({"csv": "a" * 300 + last}) for last in "bc")
        assert one != other
        assert len(one) == len(other) < 200


@pytest.mark.parametrize(
    ("between", "number", "text"),
    [
        (Range(1e-4, 1e-1, True, False), 0.00123456, "0.001235"),
        (Range(1 / 3, 1.0, False, False), 0.33332, str(1 / 3)),  # rounded out of the range
        (Range(1 / 3, 1.0, False, False), 0.99999, "1.0"),
        (Range(1, 64, False, True), 63.7, "64"),
        (Range(1, 12345, False, True), 12345, "12340"),
    ],
)
def test_numbers_of_a_range_have_few_digits_and_stay_inside(between, number, text):
    assert between.text(number) == text
