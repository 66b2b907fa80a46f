"""The long-memory tasks end to end: a short sum is learnt, figures are those of the model, and errors are one line."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from helpers.running import Ran, as_in_a_new_process, once, run

from experiments.common.flags import UsageError, parse
from experiments.memory import flossing as memory_flossing
from experiments.memory import main as memory
from experiments.memory import task as memory_task
from experiments.memory.task import Config, mean_measures, read_problem
from rnn_jax import models
from rnn_jax.data.tasks import memory_tasks
from rnn_jax.training.log import read_log

TINY = ("--backend=scan", "--hidden_size=6", "--batch_size=16", "--num_evaluation=20")
SUM = (
    "--backend=scan",
    "--length=8",
    "--hidden_size=16",
    "--batch_size=32",
    "--num_examples=3200",
    "--epochs=3",
    "--num_evaluation=300",
)
LEARNING = (*SUM, "--learning_rate=0.02", "--num_seeds=2", "--evaluate_lengths=4")

RESULTS = {
    "experiment", "dataset", "protocol", "cell", "num_params", "seeds", "metrics", "baselines", "steps",
    "compile_seconds", "train_seconds", "device", "versions",
}  # fmt: skip


def run_in(folder, *arguments) -> Ran:
    return run(memory.main, f"--workdir={folder}", *arguments)


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


def without_times(results):
    return {name: value for name, value in results.items() if name not in ("compile_seconds", "train_seconds")}


def write_mnist(folder, num_train=60, num_test=12):
    """Images of 3 x 4 pixels: the digit is the first pixel's brightness, in tens."""
    rng = np.random.default_rng(0)
    (folder / "mnist").mkdir(parents=True)
    for name, count in (("train", num_train), ("t10k", num_test)):
        labels = rng.integers(0, 10, count).astype(np.uint8)
        images = rng.integers(0, 256, (count, 3, 4)).astype(np.uint8)
        images[:, 0, 0] = 10 * labels
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
            (folder / "mnist" / f"{name}-{kind}-ubyte").write_bytes(header + array.tobytes())
    return f"--data_dir={folder}"


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """Two seeds that learn to add; no test may change the folder."""
    return once(tmp_path_factory, "memory_learned", lambda folder: run_in(folder, *LEARNING))


