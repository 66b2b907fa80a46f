"""Every shape of a forecast end to end: decoders, segments, separate targets, outputs; files of every kind."""

import numpy as np
import pandas as pd
import pytest
from helpers.running import refused, results_of
from helpers.running import run as launch
from helpers.series import TABLE_FLAGS, hours, write
from threadpoolctl import threadpool_limits

from experiments.common.flags import parse
from experiments.forecast import run
from experiments.forecast.__main__ import EXPERIMENT
from rnn_jax.training.log import read_log

TARGETS = ("--target=load,heat", "--inputs=wind", "--known_future=price", "--lag=12")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write(hours(400), tmp_path_factory.mktemp("table") / "hours.csv")


def finite(results, ahead, steps):
    """Every measure of the network is a number, at each step and of each target."""
    assert results["report_steps"] == steps
    for measures, count in (("metrics_by_step", len(steps)), ("metrics_by_target", 2)):
        for name, values in results[measures].items():
            assert len(values) == count, name
            assert np.isfinite([each["mean"] for each in values]).all(), name
    assert {"mse", "mae", "skill"} <= set(results["metrics_by_step"])
    assert np.isfinite([each["mean"] for each in results["metrics"].values()]).all()
    assert np.isfinite(results["intervals"]["coverage"]["mean"])
    assert np.shape(results["share_of_line"]) == (ahead,)


@pytest.mark.parametrize(
    ("ahead", "steps", "arguments"),
    [
        (4, [1, 2, 4], ["--decoder=recursive", "--teacher_forcing", "--normalize=last", "--output=gaussian"]),
        (3, [1, 2, 3], ["--decoder=sequence", "--teacher_forcing", "--normalize=none", "--output=quantiles"]),
        (8, [1, 2, 4, 8], ["--decoder=parallel", "--segment=4", "--separate", "--normalize=mean", "--noblend"]),
        (2, [1, 2], ["--segment=3", "--separate", "--loss=huber", "--bidirectional", "--gradient_flow_every=5"]),
    ],
    ids=["recursive", "sequence", "parallel", "direct"],
)
def test_shapes(file, tmp_path, ahead, steps, arguments):
    folder = tmp_path / "run"
    flags = [f"--workdir={folder}", f"--csv={file}", f"--ahead={ahead}", *TABLE_FLAGS, *TARGETS, *arguments]
    ran = launch(EXPERIMENT.main, *flags)
    assert ran.status == 0, ran.err
    results = results_of(folder)
    blended = "--noblend" not in arguments
    finite({**results, "share_of_line": results["share_of_line"] if blended else [0.0] * ahead}, ahead, steps)
    assert (results["share_of_line"] is not None) == blended
    assert results["targets"] == ["load", "heat"]
    assert set(results["importance"]) == {"load", "heat", "wind", "price", "hour"}
    records = read_log(folder / "metrics.jsonl")
    losses = [record["validation_loss"] for record in records if "validation_loss" in record]
    assert len(losses) == 2
    assert np.isfinite(losses).all()
    assert {path.stem for path in (folder / "plots").iterdir()} >= {"error_by_step", "fan", "importance", "forecast"}
    if "--gradient_flow_every=5" in arguments:
        looked = [record["gradient_flow"] for record in records if "gradient_flow" in record]
        assert len(looked[0]["layer 0 forward"]) == 12 // 3, "a step for each segment"


def test_a_short_monthly_series(tmp_path):
    """Twelve years of months, nothing said of them: all flags follow from the series."""
    t = np.arange(144)
    noise = np.random.default_rng(0).standard_normal(144)
    values = 100 * np.exp(0.01 * t + 0.2 * np.sin(2 * np.pi * t / 12) + 0.03 * noise)
    months = pd.date_range("1949-01-01", periods=144, freq="MS").strftime("%Y-%m-%d")
    file = write(pd.DataFrame({"month": months, "passengers": values}), tmp_path / "months.csv")
    flags = ["--dataset=csv", f"--csv={file}", "--time=month", "--target=passengers", "--hidden_size=4", "--ahead=3"]
    with threadpool_limits(1):  # of threads that wait for each other small trees would take ten times as long
        ran = launch(EXPERIMENT.main, f"--workdir={tmp_path / 'run'}", *flags, "--epochs=3")
    assert ran.status == 0, ran.err
    results = results_of(tmp_path / "run")
    assert "season 12, calendar year" in ran.out
    assert np.isfinite(results["metrics"]["mse"]["mean"])
    assert set(results["baselines"]) >= {"persistence", "seasonal_naive", "linear_autoregression", "trees"}
    assert results["steps"] > 3


