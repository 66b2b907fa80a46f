"""What comes after the rows of a file, by a finished run: the model's own forecast, at the right times, in units."""

import json
import shutil
from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest
from helpers.finished import finished
from helpers.running import Ran, as_in_a_new_process, contents, once, sign
from helpers.running import run as launch
from helpers.series import TABLE_FLAGS, hours, write

from experiments.common.flags import parse
from experiments.common.restore import restore
from experiments.forecast import run, task
from experiments.forecast.__main__ import EXPERIMENT
from experiments.forecast.predict import as_table
from rnn_jax import models
from rnn_jax.data.series.features import fit_encoder
from rnn_jax.data.series.series import Column, Series

TABLE = hours(400)
AHEAD, LAG = 3, 12
FLAGS = (*TABLE_FLAGS, "--target=load", "--inputs=wind", "--known_future=price", f"--ahead={AHEAD}", f"--lag={LAG}")


def predict(folder, file, *arguments):
    return launch(EXPERIMENT.main, "--mode=predict", f"--workdir={folder}", f"--csv={file}", *arguments)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a run on `TABLE`, and its flags."""
    flags = [*FLAGS, f"--csv={write(TABLE, tmp_path_factory.mktemp('table') / 'hours.csv')}"]

    def make(folder) -> Ran:
        return launch(EXPERIMENT.main, f"--workdir={folder}", *flags)

    folder, ran = once(tmp_path_factory, "to_predict", make)
    assert ran.status == 0, ran.err
    return folder, flags


def cut(file, rows, future=AHEAD, **columns):
    """The first rows of `TABLE`, and of some more nothing but the time and the price, or what `columns` say."""
    table = TABLE.iloc[: rows + future].copy()
    table.loc[table.index[rows:], ["load", "heat", "wind"]] = np.nan
    return write(table.assign(**columns), file)


@pytest.fixture(scope="module")
def whole(made):
    """Of all test windows of the run, by the model that is restored: starts and forecasts in units."""
    folder, flags = made
    with as_in_a_new_process():
        config, windows = run.read(parse(EXPERIMENT.config, flags))
        restored = restore(folder, "workdir")
        apply, _ = models.pure(restored.model)
        data = jax.device_put(task.device_data(config, windows))
        outputs = task.predict(config, restored.results["model"], apply, restored.params, data, windows.test)
    return windows, windows.in_units(np.asarray(outputs)[..., 0], windows.test)


class TestForecast:
    @pytest.mark.parametrize("place", [0, 30])
    def test_is_that_of_the_same_window_of_the_training_series(self, made, whole, tmp_path, place):
        windows, expected = whole
        before = contents(made[0])
        file = cut(tmp_path / "now.csv", int(windows.test[place]) + LAG)
        ran = predict(made[0], file)
        assert ran.status == 0, ran.err
        found = pd.read_csv(made[0] / "now.forecast.csv")
        np.testing.assert_allclose(found["load"], expected[place, :, 0], rtol=1e-4)
        after = contents(made[0])
        assert {name: after[name] for name in before if "now.forecast" not in name} == {
            name: each for name, each in before.items() if "now.forecast" not in name
        }

    def test_the_file_and_the_picture(self, made, tmp_path):
        folder = made[0]
        ran = predict(folder, cut(tmp_path / "later.csv", 380))
        assert ran.status == 0, ran.err
        found = pd.read_csv(folder / "later.forecast.csv")
        assert list(found) == ["time", "load", "load lower", "load upper"]
        expected = pd.date_range(TABLE["when"][379], periods=AHEAD + 1, freq="h", tz="UTC")[1:]
        assert pd.to_datetime(found["time"]).tolist() == expected.tolist()
        assert (found["load lower"] < found["load"]).all()
        assert (found["load"] < found["load upper"]).all()
        radius = np.asarray(restore(folder, "workdir").results["intervals"]["radius"])[:, 0]
        width = (found["load upper"] - found["load lower"]).to_numpy()
        np.testing.assert_allclose(width / width[0], radius / radius[0], rtol=1e-6)
        assert (folder / "later.forecast.png").read_bytes().startswith(b"\x89PNG")
        assert f"3 rows with intervals of 90%: {folder / 'later.forecast'}.csv" in ran.out

    def test_reads_the_price_that_is_to_come(self, made, tmp_path):
        found = []
        for name, price in (("a", 0.0), ("b", 3.0)):
            prices = TABLE["price"].iloc[: 350 + AHEAD].where(np.arange(350 + AHEAD) < 350, price)
            assert predict(made[0], cut(tmp_path / f"{name}.csv", 350, price=prices)).status == 0
            found.append(pd.read_csv(made[0] / f"{name}.forecast.csv")["load"])
        assert (found[0] != found[1]).all()

    def test_missing_values_and_more_columns_than_the_run_reads(self, made, tmp_path):
        wind = TABLE["wind"].iloc[: 300 + AHEAD].where(np.arange(300 + AHEAD) % 5 > 0)
        ran = predict(made[0], cut(tmp_path / "holes.csv", 300, wind=wind, note="text"))
        assert ran.status == 0, ran.err
        assert np.isfinite(pd.read_csv(made[0] / "holes.forecast.csv")["load"]).all()


class TestRefusals:
    def test_a_column_that_is_missing(self, made, tmp_path):
        file = write(TABLE.drop(columns="wind"), tmp_path / "less.csv")
        assert "less.csv has no column 'wind'" in predict(made[0], file).one_error()

    def test_too_few_rows(self, made, tmp_path):
        message = predict(made[0], cut(tmp_path / "few.csv", LAG - 1)).one_error()
        assert message.startswith(f"few.csv: {LAG - 1} rows without a break before the rows to forecast")

    @pytest.mark.parametrize("future", [0, 2])
    def test_a_known_future_that_is_not_there(self, made, tmp_path, future):
        message = predict(made[0], cut(tmp_path / "short.csv", 100, future)).one_error()
        assert message.startswith("short.csv: column 'price' is known of the future, and has no value in each of the 3")

    def test_ids_of_a_run_on_one_series(self, made, tmp_path):
        file = write(TABLE.assign(site="north"), tmp_path / "sites.csv")
        message = predict(made[0], file, "--series_id=site").one_error()
        assert message == "--series_id=site: the run was trained on a single series; leave it out"

    def test_a_folder_without_a_run(self, tmp_path):
        message = predict(tmp_path / "nowhere", write(TABLE, tmp_path / "a.csv")).one_error()
        assert (
            message
            == f"--workdir={tmp_path / 'nowhere'}: no finished run with a model there; train one to its end first"
        )
        assert not (tmp_path / "nowhere").exists()

    def test_a_run_of_another_experiment(self, tmp_path_factory, tmp_path):
        folder = finished(tmp_path_factory, "memory").folder
        message = predict(folder, write(TABLE, tmp_path / "a.csv")).one_error()
        assert message == f"--workdir={folder}: a run of memory, which forecasts nothing"

    def test_a_file_that_is_not_there(self, made, tmp_path):
        assert predict(made[0], tmp_path / "a.csv").one_error() == f"no file {tmp_path / 'a.csv'}: check the path"

    @pytest.mark.parametrize("flag", ["--ahead=3", "--dataset=csv", "--target=load"])
    def test_flags_of_the_run(self, made, tmp_path, flag):
        message = predict(made[0], tmp_path / "a.csv", flag).one_error()
        name = flag.split("=")[0]
        assert message == f"{name} goes with --mode=train: --mode=predict has the flags of the run"

    @pytest.mark.parametrize("arguments", [["--workdir=a"], ["--csv=a.csv"], []])
    def test_no_folder_or_no_file(self, arguments):
        message = launch(EXPERIMENT.main, "--mode=predict", *arguments).one_error()
        assert message == "--mode=predict needs --workdir=FOLDER of a finished run and --csv=FILE to go on from"

    def test_an_encoder_that_is_damaged(self, made, tmp_path):
        folder = tmp_path / "run"
        shutil.copytree(made[0], folder, ignore=shutil.ignore_patterns("plots", "events", "checkpoints"))
        found = json.loads((folder / "encoder.json").read_text())
        for content, reason in (("{}", "cannot be read"), ({**found, "masked": [True] * 3}, "is of another run")):
            (folder / "encoder.json").write_text(content if isinstance(content, str) else json.dumps(content))
            sign(folder)
            message = predict(folder, write(TABLE, tmp_path / "a.csv")).one_error()
            assert message.startswith(f"--workdir={folder}: encoder.json there {reason}")


SITES = (*TABLE_FLAGS, "--series_id=site", "--target=load,heat", "--ahead=2", "--lag=8", "--output=quantiles")


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    south = hours(300, seed=1)
    south[["load", "heat"]] *= 100
    table = pd.concat([hours(300).assign(site="north"), south.assign(site="south")])
    file = write(table, tmp_path_factory.mktemp("sites") / "sites.csv")

    def make(folder) -> Ran:
        return launch(EXPERIMENT.main, f"--workdir={folder}", f"--csv={file}", *SITES)

    folder, ran = once(tmp_path_factory, "sites_to_predict", make)
    assert ran.status == 0, ran.err
    return folder, table


class TestSeveralSeries:
    """Two sites in one file, the second a hundred times as large; one model."""

    def test_are_measured(self, sites):
        results = restore(sites[0], "workdir").results
        assert np.isfinite([each["mean"] for each in results["metrics_by_step"]["mse"]]).all()
        assert results["intervals"]["kind"] == "quantiles"

    def test_each_is_forecast(self, sites, tmp_path):
        folder, table = sites
        ran = predict(folder, write(table.groupby("site").head(250), tmp_path / "now.csv"))
        assert ran.status == 0, ran.err
        found = pd.read_csv(folder / "now.forecast.csv")
        assert found["series"].tolist() == ["north"] * 2 + ["south"] * 2
        assert list(found)[2:] == [f"{name}{end}" for name in ("load", "heat") for end in ("", " lower", " upper")]
        assert (found["load lower"] <= found["load"]).all()
        assert (found["load"] <= found["load upper"]).all()
        load = found["load"].to_numpy()
        assert (load[2:] > 1000).all()
        assert (load[:2] < 40).all()

    def test_one_that_stands_alone_is_forecast_as_before(self, sites, tmp_path):
        folder, table = sites
        both = table.groupby("site").head(250)
        expected = pd.read_csv(write(both, tmp_path / "both.csv"))
        assert predict(folder, tmp_path / "both.csv").status == 0
        assert predict(folder, write(expected[expected["site"] == "south"], tmp_path / "south.csv")).status == 0
        found = [pd.read_csv(folder / f"{name}.forecast.csv") for name in ("both", "south")]
        pd.testing.assert_frame_equal(found[0].iloc[2:].reset_index(drop=True), found[1])

    def test_one_that_was_not_trained_on(self, sites, tmp_path):
        file = write(sites[1].head(100).assign(site="east"), tmp_path / "east.csv")
        assert predict(sites[0], file).one_error().startswith("east.csv: series 'east' is none that was trained on")

    def test_a_target_without_any_value(self, sites, tmp_path):
        table = sites[1][sites[1]["site"] == "south"].head(100).assign(heat=np.nan)
        message = predict(sites[0], write(table, tmp_path / "cold.csv")).one_error()
        assert message.startswith("cold.csv: column 'heat' has no value in the 100 rows of 'south' without a break")


def test_columns_of_the_table_have_names_of_their_own():
    series = Series("some.csv", np.zeros((3, 2)), (Column("step"), Column("load")), 2, None, np.zeros(3, bool))
    parts = tuple(np.full((1, 1, 2), value) for value in (2.0, 1.0, 3.0))
    found = as_table(
        series, fit_encoder(replace(series, values=np.eye(3)[:, :2]), np.ones(3, bool)), np.array([2]), parts
    )
    assert found.to_dict("list") == {
        "step of forecast": [1], "step": [2.0], "step lower": [1.0], "step upper": [3.0],
        "load": [2.0], "load lower": [1.0], "load upper": [3.0],
    }  # fmt: skip
