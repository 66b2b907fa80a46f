"""The forecast end to end: it learns, it says so in the promised form, and goes on where it was stopped."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pandas as pd
import pytest
from helpers.finished import RUNS, SHORT, finished
from helpers.running import contents, results_of, run, sign
from matplotlib import image

from experiments.common import fit
from experiments.common.flags import parse
from experiments.forecast import run as forecast_run
from experiments.forecast import task as forecast_task
from experiments.forecast.__main__ import EXPERIMENT
from rnn_jax.data.series.features import Encoder
from rnn_jax.training.log import read_log
from rnn_jax.training.loop import Trained

LEARNING = RUNS["forecast"].flags
METRICS = {"mse", "mae", "rmse", "r2", "skill", "mase"}
FITTED = {"persistence", "drift", "linear_autoregression", "nlinear", "dlinear"}
KNOWN = {"known_limit", "ensemble of 2"}


def run_in(folder, *arguments):
    return run(EXPERIMENT.main, f"--workdir={folder}", *arguments)


def validation_losses(folder):
    return [r["validation_loss"] for r in read_log(folder / "metrics.jsonl") if "validation_loss" in r]


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    return finished(tmp_path_factory, "forecast")


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    """A short run with the hand-derived gradient in float32, to compare others with."""
    return finished(tmp_path_factory, "forecast_manual")


class TestLearns:
    def test_better_than_persistence(self, learned):
        results = learned.results
        assert all(value > 0.4 for value in results["metrics"]["skill"]["values"])
        assert all(value > 0.97 for value in results["metrics"]["r2"]["values"])
        assert results["metrics"]["mse"]["mean"] > results["baselines"]["linear_autoregression"]["mse"]["mean"] / 2

    def test_losses_fall(self, learned):
        """Below the loss of the model before training, which is near that of "no change", in typical changes."""
        losses = validation_losses(learned.folder)
        _, windows = forecast_run.read(parse(EXPERIMENT.config, LEARNING))
        change = windows.scaled_targets(windows.validation) - windows.scaled[windows.validation + windows.lag - 1, None]
        no_change = np.mean((change / forecast_task.typical_change(windows)) ** 2)
        assert losses[-1] < 0.6 * no_change
        assert losses[-1] < losses[0]

    def test_the_forecast_is_not_the_line_alone(self, learned):
        (share,) = learned.results["share_of_line"]
        assert 0 < share < 0.95


class TestRunFolder:
    def test_results(self, learned):
        results = learned.results
        assert (results["dataset"], results["protocol"]) == ("synthetic", "clean")
        assert (results["cell"], results["seeds"]) == ("gru", [0, 1])
        assert results["num_params"] == 3 * 8 * (1 + 8 + 1) + 8 + 8 + 1 + 24 + 1 + 1
        assert results["steps"] == 8 * (2076 // 16)
        assert results["compile_seconds"] > 0
        assert set(results["baselines"]) == FITTED | KNOWN | {"seasonal_naive"}
        for row in (results["metrics"], *results["baselines"].values()):
            assert set(row) == METRICS
        assert results["targets"] == ["synthetic temperature (C)"]
        assert (results["units"], results["report_steps"]) == ("units", [1])
        assert results["model"]["line"] in ("shared", "full")
        assert results["metrics"]["mse"]["std"] > 0, "two seeds are two models"

    def test_metrics_agree_with_each_other(self, learned):
        results = learned.results
        persistence = results["baselines"]["persistence"]["mse"]["mean"]
        for row in (results["metrics"], *results["baselines"].values()):
            mse = np.array(row["mse"]["values"])
            np.testing.assert_allclose(row["rmse"]["values"], np.sqrt(mse))
            np.testing.assert_allclose(row["skill"]["values"], 1 - mse / persistence, atol=1e-12)
        assert results["baselines"]["persistence"]["skill"]["mean"] == 0

    def test_one_step_is_all_steps(self, learned):
        results = learned.results
        assert results["metrics_by_target"] == {}
        assert {name: [value] for name, value in results["metrics"].items()} == results["metrics_by_step"]
        assert set(results["baselines_by_step"]) == set(results["baselines"])

    def test_intervals(self, learned):
        found = learned.results["intervals"]
        assert (found["level"], found["kind"]) == (0.9, "conformal")
        assert np.shape(found["radius"]) == (1, 1)
        assert found["width"]["mean"] > 0
        assert 0.8 < found["coverage"]["mean"] < 0.98
        assert found["coverage_by_step"] == [found["coverage"]["values"][0]]

    def test_compared_with_the_best_baseline(self, learned):
        results = learned.results
        (found,) = results["diebold_mariano"]
        rivals = {name: row["mse"]["mean"] for name, row in results["baselines"].items() if name not in KNOWN}
        assert found["baseline"] == min(rivals, key=rivals.get)
        ratio = results["metrics"]["mse"]["values"][0] / min(rivals.values())
        assert found["mse_ratio"] == pytest.approx(ratio)
        assert 0 <= found["p_value"] <= 1

    def test_the_encoder_is_kept(self, learned):
        encoder = Encoder.from_json(json.loads((learned.folder / "encoder.json").read_text()))
        _, windows = forecast_run.read(parse(EXPERIMENT.config, LEARNING))
        np.testing.assert_array_equal(encoder.center, windows.encoder.center)
        np.testing.assert_array_equal(encoder.scale, windows.encoder.scale)

    def test_the_best_parameters_are_evaluated_not_the_last(self, tmp_path, monkeypatch):
        """The best ones here predict "no change", which is persistence to the digit; the last ones anything else."""

        def train(functions, seeds, data, schedule, workdir, learning_rate, probes, feed):
            states = functions.init(jnp.asarray(seeds, jnp.uint32))
            params = states.params | {"decoder": jax.tree.map(jnp.zeros_like, states.params["decoder"])}
            record = {"step": 1, "loss": 1.0, "grad_norm": 1.0, "update_norm": 1.0}
            (workdir / "metrics.jsonl").write_text(json.dumps(record) + "\n")
            return Trained(states._replace(best_params=params), 1, 0.0, 0.0)

        monkeypatch.setattr(fit, "train", train)
        assert run_in(tmp_path / "run", *SHORT, "--num_seeds=2", "--noblend").status == 0
        results = results_of(tmp_path / "run")
        np.testing.assert_allclose(results["metrics"]["skill"]["values"], [0, 0], atol=1e-5)
        expected = results["baselines"]["persistence"]["mae"]["mean"]
        np.testing.assert_allclose(results["metrics"]["mae"]["values"], [expected] * 2, rtol=1e-5)

    def test_table_and_summary_are_printed(self, learned):
        out, results = learned.ran.out, learned.results
        assert f"run folder: {learned.folder}\n" in out
        mse = results["metrics"]["mse"]
        assert f"| gru (2 seeds)         | {mse['mean']:.4f} ± {mse['std']:.4f} |" in out
        for name, row in results["baselines"].items():
            assert f"| {name:<21} | {row['mse']['mean']:.4f}" in out
        for name, count in (("recurrent", 240 + 8), ("decoder", 9), ("line", 26), ("total", 283)):
            assert any(line.split() == [name, str(count)] for line in out.splitlines()), out

    def test_metrics_are_readable_by_pandas(self, learned):
        frame = pd.read_json(learned.folder / "metrics.jsonl", lines=True)
        assert frame["step"].tolist() == list(range(129, 8 * 129 + 1, 129))
        norms = frame[["loss", "grad_norm", "update_norm", "param_norm", "validation_loss"]]
        assert np.isfinite(norms.to_numpy()).all()
        assert (norms > 0).all(axis=None)
        assert frame["train_seconds"].is_monotonic_increasing

    @pytest.mark.parametrize("name", ["forecast", "errors", "loss", "predicted_and_real", "series"])
    def test_plots_are_pictures(self, learned, name):
        path = learned.folder / "plots" / f"{name}.png"
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        pixels = image.imread(path)
        assert min(pixels.shape[:2]) > 300
        assert len(np.unique(pixels[..., 0])) > 50, "an empty picture"

    def test_events_and_checkpoints(self, learned):
        assert list((learned.folder / "events").glob("events.out.tfevents.*"))
        steps = {int(path.name) for path in (learned.folder / "checkpoints").iterdir()}
        assert steps >= {129 * epoch for epoch in (6, 7, 8)}

    def test_flags_reproduce_the_run(self, learned):
        flagfile = f"--flagfile={learned.folder / 'flags.txt'}"
        assert parse(EXPERIMENT.config, [flagfile]) == parse(EXPERIMENT.config, LEARNING)

    def test_again_it_only_prints(self, learned, monkeypatch):
        before = contents(learned.folder)
        monkeypatch.setattr(fit, "train", lambda *args: pytest.fail("it must not train again"))
        again = run_in(learned.folder, *LEARNING)
        assert again.status == 0
        assert "this run is finished; its results:" in again.out
        first = learned.ran.out
        assert again.out.endswith(first[first.index("synthetic, protocol clean, test split, errors in units:") :])
        assert contents(learned.folder) == before

    def test_killed_before_the_results_are_written(self, learned, tmp_path):
        """All that is left to do is evaluated again, plots included, and gives the same."""
        folder = tmp_path / "run"
        shutil.copytree(learned.folder, folder)
        (folder / "results.json").unlink()
        (folder / "plots" / "loss.png").unlink()
        assert run_in(folder, *LEARNING).status == 0
        again, results = results_of(folder), learned.results
        assert {name: again[name] for name in set(again) - {"compile_seconds"}} == {
            name: results[name] for name in set(results) - {"compile_seconds"}
        }
        assert (folder / "plots" / "loss.png").is_file()


class TestBackendsAndTypes:
    def test_scan_and_manual_give_close_results(self, tmp_path_factory, manual):
        """Two seeds here and one there: the first must not notice the second."""
        scan = finished(tmp_path_factory, "forecast_scan")
        logs = [read_log(each.folder / "metrics.jsonl") for each in (scan, manual)]
        for a, b in zip(*([record for record in log if "loss" in record] for log in logs), strict=True):
            assert a["losses"][0] == pytest.approx(b["loss"], rel=1e-3)
            assert a["losses"][0] != a["losses"][1]
            assert a["validation_losses"][0] == pytest.approx(b["validation_loss"], rel=1e-3)
        scan_mse, mse = (each.results["metrics"]["mse"]["values"][0] for each in (scan, manual))
        assert scan_mse == pytest.approx(mse, rel=1e-3)
        assert (scan.results["backend"], manual.results["backend"]) == ("scan", "manual")

    @pytest.mark.parametrize(("dtype", "stored", "close"), [("float64", "float64", 0.2), ("bfloat16", "float32", 0.1)])
    def test_types(self, manual, tmp_path, dtype, stored, close):
        """And a cycle that is longer than what is read, which no forecast can repeat."""
        ran = run_in(tmp_path / "run", *SHORT, f"--dtype={dtype}", "--season=48")
        assert ran.status == 0, ran.err
        losses, expected = validation_losses(tmp_path / "run"), validation_losses(manual.folder)
        assert losses[0] != expected[0], "computed in float32"
        np.testing.assert_allclose(losses, expected, rtol=close)  # float64 draws other numbers to begin with
        state = ocp.StandardCheckpointer().restore(tmp_path / "run" / "checkpoints" / "258" / "state")
        kinds = {np.asarray(leaf).dtype.name for leaf in jax.tree.leaves(state["params"])}
        assert kinds == {stored}
        assert set(results_of(tmp_path / "run")["baselines"]) == {*FITTED, "known_limit"}


def test_diverging(tmp_path):
    """One line at the end, after the progress bar; no traceback; nothing that looks like a result."""
    ran = run_in(tmp_path / "run", *SHORT, "--cell=rnn_identity", "--optimizer=sgd", "--learning_rate=1e30")
    assert ran.status == 2
    last = ran.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert "of seed 0 is " in last
    assert "learning_rate" in last
    assert "clip_norm" in last
    assert "Traceback" not in ran.err
    assert not (tmp_path / "run" / "results.json").exists()


class TestLecture:
    """The protocol of the lectures is what it was: windows first, one feature, one origin, the network alone."""

    def test_its_windows(self):
        """70, 10 and 20 % of all windows, in their order."""
        _, windows = forecast_run.read(parse(EXPERIMENT.config, ["--protocol=lecture", "--num_hours=3000"]))
        count = 3000 - 64
        assert [len(windows.starts(split)) for split in ("train", "validation", "test")] == [
            count * 7 // 10, count * 8 // 10 - count * 7 // 10, count - count * 8 // 10,
        ]  # fmt: skip
        assert windows.encoder.num_features == 1
        rows = windows.series.values[: count * 7 // 10 + 64, 0]
        np.testing.assert_allclose(
            (windows.encoder.center[0, 0], windows.encoder.scale[0, 0]), (rows.mean(), rows.std())
        )

    def test_a_run(self, tmp_path):
        """Of an LSTM with a linear layer on its last output, and no more."""
        flags = ("--protocol=lecture", "--num_hours=1500", "--epochs=1", "--hidden_size=4", "--learning_rate=1e-2")
        ran = run_in(tmp_path / "run", *flags)
        assert ran.status == 0, ran.err
        results = results_of(tmp_path / "run")
        assert results["protocol"] == "lecture"
        assert results["num_params"] == 4 * 4 * (1 + 4 + 1) + 4 + 1
        assert results["steps"] == ((1500 - 64) * 7 // 10) // 64
        assert results["model"] == {
            "input_size": 1, "num_targets": 1, "num_known": 0, "lag": 64, "unit": None, "line": "none",
            "normalize": "none",
        }  # fmt: skip
        assert results["share_of_line"] is None
        assert "trees" not in results["baselines"]


class TestOlderResults:
    """A folder that another version made: what it says is shown, what it lacks is not missed."""

    @pytest.mark.parametrize("lacking", [["metrics_by_step"], ["metrics_by_step", "baselines_by_step", "report_steps"]])
    def test_are_shown(self, learned, tmp_path, lacking):
        folder = tmp_path / "run"
        shutil.copytree(learned.folder, folder)
        more = ["metrics_by_target", "units", "diebold_mariano", "intervals", "importance", "share_of_line"]
        found = {name: value for name, value in learned.results.items() if name not in [*lacking, *more]}
        (folder / "results.json").write_text(json.dumps({"report_steps": [1, 2], **found}))
        (folder / "digests.txt").unlink()
        ran = run_in(folder, *LEARNING)
        assert ran.status == 0, ran.err
        assert f"| gru (2 seeds)         | {found['metrics']['mse']['mean']:.4f}" in ran.out
        assert "mse t+" not in ran.out

    def test_predict_nothing(self, learned, tmp_path):
        folder = tmp_path / "run"
        shutil.copytree(learned.folder, folder)
        (folder / "results.json").write_text(json.dumps({**learned.results, "model": {"input_size": 1}}))
        sign(folder)
        (tmp_path / "data.csv").write_text("value\n1\n")
        message = run_in(folder, "--mode=predict", f"--csv={tmp_path / 'data.csv'}").one_error()
        missing = "missing a required argument: 'num_targets'"
        assert message == f"--workdir={folder}: results.json there is of another version: {missing}; train it anew"