class TestFiles:
    def windows(self, file, *arguments):
        config = parse(EXPERIMENT.config, [*TABLE_FLAGS, *TARGETS, f"--csv={file}", *arguments])
        return run.read(config)[1]

    def test_parquet_is_csv(self, file):
        table = pd.read_csv(file)
        table["when"] = pd.to_datetime(table["when"])
        table.to_parquet(file.with_suffix(".parquet"))
        both = [self.windows(each) for each in (file, file.with_suffix(".parquet"))]
        assert both[0].fingerprint() == both[1].fingerprint()
        assert both[0].encoder.columns == both[1].encoder.columns

    def test_the_order_of_targets_is_that_of_the_flag(self, file):
        windows = self.windows(file, "--target=heat,load")
        assert windows.target_names == ("heat", "load")
        values = pd.read_csv(file)[["heat", "load"]].to_numpy()
        np.testing.assert_array_equal(windows.targets(windows.test)[:, 0], values[windows.test + 12])

    def test_all_inputs(self, file):
        windows = self.windows(file, "--target=load", "--inputs=all")
        assert [column.name for column in windows.encoder.columns] == ["load", "heat", "wind", "price"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--decoder=recursive", "--segment=2"], ["--segment=2", "recursive"]),
        (["--decoder=parallel", "--segment=2", "--ahead=3"], ["--segment=2", "--ahead=3"]),
        (["--decoder=sequence", "--bidirectional"], ["--bidirectional", "direct"]),
        (["--teacher_forcing"], ["--teacher_forcing", "--decoder=direct"]),
        (["--origins=2", "--normalize=mean"], ["--origins=2", "--normalize=none"]),
        (["--loss=mae", "--output=gaussian"], ["--loss=mae", "--output=gaussian"]),
        (["--report_steps=1,9", "--ahead=8"], ["--report_steps=9", "--ahead=8"]),
        (["--calendar=hour,none"], ["--calendar=hour,none"]),
        (["--calendar=minute"], ["--calendar=minute", "hour,weekday,year"]),
        (["--refit"], ["--refit", "--mode=backtest"]),
        (["--lag=9", "--segment=2"], ["--segment=2", "--lag=9"]),
    ],
)
def test_flags_that_contradict_each_other(tmp_path, arguments, parts):
    message = refused(EXPERIMENT.main, tmp_path, *arguments)
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--origins=13", "--lag=12"], "--origins=13: a window has --lag=12 rows"),
        (
            ["--scaling=standard,robust"],
            "--scaling=standard,robust: 2 for 3 columns ('load', 'heat', 'price'): give one, or each one's",
        ),
        (["--target=load,price"], "hours.csv: column 'price' is named twice: name it once"),
        (["--inputs=rain"], "hours.csv has no column 'rain': take one of 'when', 'load', 'heat', 'wind', 'price'"),
        (["--lag=300"], "hours.csv: the train split of protocol 'clean' has no window"),
    ],
)
def test_flags_that_do_not_fit_the_series(file, tmp_path, arguments, message):
    flags = [*TABLE_FLAGS, "--target=load,heat", "--known_future=price", f"--csv={file}", *arguments]
    assert launch(EXPERIMENT.main, f"--workdir={tmp_path / 'run'}", *flags).one_error().startswith(message)


@pytest.mark.parametrize(("rows", "status"), [(1, 2), (5, 0), (10, 0)])
def test_few_rows(tmp_path, rows, status):
    file = write(hours(rows), tmp_path / "few.csv")
    flags = ["--dataset=csv", "--time=when", "--target=load", "--hidden_size=4", "--epochs=1", "--notrees"]
    ran = launch(EXPERIMENT.main, f"--workdir={tmp_path / 'run'}", f"--csv={file}", *flags)
    assert ran.status == status, ran.err
    if status:
        assert ran.one_error().startswith("1 rows are too few for a window of lag 1")
