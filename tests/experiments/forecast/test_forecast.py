"""The forecast end to end: it learns, it says so in the promised form, and what is wrong is one line."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pandas as pd
import pytest
from flax import nnx
from helpers.running import Ran, once, run
from matplotlib import image

from experiments.common.flags import parse
from experiments.forecast import main as forecast
from rnn_jax import models
from rnn_jax.training.errors import TrainingError
from rnn_jax.training.log import read_log
from rnn_jax.training.loop import Trained

TINY = ("--num_hours=3000", "--lag=24", "--hidden_size=8", "--batch_size=16", "--learning_rate=0.03", "--residual")
LEARNING = (*TINY, "--cell=gru", "--epochs=8", "--num_seeds=2")
SHORT = (*TINY, "--epochs=2", "--schedule=constant")

RESULTS = {
    "experiment", "dataset", "protocol", "cell", "num_params", "seeds", "metrics", "baselines", "steps",
    "compile_seconds", "train_seconds", "device", "versions",
}  # fmt: skip
METRICS = {"mse", "mae", "rmse", "r2", "skill"}


def run_in(folder, *arguments) -> Ran:
    return run(forecast.main, f"--workdir={folder}", *arguments)


def validation_losses(folder):
    return [r["validation_loss"] for r in read_log(folder / "metrics.jsonl") if "validation_loss" in r]


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A run of two seeds: its folder, and what it printed. No test may change the folder."""
    return once(tmp_path_factory, "forecast_learned", lambda folder: run_in(folder, *LEARNING))


@pytest.fixture(scope="module")
def results(learned):
    return json.loads((learned[0] / "results.json").read_text())


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    """A short run with the default back end and type, to compare others with."""
    folder, ran = once(tmp_path_factory, "forecast_manual", lambda folder: run_in(folder, *SHORT, "--backend=manual"))
    assert ran.status == 0, ran.err
    return folder


class TestLearns:
    def test_status(self, learned):
        assert learned[1].status == 0, learned[1].err

    def test_better_than_persistence(self, results):
        assert all(value > 0.4 for value in results["metrics"]["skill"]["values"])
        assert all(value > 0.97 for value in results["metrics"]["r2"]["values"])
        assert results["metrics"]["mse"]["mean"] > results["baselines"]["linear_autoregression"]["mse"]["mean"] / 2

    def test_losses_fall(self, learned):
        """Below the loss of the model before training, which is near that of "no change"."""
        losses = validation_losses(learned[0])
        config = parse(forecast.Config, LEARNING)
        task = forecast.make_task(forecast.read_series(config), "clean", config.lag, config.ahead)
        rows = task.validation + task.lag
        no_change = np.mean((task.standardised[rows] - task.standardised[rows - 1]) ** 2)
        assert losses[-1] < 0.6 * no_change
        assert losses[-1] < 0.7 * losses[0]


