"""Forecasts from several origins: every table, and that nothing after an origin is known there."""

import json

import jax
import numpy as np
import pandas as pd
import pytest
from helpers.running import contents
from helpers.running import run as launch
from helpers.series import TABLE_FLAGS, hours, write

from experiments.common.flags import parse
from experiments.forecast import backtest, run
from experiments.forecast.__main__ import EXPERIMENT
from rnn_jax.data.series.forecasting import split_bounds

TABLE = hours(300)
CUTOFFS = 3
FLAGS = (
    *TABLE_FLAGS, "--target=load", "--inputs=wind", "--ahead=3", "--lag=8", "--mode=backtest", f"--cutoffs={CUTOFFS}",
    "--cell=rnn", "--epochs=1",
)  # fmt: skip
ROWS = {"rnn", "persistence", "drift", "linear_autoregression", "nlinear", "dlinear"}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write(TABLE, tmp_path_factory.mktemp("table") / "hours.csv")


@pytest.mark.parametrize("refit", [False, True])
def test_tables(file, tmp_path, refit):
    folder = tmp_path / "run"
    flags = [f"--workdir={folder}", f"--csv={file}", *FLAGS, f"--refit={refit}"]
    ran = launch(EXPERIMENT.main, *flags)
    assert ran.status == 0, ran.err
    found = json.loads((folder / "backtest.json").read_text())
    first, end = 240, 300
    assert found["windows"] == end - first - 3 + 1, "as many as the test split has, each once"
    assert list(found["origin"]) == ["1", "2", "3"]
    assert found["cutoffs"] == [str(pd.Timestamp(TABLE["when"][row]).date()) for row in (240, 260, 280)]
    assert (list(found["year"]), list(found["season"])) == (["2021"], ["March to May"])
    for group in ("origin", "year", "season"):
        for values in found[group].values():
            assert set(values) == ROWS
            assert all(np.isfinite([each["mae"], each["mse"]]).all() for each in values.values())
    for name, each in found["all"]["all"].items():
        assert each["mse"] == pytest.approx(found["year"]["2021"][name]["mse"])
        counts = np.array([20, 20, 18])
        of_origins = [found["origin"][str(number)][name]["mse"] for number in (1, 2, 3)]
        assert each["mse"] == pytest.approx(np.sum(counts * of_origins) / counts.sum())
        assert len(found["steps"][name]["mae"]) == 3
    assert [each["step"] for each in found["diebold_mariano"]] == [1, 2, 3]
    kept = sorted(path.name for path in (folder / "backtest").iterdir())
    assert kept == (["000", "001", "002"] if refit else ["once"])
    assert (folder / "plots" / "error_by_origin.png").read_bytes().startswith(b"\x89PNG")
    assert f"trained {'anew at each' if refit else 'once, before the first'}:\n" in ran.out
    for group in ("origin", "year", "season"):
        assert f"\nmae by {group}:\n" in ran.out
    assert "mae t+3" in ran.out
    before = contents(folder)
    again = launch(EXPERIMENT.main, *flags)
    assert again.status == 0, again.err
    table = ran.out[ran.out.index("\n3 origins, 58 forecasts, ") :]
    assert again.out.endswith(table)
    assert contents(folder) == before
    if refit:
        return
    changed = write(TABLE.assign(load=-TABLE["load"]), tmp_path / "hours.csv")
    kept = file.read_bytes()
    try:
        file.write_bytes(changed.read_bytes())
        message = launch(EXPERIMENT.main, *flags).one_error()
    finally:
        file.write_bytes(kept)
    assert message.startswith(f"--workdir={folder} was made with other data")


def test_a_finished_one_is_shown_by_the_first_of_several_processes(tmp_path, monkeypatch):
    """The others, in whose folders there is nothing, know it of the first, and do not begin to train."""
    monkeypatch.setattr(backtest, "by_first", lambda function: True)
    monkeypatch.setattr(backtest, "is_first", lambda: False)
    monkeypatch.setattr(run, "read", lambda config: pytest.fail("it begins"))
    ran = launch(EXPERIMENT.main, f"--workdir={tmp_path / 'run'}", "--csv=none.csv", *FLAGS)
    assert (ran.status, ran.err) == (0, "")


