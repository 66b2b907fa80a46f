"""The one training run: flags arrive, the best parameters are kept, and what was trained on is noted."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from helpers.running import as_in_a_new_process, contents

from experiments.common import fit as fitting
from experiments.common import results
from experiments.common.fit import Look, fit, float_data, initializer, make_probes
from experiments.common.flags import UsageError
from experiments.common.training import TrainConfig, recurrent_options
from rnn_jax import models
from rnn_jax.models import SequenceModel
from rnn_jax.training.checkpoints import load_params
from rnn_jax.training.log import read_log
from rnn_jax.training.step import Task

EXAMPLES, VALIDATION = 40, 12
SMALL = {"cell": "rnn", "hidden_size": 3, "batch_size": 8, "backend": "scan", "schedule": "constant"}
LONG = {"epochs": 20, "num_seeds": 2, "seed": 5, "learning_rate": 0.05}
LOOK = Look(lambda data: ((data["x"][:2],), None), lambda outputs: outputs[:, 0], "the output")


def make_model(config, rngs):
    return SequenceModel(config.cell, 2, config.hidden_size, 1, rngs=rngs, **recurrent_options(config))


def make_data():
    """The sum of the first inputs of 4 steps, noisy: a network that goes on training learns the noise."""
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(EXAMPLES + VALIDATION, 4, 2)).astype(np.float32)
    return {"x": xs, "y": xs[..., 0].sum(axis=1, keepdims=True) + rng.normal(size=(len(xs), 1)).astype(np.float32)}


def make_task(config):
    apply, _ = models.pure(make_model(config, nnx.Rngs(0)))

    def loss(params, batch, key):
        return jnp.mean((apply(params, batch["x"]) - batch["y"]) ** 2), {}

    def take(data, indices):
        return {name: array[indices] for name, array in data.items()}

    def evaluate(params, data):
        return {"loss": loss(params, {name: array[EXAMPLES:] for name, array in data.items()}, None)[0]}

    return Task(initializer(lambda rngs: make_model(config, rngs)), loss, take, evaluate, EXAMPLES)


def fit_in(folder, data=None, **options):
    config = TrainConfig(**{**SMALL, **options.pop("flags", {})})
    with as_in_a_new_process():
        model = make_model(config, nnx.Rngs(config.seed))
        options = {"fingerprint": "a", **options}
        return fit(config, "a name", make_task(config), model, data or make_data(), folder, **options)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Two seeds, trained for longer than is good for them."""
    folder = tmp_path_factory.mktemp("fitted") / "run"
    return folder, fit_in(folder, flags=LONG)


class TestFitted:
    def test_record(self, fitted):
        record = fitted[1].record
        assert set(record) == {
            "experiment", "cell", "backend", "num_params", "seeds", "best_epochs", "best_validation_losses", "steps",
            "compile_seconds", "train_seconds",
        }  # fmt: skip
        assert {key: record[key] for key in ("experiment", "cell", "backend", "num_params", "seeds", "steps")} == {
            "experiment": "a name",
            "cell": "rnn",
            "backend": "scan",
            "num_params": 3 * (2 + 3 + 1) + 3 + 1,
            "seeds": [5, 6],
            "steps": 20 * 5,
        }
        assert record["compile_seconds"] > 0
        assert record["train_seconds"] > 0

    def test_the_best_parameters_not_the_last(self, fitted):
        folder, found = fitted
        losses = np.array([r["validation_losses"] for r in read_log(folder / "metrics.jsonl")])
        assert (losses.argmin(axis=0) < 19).all(), "the last are the best here: nothing to see"
        assert found.record["best_epochs"] == (losses.argmin(axis=0) + 1).tolist()
        assert found.record["best_validation_losses"] == losses.min(axis=0).tolist()
        config = TrainConfig(**SMALL)
        with as_in_a_new_process():
            evaluated = found.of_each_seed(make_task(config).evaluate, jax.tree.map(jnp.asarray, make_data()))["loss"]
        np.testing.assert_allclose(evaluated, losses.min(axis=0), rtol=1e-5)

    def test_those_of_the_first_seed_are_kept(self, fitted):
        folder, found = fitted
        kept = load_params(folder / results.MODEL, found.first)
        for a, b, both in zip(*map(jax.tree.leaves, (kept, found.first, found.params)), strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, both[0])
        assert any((leaf[0] != leaf[1]).any() for leaf in jax.tree.leaves(found.params))

    def test_a_function_of_each_seed(self, fitted):
        _, found = fitted
        norms, doubled = found.of_each_seed(lambda params, two: (optax.tree.norm(params), 2 * two), jnp.arange(3))
        assert norms.shape == (2,)
        np.testing.assert_allclose(norms[0], optax.tree.norm(found.first), rtol=1e-6)
        assert norms[0] != norms[1]
        np.testing.assert_array_equal(doubled, [[0, 2, 4]] * 2)

    def test_again_it_does_not_train(self, fitted):
        folder, found = fitted
        again = fit_in(folder, flags=LONG)
        for a, b in zip(*map(jax.tree.leaves, (again.params, found.params)), strict=True):
            np.testing.assert_array_equal(a, b)
        assert again.record["train_seconds"] == found.record["train_seconds"]