class TestRunFolder:
    def test_results_hold_what_is_promised(self, results):
        assert set(results) >= RESULTS
        assert (results["experiment"], results["dataset"], results["protocol"]) == ("forecast", "synthetic", "clean")
        assert (results["cell"], results["seeds"]) == ("gru", [0, 1])
        assert results["num_params"] == 3 * 8 * (1 + 8 + 1) + 8 + 8 + 1
        assert results["steps"] == 8 * (2076 // 16)
        assert results["compile_seconds"] > 0
        assert results["train_seconds"] > 0
        assert set(results["baselines"]) == {"persistence", "seasonal_naive", "linear_autoregression"}
        assert {"python", "jax", "flax", "optax", "numpy"} <= set(results["versions"])

    def test_every_metric_has_mean_spread_and_values(self, results):
        for row, seeds in ((results["metrics"], 2), *((row, 1) for row in results["baselines"].values())):
            assert set(row) == METRICS
            for entry in row.values():
                assert set(entry) == {"mean", "std", "values"}
                assert len(entry["values"]) == seeds
                assert entry["mean"] == pytest.approx(np.mean(entry["values"]))
                assert entry["std"] == pytest.approx(np.std(entry["values"], ddof=1) if seeds > 1 else 0)
        assert results["metrics"]["mse"]["std"] > 0, "two seeds are two models"

    def test_metrics_agree_with_each_other(self, results):
        persistence = results["baselines"]["persistence"]["mse"]["mean"]
        for row in (results["metrics"], *results["baselines"].values()):
            mse = np.array(row["mse"]["values"])
            np.testing.assert_allclose(row["rmse"]["values"], np.sqrt(mse))
            np.testing.assert_allclose(row["skill"]["values"], 1 - mse / persistence, atol=1e-12)
        assert results["baselines"]["persistence"]["skill"]["mean"] == 0

    def test_the_best_parameters_are_evaluated_not_the_last(self, tmp_path, monkeypatch):
        """The best ones here predict "no change", which is persistence to the digit; the last ones anything else."""

        def train(functions, seeds, data, schedule, workdir, learning_rate, probe):
            states = functions.init(jnp.asarray(seeds, jnp.uint32))
            params = states.params | {"head": jax.tree.map(jnp.zeros_like, states.params["head"])}
            record = {"step": 1, "loss": 1.0, "grad_norm": 1.0, "update_norm": 1.0}
            (workdir / "metrics.jsonl").write_text(json.dumps(record) + "\n")
            return Trained(states._replace(best_params=params), 1, 0.0, 0.0)

        monkeypatch.setattr(forecast, "train", train)
        assert run_in(tmp_path / "run", *SHORT, "--num_seeds=2").status == 0
        results = json.loads((tmp_path / "run" / "results.json").read_text())
        np.testing.assert_allclose(results["metrics"]["skill"]["values"], [0, 0], atol=1e-5)
        expected = results["baselines"]["persistence"]["mae"]["mean"]
        np.testing.assert_allclose(results["metrics"]["mae"]["values"], [expected] * 2, rtol=1e-5)

    def test_the_best_epochs_are_named(self, learned, results):
        records = [r for r in read_log(learned[0] / "metrics.jsonl") if "validation_losses" in r]
        losses = np.array([r["validation_losses"] for r in records])
        assert results["best_epochs"] == (losses.argmin(axis=0) + 1).tolist()

    def test_table_is_printed(self, learned, results):
        out = learned[1].out
        assert f"run folder: {learned[0]}\n" in out
        mse = results["metrics"]["mse"]
        assert f"| gru (2 seeds)         | {mse['mean']:.4f} ± {mse['std']:.4f} |" in out
        for name, row in results["baselines"].items():
            assert f"| {name:<21} | {row['mse']['mean']:.4f}" in out

    def test_metrics_are_readable_by_pandas(self, learned):
        frame = pd.read_json(learned[0] / "metrics.jsonl", lines=True)
        assert frame["step"].tolist() == list(range(129, 8 * 129 + 1, 129))
        norms = frame[["loss", "grad_norm", "update_norm", "param_norm", "validation_loss"]]
        assert np.isfinite(norms.to_numpy()).all()
        assert (norms > 0).all(axis=None)
        assert frame["train_seconds"].is_monotonic_increasing

    @pytest.mark.parametrize("name", ["forecast", "errors", "loss"])
    def test_plots_are_pictures(self, learned, name):
        path = learned[0] / "plots" / f"{name}.png"
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        pixels = image.imread(path)
        assert min(pixels.shape[:2]) > 300
        assert len(np.unique(pixels[..., 0])) > 50, "an empty picture"

    def test_events_and_checkpoints(self, learned):
        assert list((learned[0] / "events").glob("events.out.tfevents.*"))
        steps = {int(path.name) for path in (learned[0] / "checkpoints").iterdir()}
        assert steps >= {129 * epoch for epoch in (6, 7, 8)}

    def test_flags_reproduce_the_run(self, learned):
        assert parse(forecast.Config, [f"--flagfile={learned[0] / 'flags.txt'}"]) == parse(forecast.Config, LEARNING)

    def test_again_it_only_prints(self, learned, monkeypatch):
        folder, first = learned
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        monkeypatch.setattr(forecast, "train", lambda *args: pytest.fail("it must not train again"))
        again = run_in(folder, *LEARNING)
        assert again.status == 0
        assert "this run is finished; its results:" in again.out
        table = first.out[first.out.index("synthetic, protocol clean, test split:") :]
        assert again.out.endswith(table)
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before

    def test_killed_before_the_results_are_written(self, learned, results, tmp_path):
        """All that is left to do is evaluated again, plots included, and gives the same."""
        folder = tmp_path / "run"
        shutil.copytree(learned[0], folder)
        (folder / "results.json").unlink()
        (folder / "plots" / "loss.png").unlink()
        assert run_in(folder, *LEARNING).status == 0
        again = json.loads((folder / "results.json").read_text())
        assert {name: again[name] for name in set(again) - {"compile_seconds"}} == {
            name: results[name] for name in set(results) - {"compile_seconds"}
        }
        assert (folder / "plots" / "loss.png").is_file()


class TestBackendsAndTypes:
    def test_scan_and_manual_give_close_results(self, manual, tmp_path):
        """Two seeds here and one there: the first must not notice the second."""
        assert run_in(tmp_path / "scan", *SHORT, "--backend=scan", "--num_seeds=2").status == 0
        for a, b in zip(*(read_log(f / "metrics.jsonl") for f in (tmp_path / "scan", manual)), strict=True):
            assert a["losses"][0] == pytest.approx(b["loss"], rel=1e-3)
            assert a["losses"][0] != a["losses"][1]
            assert a["validation_losses"][0] == pytest.approx(b["validation_loss"], rel=1e-3)
        scan_mse, mse = (
            json.loads((f / "results.json").read_text())["metrics"]["mse"]["values"][0]
            for f in (tmp_path / "scan", manual)
        )
        assert scan_mse == pytest.approx(mse, rel=1e-3)

    @pytest.mark.parametrize(("dtype", "stored", "close"), [("float64", "float64", 0.2), ("bfloat16", "float32", 0.1)])
    def test_types(self, manual, tmp_path, dtype, stored, close):
        ran = run_in(tmp_path / "run", *SHORT, f"--dtype={dtype}")
        assert ran.status == 0, ran.err
        losses, expected = validation_losses(tmp_path / "run"), validation_losses(manual)
        assert losses[0] != expected[0], "computed in float32"
        np.testing.assert_allclose(losses, expected, rtol=close)  # float64 draws other numbers to begin with
        state = ocp.StandardCheckpointer().restore(tmp_path / "run" / "checkpoints" / "258" / "state")
        kinds = {np.asarray(leaf).dtype.name for layer in state["params"].values() for leaf in _leaves(layer)}
        assert kinds == {stored}


def _leaves(tree):
    return [leaf for value in tree.values() for leaf in _leaves(value)] if isinstance(tree, dict) else [tree]


class TestModel:
    def test_summary_of_the_lecture_model(self):
        """LSTM(400) and Dense(8): 4 * 400 * (1 + 400 + 1) and 400 * 8 + 8."""
        config = parse(forecast.Config, ["--hidden_size=400", "--ahead=8"])
        model = forecast.make_model(config, 1, nnx.Rngs(0))
        counts = {name: count for name, _, count in models.summary(model)}
        assert (counts["recurrent"], counts["head"], counts["total"]) == (643_200, 3_208, 646_408)

    def test_summary_is_printed(self, learned):
        out = learned[1].out
        for name, count in (("recurrent", 240 + 8), ("head", 9), ("total", 257)):
            assert any(line.split() == [name, str(count)] for line in out.splitlines()), out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ["--cell=gru", "--forget_bias=1"],
                "--forget_bias=1.0: --cell=gru has no forget gate; take one of lstm, lstm_peephole, lstm_layer_norm",
            ),
            (
                ["--cell=rnn", "--chrono=9"],
                "--chrono=9: --cell=rnn has no gate with a memory to set; take one of lstm, gru, lstm_coupled, "
                "lstm_peephole, lstm_layer_norm",
            ),
            (["--forget_bias=1", "--chrono=9"], "--forget_bias and --chrono both set the forget gate's bias: give one"),
            (
                ["--zoneout=0.5", "--backend=manual"],
                "--zoneout=0.5: --backend=manual does not have it; take auto or scan",
            ),
            (
                ["--cell=lstm_coupled", "--backend=manual"],
                "--backend=manual: --cell=lstm_coupled has no hand-derived gradient; take auto or scan",
            ),
            (
                ["--zoneout=0.5", "--backend=pallas"],
                "--zoneout=0.5: --backend=pallas does not have it; take auto or scan",
            ),
            (
                ["--cell=lstm_coupled", "--backend=pallas"],
                "--backend=pallas: --cell=lstm_coupled has no hand-derived gradient; take auto or scan",
            ),
            (["--cell=gru", "--backend=cudnn"], "--cell=gru: --backend=cudnn does not have it; take auto or scan"),
            (
                ["--truncate_every=9", "--backend=cudnn"],
                "--truncate_every=9: --backend=cudnn does not have it; take auto or scan",
            ),
            (
                ["--num_seeds=2", "--backend=cudnn"],
                "--num_seeds=2: --backend=cudnn does not have it; take auto or scan",
            ),
            (
                ["--cell=gru", "--backend=without_dc"],
                "--backend=without_dc is a fault of the LSTM's gradient, not of --cell=gru",
            ),
            (["--weight_decay=0.1"], "--weight_decay=0.1: weight_decay needs optimizer adamw, not adam"),
        ],
    )
    def test_flags_that_contradict_each_other(self, tmp_path, arguments, message):
        ran = run_in(tmp_path / "run", "--num_hours=900", "--lag=6", "--hidden_size=2", *arguments)
        assert ran.one_error() == message

    def test_every_model_flag_arrives(self):
        arguments = ["--num_layers=2", "--bidirectional", "--dropout=0.2", "--variational", "--forget_bias=2"]
        arguments += ["--zoneout=0.1", "--gain=3", "--backend=scan"]
        config = parse(forecast.Config, [*arguments, "--init=identity", "--checkpoint_every=4", "--truncate_every=5"])
        recurrent = forecast.make_model(config, 1, nnx.Rngs(0)).recurrent
        found = (recurrent.dropout, recurrent.variational, recurrent.checkpoint_every, recurrent.truncate_every)
        assert found == (0.2, True, 4, 5)
        assert (recurrent.backend, recurrent.zoneout) == ("scan", 0.1)
        assert len(recurrent.layers) == 2
        for layer in recurrent.layers:
            for direction in (layer.forward, layer.backward):
                assert direction.b[...][32:64].tolist() == [2.0] * 32
                np.testing.assert_array_equal(direction.w_hh[...][:, :32], 3 * np.eye(32))