def test_periods_are_those_of_the_test_split():
    edges = backtest.periods(np.array([[0, 70, 80, 100], [100, 170, 180, 207]]), 3)
    assert edges.tolist() == [[80, 86, 93, 100], [180, 189, 198, 207]]


@pytest.fixture
def trained_at(file, tmp_path):
    """A function that trains at the second origin, on a table that is perhaps changed: origin, task, trained."""

    def train(name, change):
        table = TABLE.copy()
        change(table)
        flags = [*FLAGS, "--refit", f"--csv={write(table, tmp_path / f'{name}.csv')}"]
        config, windows = run.read(parse(EXPERIMENT.config, flags))
        edges = backtest.periods(split_bounds(windows.series), CUTOFFS)
        of = backtest.until(config, windows, edges[:, 1], edges[:, 2])
        return int(edges[0, 1]), of, run.train("forecast", config, of, tmp_path / name)

    return train


def test_nothing_after_an_origin_is_known_there(trained_at):
    """Values from the origin on are changed: the same network, the same baselines, the same first forecasts."""

    def change(table):
        table.loc[260:, ["load", "wind"]] = table.loc[260:, ["load", "wind"]] * -50 + 7

    (origin, of, trained), (_, of_changed, changed) = trained_at("a", lambda table: None), trained_at("b", change)
    assert origin == 260
    assert (of.train.max() + 8 + 3, of.validation.max() + 8 + 3, of.test.min() + 8) == (228, 260, 260)
    assert trained.fitted.record["steps"] > 0
    for a, b in zip(*(jax.tree.leaves(each.fitted.params) for each in (trained, changed)), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    for name, line in trained.lines.items():
        for a, b in zip(line, changed.lines[name], strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)
    start = of.test[:1]
    assert start + 8 == origin, "of which nothing that is read was changed"
    both = [backtest.forecasts(each, start) for each in (trained, changed)]
    assert set(both[0]) == ROWS
    for name, forecast in both[0].items():
        np.testing.assert_array_equal(forecast, both[1][name], err_msg=name)
    assert np.abs(of.targets(start) - of_changed.targets(start)).min() > 100


def test_what_lies_before_an_origin_is_known_there(trained_at):
    """The test above could not fail if nothing were learnt from the test split's earlier periods."""

    def change(table):
        table.loc[245:255, "load"] += 5

    (_, _, trained), (_, _, changed) = trained_at("a", lambda table: None), trained_at("b", change)
    assert any(
        (trained.lines[name].bias != changed.lines[name].bias).any()
        or trained.lines[name].error != changed.lines[name].error
        for name in trained.lines
    )


@pytest.mark.parametrize("arguments", [["--cutoffs=1"], ["--cutoffs=1001"]])
def test_cutoffs(tmp_path, arguments):
    assert launch(EXPERIMENT.main, "--mode=backtest", *arguments).one_error().startswith(arguments[0])


@pytest.mark.parametrize("refit", [False, True])
def test_periods_without_a_window_are_left_out(tmp_path, refit):
    """Of 12 test rows the last 4 begin no window of 5 steps."""
    file = write(hours(60), tmp_path / "hours.csv")
    flags = ["--target=load", "--ahead=5", "--lag=4", "--cutoffs=3", "--epochs=1", f"--refit={refit}"]
    ran = launch(
        EXPERIMENT.main, "--mode=backtest", f"--workdir={tmp_path / 'run'}", f"--csv={file}", *TABLE_FLAGS[:3],
        "--notrees", *flags,
    )  # fmt: skip
    assert ran.status == 0, ran.err
    found = json.loads((tmp_path / "run" / "backtest.json").read_text())
    assert (list(found["origin"]), found["windows"]) == (["1", "2"], 8)
