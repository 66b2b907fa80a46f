"""Linear forecasts: exact where the series is, equal to a plain least-squares fit, and the same in the network."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax.data.series import lines
from rnn_jax.data.series.forecasting import make_task
from rnn_jax.data.series.series import Column, Series
from rnn_jax.data.series.windows import gather
from rnn_jax.models.line import LinePath

FITS = {"autoregression": lines.autoregression, "nlinear": lines.nlinear, "dlinear": lines.dlinear}


def task_of(values, lag, ahead, columns=None, num_targets=1, breaks=()):
    values = np.asarray(values, np.float64).reshape(len(values), -1)
    columns = columns or tuple(Column(f"x{k}") for k in range(values.shape[1]))
    flags = np.isin(np.arange(len(values)), breaks)
    return make_task(Series("some", values, columns, num_targets, None, flags), "clean", lag, ahead)


def noise(num_rows, columns=1, holes=0.0, seed=0):
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.normal(size=(num_rows, columns)), axis=0) * 0.3 + rng.normal(size=(num_rows, columns))
    return np.where(rng.random(values.shape) < holes, np.nan, values)


def second_order(num_rows):
    """x_t = 1.9 x_{t-1} - 0.98 x_{t-2} + 0.1, which dies away too slowly to be still in the test part."""
    x = [1.0, 0.3]
    for _ in range(num_rows - 2):
        x.append(1.9 * x[-1] - 0.98 * x[-2] + 0.1)
    return np.array(x)


def lstsq(x, y):
    solution = np.linalg.lstsq(np.hstack([x, np.ones((len(x), 1))]), y, rcond=None)[0]
    return lambda x: np.hstack([x, np.ones((len(x), 1))]) @ solution


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
@pytest.mark.parametrize("values", [3 + np.sin(np.arange(300) / 5), second_order(250)], ids=["sine", "second order"])
def test_exact_without_noise(fit, values):
    task = task_of(values, lag=12, ahead=4)
    line = fit(task)
    np.testing.assert_allclose(lines.predict(task, line, task.test), task.targets(task.test), atol=1e-6)
    assert line.error < 1e-12


@pytest.mark.parametrize("chunk", [300, 2**24])
@pytest.mark.parametrize("holes", [0.0, 0.2])
def test_autoregression_is_the_least_squares_fit(monkeypatch, chunk, holes):
    """Missing targets have no part: here their rows are left out by hand, for each step and target."""
    monkeypatch.setattr(lines, "CHUNK", chunk)
    monkeypatch.setattr(lines, "RIDGES", (1e-13,))
    monkeypatch.setattr(lines, "RECENT", 5)  # all that there are: one candidate
    columns = (Column("a"), Column("b"), Column("c"), Column("k", known=True))
    task = task_of(noise(240, 4, holes), 5, 3, columns, num_targets=2, breaks=[33])
    line = lines.autoregression(task)

    def design(starts):
        parts = gather(task.features[:, :-1], starts, 5), gather(task.features[:, -1:], starts + 5, 3)
        return np.hstack([part.reshape(len(starts), -1) for part in parts])

    assert task.features.shape[1] == (4 if holes == 0 else 4 + 6)
    found = lines.predict_scaled(task, line, task.test)
    wanted = task.scaled_targets(task.train)
    for step in range(3):
        for target in range(2):
            rows = ~np.isnan(wanted[:, step, target])
            assert rows.all() == (holes == 0)
            expected = lstsq(design(task.train[rows]), wanted[rows, step, target])(design(task.test))
            np.testing.assert_allclose(found[:, step, target], expected, atol=1e-6)
    errors = lines.predict_scaled(task, line, task.validation) - task.scaled_targets(task.validation)
    np.testing.assert_allclose(line.error, np.nanmean(errors**2), rtol=1e-9)


@pytest.mark.parametrize("name", ["nlinear", "dlinear"])
@pytest.mark.parametrize("holes", [0.0, 0.2])
def test_shared_lines_are_the_least_squares_fit(monkeypatch, name, holes):
    """Of rows of all targets, changes from the last value; the two sums of DLinear span what one does."""
    monkeypatch.setattr(lines, "RIDGES", (1e-12,))
    task = task_of(noise(260, 2, holes, seed=1), 6, 3, num_targets=2)
    line = FITS[name](task)

    def parts(starts):
        last = task.features[starts + 5, None, :2]
        flat = [gather(task.features[:, :2], starts, 6) - last, task.scaled_targets(starts) - last]
        return *(np.swapaxes(part, 1, 2).reshape(2 * len(starts), -1) for part in flat), last

    x, y, _ = parts(task.train)
    test, _, last = parts(task.test)
    for step in range(3):
        rows = ~np.isnan(y[:, step])
        expected = lstsq(x[rows, :-1], y[rows, step])(test[:, :-1]).reshape(-1, 2) + last[:, 0]
        found = lines.predict_scaled(task, line, task.test)[:, step]
        np.testing.assert_allclose(found, expected, atol=1e-6 if name == "nlinear" else 1e-4)


def test_trend_of_dlinear():
    """Its two parts, by a moving average over a padded window; the line that is fitted adds up to one."""
    lag, window = 40, np.random.default_rng(0).normal(size=40)
    padded = np.concatenate([np.full(12, window[0]), window, np.full(12, window[-1])])
    average = np.convolve(padded, np.full(25, 1 / 25), mode="valid")
    seen = []

    def shared(task, of, parts):
        seen.append(of(window[None]))

    original, lines._shared = lines._shared, shared
    try:
        lines.dlinear(task_of(noise(200), lag, 2))
    finally:
        lines._shared = original
    np.testing.assert_allclose(seen[0][0], np.concatenate([average, window - average]), atol=1e-12)


def test_the_last_value_comes_back():
    """A window that is shifted has a forecast that is shifted."""
    task = task_of(noise(200), 9, 2)
    for fit in (lines.nlinear, lines.dlinear):
        np.testing.assert_allclose(fit(task).past.sum(axis=0), 1.0, rtol=1e-12)


def test_what_is_known_of_the_future_is_used():
    rng = np.random.default_rng(0)
    known = rng.normal(size=400)
    values = np.stack([2 * known + 0.1 * rng.normal(size=400), known], axis=1)
    errors = []
    for column in (Column("k", known=True), Column("k")):
        task = task_of(values, 3, 2, (Column("x"), column))
        line = lines.autoregression(task)
        errors.append(np.mean((lines.predict(task, line, task.test) - task.targets(task.test)) ** 2))
    assert errors[0] < 0.013
    assert errors[1] > 3


@pytest.mark.parametrize("period", [1, 4])
def test_repeat(period):
    task = task_of(noise(150, 2), 6, 7, num_targets=2)
    line = lines.repeat(task, period)
    rows = task.test[:, None] + 6 - period + np.arange(7) % period
    np.testing.assert_allclose(lines.predict(task, line, task.test), task.series.values[rows], rtol=1e-12)
    rows = task.validation[:, None] + 6 - period + np.arange(7) % period
    np.testing.assert_allclose(line.error, np.mean((task.scaled[rows] - task.scaled_targets(task.validation)) ** 2))


def test_many_features_take_fewer_lags(monkeypatch):
    """Of the target so many that there are not too many features; of other inputs the most recent rows in any case."""
    monkeypatch.setattr(lines, "MOST_FEATURES", 5)
    task = task_of(noise(200, 2), 8, 2)
    line = lines.autoregression(task)
    assert line.past.shape == (8, 2, 2, 1)
    read = np.zeros((8, 2), bool)
    read[3:, 0] = read[6:, 1] = True
    np.testing.assert_array_equal((line.past != 0).all(axis=(2, 3)), read)


def test_all_lags_of_other_inputs_where_they_help():
    """The target follows what another column was five rows before, which the most recent rows do not tell."""
    values = noise(400, 2)
    values[5:, 0] = values[:-5, 1] + 0.01 * values[5:, 0]
    assert lines.autoregression(task_of(values, 8, 1)).error < 1e-3


@pytest.mark.parametrize("fit", FITS.values())
def test_few_rows_without_a_warning(fit, recwarn):
    assert np.isfinite(fit(task_of(noise(5), 1, 1)).error)
    assert not recwarn.list


def test_more_inputs_than_windows():
    task = task_of(noise(150, 3), 20, 1)
    few = replace(task, train=task.train[:10])
    found = lines.predict(few, lines.autoregression(few), few.test)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_the_ridge_is_the_best_on_validation(monkeypatch, fit):
    task = task_of(np.random.default_rng(0).normal(size=(120, 6)), 8, 2)
    best, ridges = fit(task).error, lines.RIDGES
    errors = []
    for ridge in ridges:
        monkeypatch.setattr(lines, "RIDGES", (ridge,))
        errors.append(fit(task).error)
    assert best == min(errors)
    assert fit is not lines.autoregression or best < errors[0], "of many inputs without any meaning a larger one"


def test_the_fit_reads_no_later_rows():
    values = noise(300, 2, 0.1)
    task = task_of(values, 5, 2)
    later = values.copy()
    later[task.test[0] + 5 :] = 1e3
    other = task_of(later, 5, 2)
    for fit in FITS.values():
        for one, two in zip(fit(task), fit(other), strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("fit", [*FITS.values(), lambda task: lines.repeat(task, 2)], ids=[*FITS, "repeat"])
def test_the_path_of_the_network_is_the_same(fit):
    columns = (Column("a"), Column("b"), Column("k", "category", True, ("u", "v", "w")), Column("c"))
    values = noise(200, 4, 0.1)
    values[:, 2] = np.arange(200) % 3
    task = task_of(values, 6, 4, columns, num_targets=2)
    line = fit(task)
    num_known = task.encoder.num_known
    assert num_known == 3
    num_past = task.encoder.num_features - num_known
    path = LinePath("shared" if line.shared else "full", 6, 4, num_past, 2, num_known, jnp.float32)
    for name in ("past", "bias") if line.shared else ("past", "future", "bias"):
        param = getattr(path, name)
        assert param[...].shape == getattr(line, name).shape
        param[...] = jnp.asarray(getattr(line, name), jnp.float32)
    past, future = gather(task.features, task.test, 6), gather(task.features, task.test + 6, 4)[..., num_past:]
    found = path(jnp.asarray(past, jnp.float32), jnp.asarray(future, jnp.float32))
    np.testing.assert_allclose(found, lines.predict_scaled(task, line, task.test), atol=1e-5)