class TestData:
    def test_is_noted(self, fitted):
        assert (fitted[0] / "data.txt").read_text() == "a\n"

    def test_of_another_fingerprint(self, fitted):
        with pytest.raises(UsageError, match=r"was made with other data \(data\.txt\)"):
            fit_in(fitted[0], fingerprint="b")

    def test_fewer_examples_than_a_batch(self, tmp_path):
        message = r"^--batch_size=41: there are only 40 training examples$"
        with pytest.raises(UsageError, match=message):
            fit_in(tmp_path, flags={"batch_size": 41})
        assert not list(tmp_path.iterdir()), "the same folder shall serve for other data"


class TestBackend:
    def begun_on(self, folder, backend, **options):
        """A run of `auto` on a machine where that stands for this one."""
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(fitting, "backend_in_use", lambda config: backend)
            return fit_in(folder, **options)

    def test_is_noted(self, fitted):
        assert (fitted[0] / "backend.txt").read_text() == "scan\n"

    @pytest.mark.parametrize(
        ("began", "goes_on", "advice"),
        [
            ("native", "manual", "put its C++ compiler back, take RNN_JAX_NATIVE=0 away"),
            ("cudnn", "scan", "go on on a machine with cudnn"),
        ],
    )
    def test_another_one_is_refused_before_anything_changes(self, tmp_path, began, goes_on, advice):
        self.begun_on(tmp_path, began)
        before = contents(tmp_path)
        with pytest.raises(UsageError) as error:
            self.begun_on(tmp_path, goes_on)
        assert str(error.value) == (
            f"--workdir={tmp_path} was begun on the back end {began} (backend.txt), here it would go on on {goes_on}; "
            f"{advice}, or begin anew in another folder with --backend={goes_on}"
        )
        assert contents(tmp_path) == before

    def test_a_run_of_an_older_version_goes_on_with_a_remark(self, tmp_path, capsys):
        fit_in(tmp_path)
        (tmp_path / "backend.txt").unlink()
        capsys.readouterr()
        fit_in(tmp_path)
        told = f"--workdir={tmp_path}: no backend.txt there, as of an older version: it goes on on scan\n"
        assert told in capsys.readouterr().err
        assert (tmp_path / "backend.txt").read_text() == "scan\n"

    @pytest.mark.parametrize("name", ["backend.txt", "data.txt"])
    @pytest.mark.parametrize("content", ["", "\n", "a\nb\n", None])
    def test_a_damaged_note(self, tmp_path, name, content):
        (tmp_path / "data.txt").write_text("a\n")
        if content is None:
            (tmp_path / name).unlink(missing_ok=True)
            (tmp_path / name).mkdir()
        else:
            (tmp_path / name).write_text(content)
        with pytest.raises(UsageError, match=rf"^--workdir=.*: {name} there is damaged; put it back or name another"):
            fit_in(tmp_path)

    def test_checkpoints_of_data_that_nobody_knows(self, tmp_path):
        fit_in(tmp_path)
        (tmp_path / "data.txt").unlink()
        with pytest.raises(UsageError, match=r"data\.txt is missing there, though checkpoints are not; put it back"):
            fit_in(tmp_path, fingerprint="b")


def test_a_folder_that_is_removed_meanwhile_is_not_made_again(tmp_path):
    def finish(params, data):
        return params

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(fitting.Fitted, "of_each_seed", lambda *given: shutil.rmtree(tmp_path / "run"))
        with pytest.raises(UsageError, match=r"^--workdir=.*run is no longer there$"):
            fit_in(tmp_path / "run", finish=finish)
    assert not (tmp_path / "run").exists()


class Enough(Exception):
    """Raised instead of training."""


