"""Features by hand, and that none of them looks ahead."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_jax.data.errors import DataError
from rnn_jax.data.series.features import Encoder, encode, fit_encoder, scaled
from rnn_jax.data.series.forecasting import make_task
from rnn_jax.data.series.series import Column, Series

NAN = np.nan


def series_of(*columns, values, num_targets=1, times=None, breaks=(), ids=None, id_names=()):
    values = np.asarray(values, np.float64).reshape(-1, len(columns))
    flags = np.isin(np.arange(len(values)), breaks)
    ids = None if ids is None else np.asarray(ids, np.int32)
    return Series("some.csv", values, columns, num_targets, times, flags, ids=ids, id_names=id_names)


def fit(series, rows, *arguments):
    return fit_encoder(series, np.arange(len(series.values)) < rows, *arguments)


@pytest.mark.parametrize(
    ("scaling", "center", "scale"),
    [
        ("standard", 4.0, np.sqrt(8.0)),
        ("robust", 3.0, 3.0 / 1.349),
        ("none", 0.0, 1.0),
    ],
)
def test_scaling(scaling, center, scale):
    values = [1.0, 2.0, 3.0, NAN, 5.0, 9.0, 1000.0]
    series = series_of(Column("x"), values=values)
    encoder = fit(series, 6, [scaling])
    np.testing.assert_allclose((encoder.center, encoder.scale), ([[center]], [[scale]]), rtol=1e-14)
    np.testing.assert_allclose(scaled(encoder, series)[:, 0], (np.array(values) - center) / scale)


def test_each_column_has_its_scaling():
    series = series_of(Column("x"), Column("y"), values=[[0, 5], [2, 7], [4, 9], [50, 50]])
    encoder = fit(series, 3, ("none", "standard"))
    np.testing.assert_allclose(scaled(encoder, series)[:2], [[0, -np.sqrt(1.5)], [2, 0]], atol=1e-15)


def test_a_value_out_of_reach():
    series = series_of(Column("x"), values=[1, 2, 3, 1e20])
    encoder = fit(series, 3)
    with pytest.raises(DataError, match=r"^some.csv: column 'x': 1e\+20 is more than 1e\+18 deviations"):
        encode(encoder, series)


def test_what_moves_too_little_for_its_squares_is_constant():
    values = np.stack([np.arange(9.0), 1e-200 * np.arange(9.0)], axis=1)
    assert fit(series_of(Column("x"), Column("y"), values=values), 9).scale[0, 1] == 1
    with pytest.raises(DataError, match="column 'x' is 0 in all 9 training rows"):
        fit(series_of(Column("x"), values=values[:, 1]), 9)


@pytest.mark.parametrize("scaling", ["standard", "robust"])
def test_spread_where_there_is_little(scaling):
    """Of a constant column it is 1, and no rounding error; half of equal values have one all the same."""
    values = np.stack([np.arange(71.0), np.full(71, 0.1), np.append(np.zeros(60), np.arange(11.0))], axis=1)
    values[70, 1] = 3.1
    encoder = fit(series_of(Column("x"), Column("y"), Column("z"), values=values), 70, [scaling])
    assert (encoder.center[0, 1], encoder.scale[0, 1]) == (0.1, 1.0)
    assert encoder.scale[0, 2] == values[:70, 2].std()


def test_features_by_hand():
    columns = (
        Column("x"),
        Column("day", "category", True, ("fri", "mon")),
        Column("wind", "angle"),
        Column("sky", "category", False, ("clear", "rain", "snow")),
        Column("price", known=True),
    )
    times = pd.date_range("2021-01-04 06:00", periods=4, freq="12h", tz="UTC")  # a Monday
    values = [[1, 0, 90, 2, 5], [NAN, 1, NAN, NAN, 6], [3, NAN, 180, 0, NAN], [NAN, 1, NAN, 1, 8]]
    series = series_of(*columns, values=values, times=times, breaks=[3])
    encoder = fit(series, 3, ["none"], ["weekday", "hour"])
    one = np.log(2.0)
    expected = [
        # x, wind, sky, measured, since, day, price
        [1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 5],
        [1, 1, 0, 0, 0, 1, 0, 0, 0, one, one, one, 0, 1, 6],
        [3, 0, -1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 6],
        [0, 0, 0, 0, 1, 0, 0, 0, 1, one, one, 0, 0, 1, 8],
    ]
    found = encode(encoder, series)
    np.testing.assert_allclose(found[:, :15], expected, atol=1e-15)
    day = np.array([0.25, 0.75, 0.25, 0.75])
    for place, phase in ((15, (np.array([0, 0, 1, 1]) + day) / 7), (17, day)):
        expected = np.stack([np.sin(2 * np.pi * phase), np.cos(2 * np.pi * phase)], axis=1)
        np.testing.assert_allclose(found[:, place : place + 2], expected, atol=1e-14)
    assert encoder.groups == {
        "x": [0, 6, 9], "wind": [1, 2, 7, 10], "sky": [3, 4, 5, 8, 11], "day": [12, 13], "price": [14],
        "weekday": [15, 16], "hour": [17, 18],
    }  # fmt: skip
    assert (encoder.num_features, encoder.num_known) == (19, 7)
    year = encode(fit(series, 3, ["none"], ["year"]), series)[:, -2:]
    phase = (np.array([3, 3, 4, 4]) + day) / 365.2425 * 2 * np.pi
    np.testing.assert_allclose(year, np.stack([np.sin(phase), np.cos(phase)], axis=1))


def test_no_mask_of_what_is_missing_after_training_alone():
    series = series_of(Column("x"), values=[1, 2, 3, NAN])
    np.testing.assert_array_equal(encode(fit(series, 3, ["none"]), series), [[1], [2], [3], [3]])


def test_a_target_in_degrees_is_a_number():
    series = series_of(Column("wind", "angle"), Column("gust", "angle"), values=[[10, 90], [350, 90], [30, 90]])
    encoder = fit(series, 3, ["none"])
    np.testing.assert_allclose(encode(encoder, series), [[10, 1, 0], [350, 1, 0], [30, 1, 0]], atol=1e-15)


def several():
    values = np.random.default_rng(1).normal(size=(24, 2)) * np.repeat([[1.0], [30.0]], 12, axis=0)
    values[[3, 15, 16], [0, 1, 0]] = NAN
    ids = np.repeat([0, 1], 12)
    return series_of(Column("x"), Column("y"), values=values, breaks=[12], ids=ids, id_names=("a", "b"))


def test_each_series_has_its_constants():
    series = several()
    train = np.arange(24) % 12 < 8
    encoder = fit_encoder(series, train)
    for number, rows in enumerate((slice(0, 8), slice(12, 20))):
        own = series.values[rows]
        np.testing.assert_allclose(encoder.center[number], np.nanmean(own, axis=0))
        np.testing.assert_allclose(encoder.scale[number], np.nanstd(own, axis=0))
        np.testing.assert_allclose(np.nanmean(scaled(encoder, series)[rows], axis=0), 0, atol=1e-14)


def test_json_and_back():
    times = pd.date_range("2021-01-01", periods=24, freq="h", tz="UTC")
    sky = Column("sky", "category", True, ("a", "b"))
    values = np.concatenate([several().values, (np.arange(24) % 2)[:, None]], axis=1)
    series = replace(several(), columns=(*several().columns, sky), values=values, times=times)
    encoder = fit_encoder(series, np.arange(24) % 12 < 8, ["robust"], ["hour"])
    again = Encoder.from_json(json.loads(json.dumps(encoder.to_json())))
    np.testing.assert_array_equal(encode(again, series), encode(encoder, series))
    assert (again.columns, again.groups, again.id_names) == (encoder.columns, encoder.groups, ("a", "b"))


X, Y = Column("x"), Column("y")
COUNT = np.arange(4.0)


@pytest.mark.parametrize(
    ("series", "scaling", "cycles", "message"),
    [
        (series_of(X, values=COUNT), ["log"], (), "scaling=log: take one of standard, robust, none"),
        (series_of(X, values=COUNT), ["none"], ["day"], "calendar=day: take one of hour, weekday, year"),
        (
            series_of(X, Y, values=np.arange(8.0)),
            ["none"] * 3,
            (),
            "scaling=none,none,none: 3 for 2 columns ('x', 'y'): give one, or each one's",
        ),
        (
            series_of(X, values=COUNT),
            ["none"],
            ["year"],
            "calendar=year: some.csv has no times: name their column, or leave it out",
        ),
        (
            series_of(X, values=[7, NAN, 7, 8]),
            ["standard"],
            (),
            "some.csv: column 'x' is 7 in all 2 training rows, there is nothing to learn: "
            "take another column or a longer series",
        ),
        (
            series_of(X, Y, values=[[1, NAN], [2, NAN], [3, NAN], [4, 1]], num_targets=2),
            ["standard"],
            (),
            "some.csv: column 'y' has no value in the 3 training rows, there is nothing to learn: "
            "take another column or a longer series",
        ),
        (
            series_of(X, values=[1, 2, 3, 5, 5, 5], ids=[0, 0, 0, 1, 1, 1], breaks=[3], id_names=("a", "b")),
            ["standard"],
            (),
            "some.csv: column 'x' of 'b' has no value in the 0 training rows, there is nothing to learn: "
            "take another column or a longer series",
        ),
    ],
)
def test_errors(series, scaling, cycles, message):
    with pytest.raises(DataError) as error:
        fit(series, 3, scaling, cycles)
    assert str(error.value) == message


class TestNothingLooksAhead:
    """Whatever happens from a row `o` on changes nothing of what is known before it."""

    COLUMNS = (X, Y, Column("wind", "angle"), Column("sky", "category", False, ("a", "b", "c")))
    KNOWN = (Column("price", known=True), Column("day", "category", True, ("a", "b")))

    def draw(self, rng, rows, holes):
        sky, day = (rng.integers(0, size, rows).astype(float) for size in (3, 2))
        values = np.stack([*rng.normal(size=(2, rows)), rng.uniform(0, 360, rows), sky, rng.normal(size=rows), day], 1)
        return np.where(rng.random(values.shape) < holes, NAN, values)

    @settings(deadline=None, max_examples=60)
    @given(
        st.integers(0, 10**6),
        st.integers(45, 80),
        st.sampled_from([0.0, 0.1, 0.6]),
        st.sampled_from([0.0, 0.3, 1.0]),
        st.floats(0, 1),
        st.sampled_from(["standard", "robust", "none"]),
    )
    def test_changes_after_an_origin(self, seed, rows, holes, more_holes, where, scaling):
        rng = np.random.default_rng(seed)
        times = pd.date_range("2021-01-01", periods=rows, freq="h", tz="UTC")
        columns = (*self.COLUMNS, *self.KNOWN)
        before, later = self.draw(rng, rows, holes), 1e3 * self.draw(rng, rows, more_holes)
        later[:, [3, 5]] %= 2
        first = rows * 7 // 10
        before[[0, 1, first, first + 1, -2, -1], :2] = rng.normal(size=(6, 2))  # in each split something is measured
        origin = first + int(where * (rows - 1 - first))
        touched = rng.random(before.shape) < 0.7
        touched[:origin] = False

        def cut(values, num_rows=rows):
            series = series_of(*columns, values=values[:num_rows], num_targets=2, times=times[:num_rows], breaks=[9])
            encoder = fit(series, first, [scaling], ["hour"])
            return encoder, encode(encoder, series)

        encoder, features = cut(before)
        other, found = cut(np.where(touched, later, before))
        np.testing.assert_array_equal(found[:origin], features[:origin])
        for name in ("center", "scale", "masked"):
            np.testing.assert_array_equal(getattr(other, name), getattr(encoder, name))
        np.testing.assert_array_equal(cut(before, origin)[1], features[:origin], "as if the series ended there")

        # Known columns change known features alone, which do not change by any other column.
        past = features.shape[1] - encoder.num_known
        for part, same in (([4, 5], slice(0, past)), ([0, 1, 2, 3], slice(past, None))):
            values = np.where(touched & np.isin(np.arange(6), part), later, before)
            np.testing.assert_array_equal(cut(values)[1][:, same], features[:, same])

    @pytest.mark.parametrize("protocol", ["clean", "lecture"])
    def test_changes_after_the_training_rows_of_a_task(self, protocol):
        rng = np.random.default_rng(0)
        before = self.draw(rng, 130, 0.2)
        columns = (*self.COLUMNS, *self.KNOWN)
        task = make_task(series_of(*columns, values=before, num_targets=2), protocol, lag=6, ahead=3)
        origin = np.flatnonzero(task.train_rows)[-1] + 1
        later = before.copy()
        later[origin:, :3] = np.where(rng.random((130 - origin, 3)) < 0.3, NAN, 1e6)
        later[-9:, :2] = 1.0
        other = make_task(series_of(*columns, values=later, num_targets=2), protocol, lag=6, ahead=3)
        np.testing.assert_array_equal(other.encoder.center, task.encoder.center)
        np.testing.assert_array_equal(other.features[:origin], task.features[:origin])
        if protocol == "clean":
            np.testing.assert_array_equal(other.train, task.train)
            np.testing.assert_array_equal(other.scaled_targets(other.train), task.scaled_targets(task.train))
