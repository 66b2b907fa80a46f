"""The kinds of made-up series: as said, repeatable, and their best forecasts are the best."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.series_kinds import KINDS, write_csv

ROWS = 3000
NOTHING_MORE = ("random_walk",)
"""Where persistence is the best."""


def _error(forecast, values):
    return np.nanmean((forecast - values) ** 2)


def test_at_least_ten():
    assert len(KINDS) >= 10
    assert all(make.__doc__ for make in KINDS.values())


@pytest.mark.parametrize("kind", KINDS)
def test_rows(kind):
    values, step, best = KINDS[kind](ROWS, 0)
    assert values.shape == (ROWS,)
    assert values.dtype == np.float64
    missing = np.isnan(values)
    assert np.isfinite(values[~missing]).all()
    assert missing.mean() == (pytest.approx(0.05, abs=0.02) if kind == "with_holes" else 0)
    assert values[~missing].std() > 0
    assert len(pd.date_range("2000-01-01", periods=3, freq=step)) == 3
    again, other = KINDS[kind](ROWS, 0), KINDS[kind](ROWS, 1)
    np.testing.assert_array_equal(values, again.values)
    assert not np.array_equal(values, other.values)
    assert best is not None
    np.testing.assert_array_equal(best, again.best)
    assert KINDS[kind](1, 0).values.shape == (1,)


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_is_better_than_persistence_and_than_what_is_near_it(kind):
    values, _, best = KINDS[kind](ROWS, 0)
    persistence = np.append(np.nan, values[:-1])
    limit, naive = _error(best[1:], values[1:]), _error(persistence[1:], values[1:])
    if kind in NOTHING_MORE:
        assert limit == naive
    else:
        assert limit < 0.95 * naive
    # An unbiased forecast: what is left has no mean beyond chance, and does not go with the forecast.
    left = (values - best)[~np.isnan(values)]
    assert abs(left.mean()) < 4 * left.std() / np.sqrt(len(left))
    forecast = best[~np.isnan(values)]
    if forecast.std() > 0:
        assert abs(np.corrcoef(left, forecast)[0, 1]) < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_file(kind, tmp_path):
    path = tmp_path / "series.csv"
    write_csv(kind, 400, 2, path)
    frame = pd.read_csv(path, parse_dates=["time"])
    values, step, _ = KINDS[kind](400, 2)
    assert list(frame.columns) == ["time", "value"]
    np.testing.assert_allclose(frame["value"], values, rtol=1e-14, atol=0)
    assert list(frame["time"]) == list(pd.date_range("2000-01-01", periods=400, freq=step))


def test_no_such_kind(tmp_path):
    with pytest.raises(KeyError, match="unheard_of"):
        write_csv("unheard_of", 5, 0, tmp_path / "series.csv")