@pytest.fixture
def arrived(monkeypatch):
    """What `make_functions` and `train` are called with."""
    seen = {}
    make_functions = fitting.make_functions

    def noting(task, optimizer, **options):
        seen.update(options, optimizer=optimizer)
        return make_functions(task, optimizer, **options)

    def train(functions, seeds, data, schedule, workdir, learning_rate, probes, feed):
        seen.update(seeds=seeds, schedule=schedule, learning_rate=learning_rate, probes=probes)
        raise Enough

    monkeypatch.setattr(fitting, "make_functions", noting)
    monkeypatch.setattr(fitting, "train", train)

    def of(folder, **options):
        with pytest.raises(Enough):
            fit_in(folder, **options)
        return seen

    return of


class TestFlagsArrive:
    def test_durations(self, arrived, tmp_path):
        flags = {"epochs": 7, "steps_per_dispatch": 2, "keep": 4, "num_seeds": 3, "patience": 6, "batch_size": 4}
        seen = arrived(tmp_path, flags=flags, average_decay=0.5)
        schedule = seen["schedule"]
        assert (schedule.steps_per_epoch, schedule.epochs, schedule.keep) == (10, 7, 4)
        assert schedule.steps_per_dispatch == 2
        assert seen["seeds"] == [0, 1, 2]
        assert (seen["batch_size"], seen["patience"], seen["average_decay"]) == (4, 6, 0.5)
        assert seen["devices"].mesh.size == 1

    def test_an_epoch_in_equal_dispatches(self, arrived, tmp_path):
        assert arrived(tmp_path, flags={"batch_size": 1, "steps_per_dispatch": 25})["schedule"].steps_per_dispatch == 20

    def test_the_learning_rate(self, arrived, tmp_path):
        flags = {"learning_rate": 0.5, "schedule": "linear", "warmup_steps": 2, "epochs": 2}  # 10 steps
        rate = arrived(tmp_path, flags=flags)["learning_rate"]
        np.testing.assert_allclose([rate(step) for step in (0, 1, 2, 6, 10)], [0, 0.25, 0.5, 0.25, 0], atol=1e-7)

    @pytest.mark.parametrize(
        ("flags", "moved"),
        [
            ({"optimizer": "sgd", "clip_norm": 0.0}, -0.5 * 4),
            ({"optimizer": "sgd", "clip_norm": 1.0}, -0.5 * 1),
            ({"optimizer": "adamw", "clip_norm": 0.0, "weight_decay": 0.1}, -0.5 * (1 + 0.1 * 2)),
        ],
    )
    def test_the_optimizer(self, arrived, tmp_path, flags, moved):
        optimizer = arrived(tmp_path, flags={"learning_rate": 0.5, **flags})["optimizer"]
        params, gradient = {"w": jnp.float32(2)}, {"w": jnp.float32(4)}
        update, _ = optimizer.update(gradient, optimizer.init(params), params)
        assert float(update["w"]) == pytest.approx(moved, rel=1e-5)

    def test_what_else_happens_around_a_step(self, arrived, tmp_path):
        none = optax.set_to_zero()
        seen = arrived(tmp_path, wrap_optimizer=lambda optimizer: none)
        assert seen["optimizer"] is none

    def test_where_to_look(self, arrived, tmp_path):
        flags = {"gradient_flow_every": 7, "spectrum_every": 5}
        assert arrived(tmp_path / "a", look=LOOK)["probes"] == []
        assert arrived(tmp_path / "b", flags=flags)["probes"] == []
        probes = arrived(tmp_path / "c", look=LOOK, flags=flags)["probes"]
        assert [(probe.name, probe.every) for probe in probes] == [("gradient_flow", 7), ("spectrum", 5)]


def test_the_gradient_that_is_looked_at():
    """Of the score with respect to the state after each step, against finite differences of the last one."""
    config = TrainConfig(**SMALL, gradient_flow_every=1)
    with as_in_a_new_process():
        model = make_model(config, nnx.Rngs(0))
        (probe,) = make_probes(config, model, LOOK)
        params = models.pure(model)[1]
        found = probe.look(params, jax.tree.map(jnp.asarray, make_data()))
        head = np.asarray(params["head"]["kernel"])[:, 0]
    assert found["layer 0"].shape == (4,)
    np.testing.assert_allclose(10 ** found["layer 0"][0], np.linalg.norm(head), rtol=1e-4)


def test_data_in_the_type_of_the_model():
    array = np.arange(3.0)
    kinds = {
        dtype: float_data(TrainConfig(dtype=dtype), array).dtype.name for dtype in ("float32", "bfloat16", "float64")
    }
    assert kinds == {"float32": "float32", "bfloat16": "float32", "float64": "float64"}