class TestWindows:
    def test_taken_from_the_series(self):
        data = {"series": jnp.arange(20.0).reshape(10, 2)}
        windows, targets = forecast.take_windows(data, jnp.array([0, 4]), lag=3, ahead=2)
        assert windows.shape == (2, 3, 2)
        assert windows[1].tolist() == [[8, 9], [10, 11], [12, 13]]
        assert targets.tolist() == [[6, 8], [14, 16]]

    @pytest.mark.parametrize("count", [1, 511, 512, 513, 1024])
    def test_predictions_come_back_in_order(self, count):
        """Whatever the batches that they are made in."""
        data = {"series": jnp.arange(2000.0)[:, None]}
        starts = jnp.asarray(np.random.default_rng(0).permutation(1990)[:count])
        predictions = forecast.predict_all(lambda _, xs: xs[:, -1] + 1, None, data, starts, lag=3, ahead=1)
        np.testing.assert_array_equal(predictions[:, 0], starts + 3.0)


ROWS = "".join(f"2020-01-{1 + t // 24:02d} {t % 24:02d}:00,{np.sin(t / 4) + t % 3:.3f}\n" for t in range(240))


class TestCSV:
    def write(self, folder, text):
        (folder / "data.csv").write_text(text)
        return f"--csv={folder / 'data.csv'}"

    def error(self, folder, *arguments):
        ran = run_in(folder / "run", "--dataset=csv", "--lag=6", *arguments)
        message = ran.one_error()
        assert not (folder / "run" / "results.json").exists()
        return message

    def test_runs(self, tmp_path):
        file = self.write(tmp_path, "when,value\n" + ROWS)
        ran = run_in(
            tmp_path / "run", "--dataset=csv", file, "--target=value", "--time=when", "--lag=6", "--hidden_size=2",
            "--epochs=1", "--batch_size=50", "--cell=rnn", "--backend=scan",
        )  # fmt: skip
        assert ran.status == 0, ran.err
        results = json.loads((tmp_path / "run" / "results.json").read_text())
        assert results["dataset"] == "data.csv"
        assert set(results["baselines"]) == {"persistence", "linear_autoregression"}  # 6 rows hold no day
        assert "no seasonal forecast: --lag=6 is shorter than --season=24\n" in ran.out
        assert results["steps"] == (240 * 7 // 10 - 6) // 50

    @pytest.mark.parametrize(
        ("text", "arguments", "parts"),
        [
            ("when,value\n" + ROWS, ["--target=price"], ["data.csv has no column 'price'", "'when', 'value'"]),
            (
                "when,value\n2020-01-01 00:00,1\n2020-01-01 01:00,much\n",
                ["--target=value"],
                ["data.csv, line 3, column 'value': 'much' is not a number"],
            ),
            ("when,value\n" + "a,1\n" * 5, ["--target=value"], ["5 rows are too few", "--lag"]),
            ("", ["--target=value"], ["data.csv is empty"]),
            ("when,value\n", ["--target=value"], ["data.csv holds a header and no rows"]),
            ("when,value\n" + ROWS, ["--target=value", "--time=date"], ["data.csv has no column 'date'"]),
            ("when,value\n" + ROWS, [], ["--dataset=csv needs --csv=FILE and --target=COLUMN"]),
            (
                "when,value\n" + ROWS,
                ["--target=value", "--batch_size=200"],
                ["--batch_size=200: there are only 162 training windows"],
            ),
        ],
    )
    def test_errors(self, tmp_path, text, arguments, parts):
        message = self.error(tmp_path, self.write(tmp_path, text), *arguments)
        assert all(part in message for part in parts), message

    def test_no_file(self, tmp_path):
        message = self.error(tmp_path, f"--csv={tmp_path / 'none.csv'}", "--target=value")
        assert message == f"no file {tmp_path / 'none.csv'}: check the path"

    def test_flags_of_another_dataset(self, tmp_path):
        message = run_in(tmp_path / "run", "--csv=data.csv").one_error()
        assert message == "--csv, --target and --time go with --dataset=csv, not with --dataset=synthetic"


class TestOtherData:
    FLAGS = (
        "--dataset=csv", "--target=value", "--time=when", "--lag=6", "--season=4", "--hidden_size=2", "--epochs=1",
        "--batch_size=50", "--cell=rnn",
    )  # fmt: skip

    def test_is_noticed(self, tmp_path):
        file, folder = tmp_path / "data.csv", tmp_path / "run"
        file.write_text("when,value\n" + ROWS)
        flags = (*self.FLAGS, f"--csv={file}")
        assert run_in(folder, *flags, "--batch_size=200").status == 2, "an error before the run begins"
        ran = run_in(folder, *flags)
        assert ran.status == 0, ran.err
        assert "seasonal_naive" in json.loads((folder / "results.json").read_text())["baselines"]
        assert run_in(folder, *flags).status == 0
        refused = f"--workdir={folder} was made with other data (data.txt); put it back or name another folder"
        file.write_text("when,value\n" + ROWS.replace(",0.000\n", ",0.5\n"))
        assert run_in(folder, *flags).one_error() == refused
        (folder / "results.json").rename(tmp_path / "results.json")
        assert run_in(folder, *flags).one_error() == refused
        (tmp_path / "results.json").rename(folder / "results.json")
        file.unlink()
        again = run_in(folder, *flags)
        assert again.status == 0, again.err
        assert f"its data cannot be read any more (no file {file}: check the path); its results:\n" in again.out
        assert again.out.endswith(ran.out[ran.out.index("data.csv, protocol clean, test split:") :])


def test_the_length_of_a_dispatch_arrives(tmp_path, monkeypatch):
    seen = []

    def train(functions, seeds, data, schedule, *rest):
        seen.append(schedule)
        raise TrainingError("enough")

    monkeypatch.setattr(forecast, "train", train)
    assert run_in(tmp_path / "run", *SHORT, "--steps_per_dispatch=50").one_error() == "enough"
    assert seen[0].steps_per_dispatch == 43  # 129 steps in three equal parts


@pytest.mark.parametrize("in_order", [True, False])
def test_times_out_of_order_are_no_axis(tmp_path, monkeypatch, in_order):
    config = parse(forecast.Config, ["--num_hours=500", "--lag=24"])
    task = forecast.make_task(forecast.read_series(config), "clean", config.lag, config.ahead)
    task = task if in_order else dataclasses.replace(task, times=task.times[::-1])
    axes = []
    monkeypatch.setattr(forecast.plotting, "forecast_days", lambda path, times, *rest: axes.append(times))
    monkeypatch.setattr(forecast.plotting, "loss_curves", lambda *args: None)
    targets = task.targets(task.test)
    forecast._plot(config, tmp_path, task, targets, {"persistence": targets + 1})
    expected = task.times[task.test + 24] if in_order else task.test + 24
    np.testing.assert_array_equal(axes[0], expected)


class TestOtherErrors:
    def test_szeged_is_missing(self, tmp_path):
        message = run_in(tmp_path / "run", "--dataset=szeged", f"--data_dir={tmp_path}").one_error()
        assert message == (
            f"no weatherHistory.csv in --data_dir={tmp_path}: download the Kaggle data set budincsevity/szeged-weather "
            "and put its weatherHistory.csv there"
        )

    def test_a_series_too_short(self, tmp_path):
        assert "too few" in run_in(tmp_path / "run", "--num_hours=50").one_error()

    def test_diverging(self, tmp_path):
        """One line at the end, after the progress bar; no traceback; nothing that looks like a result."""
        ran = run_in(tmp_path / "run", *SHORT, "--cell=rnn_identity", "--optimizer=sgd", "--learning_rate=1e30")
        assert ran.status == 2
        last = ran.err.splitlines()[-1]
        assert last.startswith("error: ")
        assert "of seed 0 is " in last
        assert "lower learning_rate or clip_norm" in last
        assert "Traceback" not in ran.err
        assert not (tmp_path / "run" / "results.json").exists()
