"""The long-memory tasks end to end: a short sum is learnt, figures are those of the model, and errors are one line."""

import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.finished import RUNS, finished
from helpers.idx import write_mnist
from helpers.running import refused, results_of, run

from experiments.common import fit
from experiments.common.flags import parse
from experiments.memory.__main__ import EXPERIMENT
from experiments.memory.problem import evaluation_lengths, read_problem
from rnn_jax.training.log import read_log

LEARNING = RUNS["memory"].flags
TINY = ("--backend=scan", "--hidden_size=6", "--batch_size=16", "--num_evaluation=20")


def run_in(folder, *arguments):
    return run(EXPERIMENT.main, f"--workdir={folder}", *arguments)


def without_times(results):
    return {name: value for name, value in results.items() if name not in ("compile_seconds", "train_seconds")}


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """Two seeds that learn to add."""
    return finished(tmp_path_factory, "memory")


class TestAdding:
    def test_learns(self, learned):
        results = learned.results
        assert all(value < 0.1 / 6 for value in results["metrics"]["mse"]["values"])
        assert results["metrics"]["accuracy"]["mean"] > 2 * results["baselines"]["trivial"]["accuracy"]["mean"]

    def test_results(self, learned):
        results = learned.results
        assert (results["dataset"], results["protocol"]) == ("adding", "length 8")
        assert results["seeds"] == [0, 1]
        assert results["steps"] == 300
        assert list(results["lengths"]) == ["4", "8"]
        for at in results["lengths"].values():
            assert at["trivial_exact"] == {"mse": 1 / 6}
            assert at["baselines"]["trivial"]["mse"]["mean"] == pytest.approx(1 / 6, rel=0.2)
            assert len(at["metrics"]["mse"]["values"]) == 2
        assert list(results["metrics"]) == ["mse", "accuracy"]
        assert results["metrics"] == results["lengths"]["8"]["metrics"]
        assert results["baselines"] == results["lengths"]["8"]["baselines"]

    def test_table_and_plots(self, learned):
        for length, at in learned.results["lengths"].items():
            mse = at["metrics"]["mse"]
            line = next(line for line in learned.ran.out.splitlines() if f"(2 seeds), length {length} " in line)
            assert f"{mse['mean']:.5f} ± {mse['std']:.5f}" in line
        for name in ("learning", "lengths"):
            assert (learned.folder / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")

    def test_again_it_only_prints(self, learned, monkeypatch):
        monkeypatch.setattr(fit, "train", lambda *args: pytest.fail("it must not train again"))
        again = run_in(learned.folder, *LEARNING)
        assert again.status == 0
        assert "this run is finished; its results:" in again.out
        first = learned.ran.out
        assert again.out.endswith(first[first.index("adding, length 8, test split:") :])

    def test_other_examples_are_noticed(self, learned, tmp_path):
        folder = tmp_path / "run"
        shutil.copytree(learned.folder, folder, ignore=shutil.ignore_patterns("checkpoints"))
        (folder / "data.txt").write_text("other\n")
        assert "was made with other data" in run_in(folder, *LEARNING).one_error()

    def test_a_stopped_run_continues_to_the_same_bits(self, learned, tmp_path):
        """From the checkpoint of the first epoch, and what is evaluated and drawn after it."""
        folder = tmp_path / "run"
        shutil.copytree(learned.folder, folder)
        (folder / "results.json").unlink()
        shutil.rmtree(folder / "plots")
        for step in ("200", "300"):
            shutil.rmtree(folder / "checkpoints" / step)
        assert run_in(folder, *LEARNING).status == 0
        assert without_times(results_of(folder)) == without_times(learned.results)
        assert (folder / "plots" / "lengths.png").is_file()


class TestCopying:
    @pytest.fixture
    def copying(self, tmp_path_factory):
        return finished(tmp_path_factory, "memory_copying")

    def test_results(self, copying):
        results = copying.results
        assert (results["dataset"], results["steps"], list(results["lengths"])) == ("copying", 2, ["10", "12"])
        assert list(results["metrics"]) == ["cross_entropy", "accuracy"]

    def test_the_gradient_through_time_is_logged(self, copying):
        """Before training and after each step; 10 blanks stand between 10 symbols and their 10 answers."""
        records = read_log(copying.folder / "metrics.jsonl")
        logged = {record["step"]: record["gradient_flow"]["layer 0"] for record in records}
        assert list(logged) == [0, 1, 2]
        assert {len(values) for values in logged.values()} == {30}
        assert logged[0] != logged[1] != logged[2]
        assert (copying.folder / "plots" / "gradient_flow_layer_0.png").is_file()

    def test_the_spectrum_is_logged(self, copying):
        """Of h and c of 6 units; zoneout and long memories keep the largest near zero."""
        records = read_log(copying.folder / "metrics.jsonl")
        logged = {record["step"]: record["spectrum"]["layer 0"] for record in records if "spectrum" in record}
        assert list(logged) == [0, 2]
        for exponents in logged.values():
            assert len(exponents) == 12
            assert exponents == sorted(exponents, reverse=True)
            assert -0.2 < exponents[0] < 0.05
        assert logged[0] != logged[2]
        assert (copying.folder / "plots" / "spectrum_layer_0.png").is_file()


class TestImages:
    def test_run(self, tmp_path):
        data = write_mnist(tmp_path / "data")
        arguments = (*TINY, "--task=permuted_mnist", data, "--epochs=2", "--num_examples=50")
        ran = run_in(tmp_path / "run", *arguments)
        assert ran.status == 0, ran.err
        assert "length 12, examples: 50 train, 5 validation, 12 test" in ran.out
        results = results_of(tmp_path / "run")
        assert (results["protocol"], results["steps"]) == ("length 12", 2 * 3)
        assert results["baselines"]["trivial"]["accuracy"]["mean"] < 0.5
        records = [r for r in read_log(tmp_path / "run" / "metrics.jsonl") if "validation_loss" in r]
        assert len(records) == 2
        for record in records:
            assert record["validation_loss"] == pytest.approx(1 - record["validation_accuracy"])
        shutil.rmtree(tmp_path / "data")
        assert "its data cannot be read any more" in run_in(tmp_path / "run", *arguments).out

    def test_pixels_are_read_in_order(self, tmp_path):
        data = write_mnist(tmp_path)
        sequential = read_problem(parse(EXPERIMENT.config, ["--task=sequential_mnist", data]))
        permuted = read_problem(parse(EXPERIMENT.config, ["--task=permuted_mnist", data]))
        xs, labels = sequential.take(sequential.data, "test", jnp.arange(12), 12)
        assert xs.shape == (12, 12, 1)
        np.testing.assert_allclose(xs[:, 0, 0] * 255, 10 * labels, rtol=1e-5)
        assert 0 <= xs.min() < xs.max() <= 1
        mixed, same = permuted.take(permuted.data, "test", jnp.arange(12), 12)
        np.testing.assert_array_equal(same, labels)
        np.testing.assert_array_equal(np.sort(mixed, axis=1), np.sort(xs, axis=1))
        assert not np.array_equal(mixed, xs)
        assert evaluation_lengths(parse(EXPERIMENT.config, ["--task=sequential_mnist", data]), sequential) == [12]

    def test_there_are_none(self, tmp_path):
        message = run_in(tmp_path / "run", "--task=sequential_mnist", f"--data_dir={tmp_path}").one_error()
        assert message.startswith("no train-images-idx3-ubyte and no train-images-idx3-ubyte.gz in")

    def test_more_than_there_are(self, tmp_path):
        arguments = ("--task=sequential_mnist", write_mnist(tmp_path), "--num_examples=56")
        assert run_in(tmp_path / "run", *arguments).one_error() == "--num_examples=56: there are 55 images"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--length=1"], "--length=1: --task=adding needs at least 2"),
        (["--task=temporal_order", "--length=9"], "--length=9: --task=temporal_order needs at least 10"),
        (["--evaluate_lengths=4,x"], "--evaluate_lengths=4,x: write whole numbers with commas between"),
        (["--evaluate_lengths=20,,30"], "--evaluate_lengths=20,,30: write whole numbers with commas between"),
        (
            ["--task=temporal_order", "--evaluate_lengths=20,9,8"],
            "--evaluate_lengths=9: --task=temporal_order needs at least 10",
        ),
        (["--evaluate_lengths=1000001"], "--evaluate_lengths=1000001: must be at most 1000000"),
        (["--flossing_every=2"], "--flossing_every=2: say with --flossing=K how many exponents"),
        (["--flossing=2", "--num_layers=2"], "--flossing=2: it goes with one layer in one direction"),
        (["--flossing=2", "--bidirectional"], "--flossing=2: it goes with one layer in one direction"),
        (["--flossing=7"], "--flossing=7: the carry has 6 numbers; take at most as many"),
        (["--flossing=13", "--cell=lstm"], "--flossing=13: the carry has 12 numbers; take at most as many"),
        (
            ["--task=permuted_mnist", "--length=784"],
            "--length: --task=permuted_mnist has the length of its images; leave it out",
        ),
        (
            ["--task=sequential_mnist", "--evaluate_lengths=20"],
            "--evaluate_lengths: --task=sequential_mnist has the length of its images; leave it out",
        ),
    ],
)
def test_contradictions(tmp_path, arguments, message):
    assert refused(EXPERIMENT.main, tmp_path, *TINY, *arguments) == message


def test_more_examples_in_a_batch_than_there_are(tmp_path):
    message = run_in(tmp_path / "run", *TINY, "--num_examples=15").one_error()
    assert message == "--batch_size=16: there are only 15 training examples"
    assert not (tmp_path / "run" / "results.json").exists()