class TestAdding:
    def test_learns(self, learned):
        folder, ran = learned
        assert ran.status == 0, ran.err
        results = results_of(folder)
        assert all(value < 0.1 / 6 for value in results["metrics"]["mse"]["values"])
        assert results["metrics"]["accuracy"]["mean"] > 2 * results["baselines"]["trivial"]["accuracy"]["mean"]

    def test_results_hold_what_is_promised(self, learned):
        results = results_of(learned[0])
        assert set(results) >= RESULTS
        assert (results["experiment"], results["dataset"], results["protocol"]) == ("memory", "adding", "length 8")
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
        folder, ran = learned
        found = results_of(folder)
        for length, at in found["lengths"].items():
            mse = at["metrics"]["mse"]
            line = next(line for line in ran.out.splitlines() if f"(2 seeds), length {length} " in line)
            assert f"{mse['mean']:.5f} ± {mse['std']:.5f}" in line
        for name in ("learning", "lengths"):
            assert (folder / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")

    def test_again_it_only_prints(self, learned, monkeypatch):
        folder, first = learned
        monkeypatch.setattr(memory, "train", lambda *args: pytest.fail("it must not train again"))
        again = run_in(folder, *LEARNING)
        assert again.status == 0
        assert "this run is finished; its results:" in again.out
        assert again.out.endswith(first.out[first.out.index("adding, length 8, test split:") :])

    def test_other_examples_are_noticed(self, learned, tmp_path):
        folder = tmp_path / "run"
        shutil.copytree(learned[0], folder)
        (folder / "data.txt").write_text("other\n")
        assert "was made with other data" in run_in(folder, *LEARNING).one_error()

    def test_a_stopped_run_continues_to_the_same_bits(self, learned, tmp_path):
        """From the checkpoint of the first epoch, and what is evaluated and drawn after it."""
        folder = tmp_path / "run"
        shutil.copytree(learned[0], folder)
        (folder / "results.json").unlink()
        shutil.rmtree(folder / "plots")
        for step in ("200", "300"):
            shutil.rmtree(folder / "checkpoints" / step)
        assert run_in(folder, *LEARNING).status == 0
        assert without_times(results_of(folder)) == without_times(results_of(learned[0]))
        assert (folder / "plots" / "lengths.png").is_file()


@pytest.mark.parametrize(
    ("task", "length", "trivial"),
    [("copying", 3, 10 * np.log(8) / 23), ("temporal_order", 10, np.log(4)), ("adding", 5, 1 / 6)],
)
class TestTrivialAnswers:
    def problem(self, task, length):
        return read_problem(parse(Config, [f"--task={task}", f"--length={length}", "--num_evaluation=2000"]))

    def test_level(self, task, length, trivial):
        """Measured on the examples and calculated."""
        problem = self.problem(task, length)
        found = mean_measures(problem, lambda _, targets: problem.trivial(targets), {}, "test", length)
        exact = problem.exact(length)
        assert float(found[problem.loss]) == pytest.approx(trivial, rel=0.05)
        assert exact[problem.loss] == pytest.approx(trivial)
        if "accuracy" in exact:
            assert float(found["accuracy"]) == pytest.approx(exact["accuracy"], rel=0.1)

    def test_splits_share_no_example(self, task, length, trivial):
        problem = self.problem(task, 30)
        xs = [np.asarray(problem.take({}, split, jnp.arange(50), 30)[0]) for split in memory_task.SPLITS]
        assert len({x.tobytes() for split in xs for x in split}) == 150

    def test_a_perfect_answer(self, task, length, trivial):
        problem = self.problem(task, length)

        def answer(xs, targets):
            return targets if task == "adding" else 50.0 * jax.nn.one_hot(targets, problem.num_outputs)

        found = mean_measures(problem, answer, {}, "validation", length)
        assert float(found[problem.loss]) == pytest.approx(0, abs=1e-6)
        assert found["accuracy"] == 1


class TestMeasures:
    def test_recall_counts_the_ten_symbols_alone(self):
        """All blanks right, and three of the symbols."""
        _, targets = memory_tasks.examples(memory_tasks.copying, jax.random.key(0), jnp.arange(1), 4)
        said = targets.at[0, -7:].set((targets[0, -7:] + 1) % 8)
        found = memory_task.recall(9.0 * jax.nn.one_hot(said, 9), targets)
        assert found["accuracy"].tolist() == pytest.approx([0.3])
        entropy = np.log(np.exp(9) + 8)
        assert found["cross_entropy"].tolist() == pytest.approx([(17 * (entropy - 9) + 7 * entropy) / 24])

    def test_close_sums(self):
        found = memory_task.regression(jnp.array([[1.03], [0.95], [2.0]]), jnp.ones((3, 1)))
        assert found["accuracy"].tolist() == [1, 0, 0]
        np.testing.assert_allclose(found["mse"], [0.0009, 0.0025, 1], rtol=1e-4)

    @pytest.mark.parametrize("at_once", [1, 40, 10**9])
    def test_every_example_counts_once(self, monkeypatch, at_once):
        """Whatever the batches that they are evaluated in."""
        monkeypatch.setattr(memory_task, "STEPS_AT_ONCE", at_once)
        problem = read_problem(parse(Config, ["--length=6", "--num_evaluation=17"]))
        found = mean_measures(problem, lambda xs, _: xs[:, -1, :1], {}, "test", 6)
        xs, targets = problem.take({}, "test", jnp.arange(17), 6)
        assert float(found["mse"]) == pytest.approx(float(jnp.mean((xs[:, -1, :1] - targets) ** 2)), rel=1e-5)

    def test_the_model_answers_at_every_step_or_at_the_end(self):
        for task, shape in (("copying", (2, 25, 9)), ("temporal_order", (2, 4)), ("adding", (2, 1))):
            config = parse(Config, [f"--task={task}", "--length=20", "--hidden_size=3", "--backend=scan"])
            problem = read_problem(config)
            model = memory_task.make_model(config, problem, nnx.Rngs(0))
            xs, _ = problem.take({}, "train", jnp.arange(2), 5 if task == "copying" else 20)
            assert model(xs).shape == shape


class TestOtherTasks:
    def test_copying(self, tmp_path):
        arguments = ("--task=copying", "--length=10", "--num_examples=32", "--epochs=1", "--evaluate_lengths=12")
        ran = run_in(tmp_path / "run", *TINY, *arguments)
        assert ran.status == 0, ran.err
        results = results_of(tmp_path / "run")
        assert (results["dataset"], results["steps"], list(results["lengths"])) == ("copying", 2, ["10", "12"])
        assert list(results["metrics"]) == ["cross_entropy", "accuracy"]

    def test_images(self, tmp_path):
        data = write_mnist(tmp_path / "data")
        arguments = ("--task=permuted_mnist", data, "--epochs=2", "--num_examples=50")
        ran = run_in(tmp_path / "run", *TINY, *arguments)
        assert ran.status == 0, ran.err
        assert "length 12, examples: 50 train, 5 validation, 12 test" in ran.out
        results = results_of(tmp_path / "run")
        assert (results["protocol"], results["steps"]) == ("length 12", 2 * 3)
        assert results["baselines"]["trivial"]["accuracy"]["mean"] < 0.5
        records = [r for r in read_log(tmp_path / "run" / "metrics.jsonl") if "validation_loss" in r]
        for record in records:
            assert record["validation_loss"] == pytest.approx(1 - record["validation_accuracy"])
        shutil.rmtree(tmp_path / "data")
        assert "its data cannot be read any more" in run_in(tmp_path / "run", *TINY, *arguments).out

    def test_pixels_are_read_in_order(self, tmp_path):
        data = write_mnist(tmp_path)
        sequential = read_problem(parse(Config, ["--task=sequential_mnist", data]))
        permuted = read_problem(parse(Config, ["--task=permuted_mnist", data]))
        xs, labels = sequential.take(sequential.data, "test", jnp.arange(12), 12)
        assert xs.shape == (12, 12, 1)
        np.testing.assert_allclose(xs[:, 0, 0] * 255, 10 * labels, rtol=1e-5)
        assert 0 <= xs.min() < xs.max() <= 1
        mixed, same = permuted.take(permuted.data, "test", jnp.arange(12), 12)
        np.testing.assert_array_equal(same, labels)
        np.testing.assert_array_equal(np.sort(mixed, axis=1), np.sort(xs, axis=1))
        assert not np.array_equal(mixed, xs)


class TestFlossing:
    def test_before_training(self):
        """It brings the exponents of what training begins with nearer to 0, on examples it has not seen."""
        with as_in_a_new_process():
            arguments = ["--length=20", "--hidden_size=8", "--cell=rnn", "--flossing=2", "--learning_rate=0.01"]
            config = parse(Config, [*arguments, "--flossing_steps=40"])
            problem = read_problem(config)

            def init(key):
                return models.pure(memory_task.make_model(config, problem, nnx.Rngs(key)))[1]

            loss = memory_flossing.make_loss(config, problem)
            flossed = jax.jit(memory_flossing.before_training(config, problem, init))(jax.random.key(0))
            before, after = (float(loss(p, jax.random.key(9))) for p in (init(jax.random.key(0)), flossed))
        assert after < 0.3 * before

    def test_during_training_at_every_kth_step(self):
        with as_in_a_new_process():
            config = parse(Config, ["--length=10", "--hidden_size=4", "--flossing=1", "--flossing_every=3"])
            problem = read_problem(config)
            params = models.pure(memory_task.make_model(config, problem, nnx.Rngs(0)))[1]
            inner = optax.GradientTransformation(lambda params: (), lambda grads, state, params: (grads, state))
            optimizer = memory_flossing.during_training(config, problem, inner)
            zeros, state, seen = jax.tree.map(jnp.zeros_like, params), optimizer.init(params), []
            update = jax.jit(optimizer.update)
            for _ in range(7):
                grads, state = update(zeros, state, params)
                seen.append(grads)
        floss = [float(jnp.abs(grads["recurrent"]["layers"][0]["w_hh"]).max()) > 0 for grads in seen]
        assert floss == [False, False, True, False, False, True, False]
        assert all(not grads["head"]["kernel"].any() for grads in seen)

    def test_runs(self, tmp_path):
        arguments = ("--flossing=2", "--flossing_steps=2", "--flossing_every=1", "--cell=lstm", "--length=6")
        ran = run_in(tmp_path / "run", *TINY, *arguments, "--num_examples=32", "--epochs=1", "--evaluate_lengths=6")
        assert ran.status == 0, ran.err
        assert results_of(tmp_path / "run")["steps"] == 2


def test_the_gradient_through_time_is_logged(tmp_path):
    arguments = ("--task=temporal_order", "--length=10", "--num_examples=32", "--epochs=1", "--evaluate_lengths=10")
    ran = run_in(tmp_path / "run", *TINY, *arguments, "--gradient_flow_every=1", "--chrono=10", "--zoneout=0.1")
    assert ran.status == 0, ran.err
    logged = [r["gradient_flow"]["layer 0"] for r in read_log(tmp_path / "run" / "metrics.jsonl")]
    assert [len(values) for values in logged] == [10] * 3
    assert (tmp_path / "run" / "plots" / "gradient_flow_layer_0.png").is_file()
    assert (tmp_path / "run" / "model").is_dir()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--length=1"], "--length=1: --task=adding needs at least 2"),
        (["--task=temporal_order", "--length=9"], "--length=9: --task=temporal_order needs at least 10"),
        (
            ["--evaluate_lengths=4,x"],
            "--evaluate_lengths=4,x: 'x' is no length; write whole numbers from 2 to 1000000 with commas between",
        ),
        (
            ["--task=temporal_order", "--evaluate_lengths=20,,30"],
            "--evaluate_lengths=20,,30: '' is no length; write whole numbers from 10 to 1000000 with commas between",
        ),
        (["--num_examples=15"], "--batch_size=16: there are only 15 training examples"),
        (["--flossing_every=2"], "--flossing_every=2: say with --flossing=K how many exponents"),
        (["--flossing=2", "--num_layers=2"], "--flossing=2: it goes with one layer in one direction"),
        (["--flossing=2", "--bidirectional"], "--flossing=2: it goes with one layer in one direction"),
        (["--flossing=7"], "--flossing=7: the carry has 6 numbers; take at most as many"),
        (["--flossing=13", "--cell=lstm"], "--flossing=13: the carry has 12 numbers; take at most as many"),
        (
            ["--task=permuted_mnist", "--length=784"],
            "--length=784: --task=permuted_mnist has the length of its images; leave it out",
        ),
    ],
)
def test_errors(tmp_path, arguments, message):
    assert run_in(tmp_path / "run", *TINY, *arguments).one_error() == message
    assert not (tmp_path / "run" / "results.json").exists()


def test_errors_of_images(tmp_path):
    message = run_in(tmp_path / "run", "--task=sequential_mnist", f"--data_dir={tmp_path}").one_error()
    assert message.startswith("no train-images-idx3-ubyte and no train-images-idx3-ubyte.gz in")
    data = write_mnist(tmp_path / "data")
    with pytest.raises(UsageError, match="--num_examples=56: there are 55 images"):
        read_problem(parse(Config, ["--task=sequential_mnist", data, "--num_examples=56"]))
    config = parse(Config, ["--task=sequential_mnist", data, "--evaluate_lengths=20"])
    with pytest.raises(UsageError, match="--evaluate_lengths: images have 12 pixels; leave the flag out"):
        memory_task.evaluation_lengths(config, read_problem(config))


def test_lengths_beyond_training_by_default():
    config = parse(Config, ["--length=50"])
    assert memory_task.evaluation_lengths(config, read_problem(config)) == [50, 100, 200]
