"""A finished run, rebuilt from its folder: the model that it was, the folder as it was, or one clear line."""

import json
import shutil

import jax
import numpy as np
import pytest
from helpers.finished import finished
from helpers.running import as_in_a_new_process, contents, run, sign

from experiments import launchable
from experiments.common.flags import UsageError
from experiments.common.restore import restore
from experiments.forecast import run as forecast_run
from experiments.forecast import task as forecast
from experiments.memory import task as memory
from experiments.memory.problem import read_problem
from experiments.text import task as text
from rnn_jax import metrics, models
from rnn_jax.training.errors import TrainingError


def forecast_mse(restored):
    """Of the restored model on the test split."""
    config, windows = forecast_run.read(restored.config)
    data, sizes = jax.device_put(forecast.device_data(config, windows)), restored.results["model"]
    apply, _ = models.pure(restored.model)
    predict = jax.jit(lambda params: forecast.predict(config, sizes, apply, params, data, windows.test))
    predictions = windows.in_units(np.asarray(predict(restored.params))[..., 0], windows.test)
    naive = np.zeros_like(predictions)
    return metrics.regression(windows.targets(windows.test), predictions, naive)["mse"]


def text_accuracy(restored):
    """Of the restored model on the test split."""
    corpus = text.make_corpus(restored.config, text.read_reviews(restored.config))
    apply, _ = models.pure(restored.model)
    batches, part = text.batches_of(corpus, "test"), corpus.part("test")
    score = jax.jit(lambda params, data: text.scores_of(apply, params, data, part, batches, False))
    scores = score(restored.params, jax.device_put(text.device_data(corpus)))
    return np.mean(np.asarray(scores).argmax(axis=-1) == corpus.data.test.labels)


def memory_mse(restored):
    """Of the restored model on the test split."""
    problem = read_problem(restored.config)
    apply, _ = models.pure(restored.model)

    @jax.jit
    def measure(params):
        return memory.mean_measures(problem, lambda xs, _: apply(params, xs), problem.data, "test", problem.length)

    return measure(restored.params)["mse"]


@pytest.mark.parametrize(
    ("name", "measure", "measured"),
    [("forecast", forecast_mse, "mse"), ("imdb", text_accuracy, "accuracy"), ("memory", memory_mse, "mse")],
)
def test_the_same_predictions_from_an_untouched_folder(tmp_path_factory, name, measure, measured):
    """The figure that the first seed's best parameters had, to what the order of sums changes."""
    made = finished(tmp_path_factory, name)
    before = contents(made.folder)
    with as_in_a_new_process():
        restored = restore(made.folder, "run")
        found = float(measure(restored))
    of_first, of_second = made.results["metrics"][measured]["values"]
    assert found == pytest.approx(of_first, rel=1e-4)
    if measured == "mse":
        assert found != pytest.approx(of_second, rel=1e-3), "another seed would do"
    assert restored.name == name
    assert restored.results == made.results
    assert restored.config.backend == "auto"
    assert contents(made.folder) == before


@pytest.fixture
def copied(tmp_path_factory, tmp_path):
    """A run of its own, to damage."""
    folder = tmp_path / "run"
    source = finished(tmp_path_factory, "memory").folder
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("checkpoints", "plots", "events"))
    return folder


def change_results(folder, **changes):
    found = json.loads((folder / "results.json").read_text()) | changes
    kept = {name: value for name, value in found.items() if value is not None}
    (folder / "results.json").write_text(json.dumps(kept))
    sign(folder)


def refusal(folder):
    """The one line, with the flag in front."""
    with as_in_a_new_process(), pytest.raises(UsageError) as error:
        restore(folder, "run")
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"--run={folder}: ")
    return message.removeprefix(f"--run={folder}: ")


class TestOneLine:
    UNFINISHED = "no finished run with a model there; train one to its end first"

    def test_no_folder(self, tmp_path):
        assert refusal(tmp_path / "nowhere") == self.UNFINISHED
        assert refusal(tmp_path) == self.UNFINISHED
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("file", ["results.json", "flags.txt"])
    def test_a_run_that_is_not_finished(self, copied, file):
        (copied / file).unlink()
        assert refusal(copied) == self.UNFINISHED

    def test_a_run_that_trained_nothing(self, tmp_path_factory):
        assert refusal(finished(tmp_path_factory, "vanishing").folder) == self.UNFINISHED

    def test_a_run_of_an_older_form(self, copied):
        change_results(copied, model=None)
        older = "results.json there has no sizes of a model, as of an older version; train it anew"
        assert refusal(copied) == older

    def test_a_run_of_a_model_of_other_sizes(self, copied):
        change_results(copied, model={"input_size": 1})
        older = "results.json there is of another version: missing a required argument: 'output_size'; train it anew"
        assert refusal(copied) == older

    @pytest.mark.parametrize(
        "sizes",
        [
            [],
            {"input_size": "1", "output_size": 1, "every_step": False},
            {"input_size": -1, "output_size": 1, "every_step": False},
            {"input_size": None, "output_size": 1, "every_step": False},
        ],
    )
    def test_sizes_of_no_model(self, copied, sizes):
        change_results(copied, model=sizes)
        assert refusal(copied).startswith("results.json there is of another version: ")

    @pytest.mark.parametrize("size", [10**12, 10**30])
    def test_sizes_beyond_any_memory(self, copied, size):
        """Shapes alone are compared: nothing of that size is made."""
        change_results(copied, model={"input_size": size, "output_size": size, "every_step": False})
        with as_in_a_new_process(), pytest.raises(TrainingError, match="no parameters of this model can be read"):
            restore(copied, "run")

    @pytest.mark.parametrize("name", [None, "memory_tasks"])
    def test_an_experiment_that_there_is_no_longer(self, copied, name):
        change_results(copied, experiment=name)
        assert refusal(copied) == "results.json there is of no experiment that there is; train it anew"

    @pytest.mark.parametrize("line", ["--attention=true", "--backend=without_dc", "--hidden_size=0"])
    def test_flags_of_another_version(self, copied, line):
        with (copied / "flags.txt").open("a") as file:
            file.write(f"{line}\n")
        sign(copied)
        message = refusal(copied)
        assert message.startswith("flags.txt there is of another version: ")
        assert line.removeprefix("--").split("=")[0] in message

    def test_parameters_of_another_model(self, copied):
        change_results(copied, model={"input_size": 3, "output_size": 1, "every_step": False})
        ran = run(launchable("vanishing").main, f"--workdir={copied.parent / 'look'}", f"--run={copied}")
        assert "no parameters of this model can be read from" in ran.one_error()

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax's reads end after its loop
    def test_a_damaged_file(self, copied):
        largest = max((copied / "model").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
        largest.unlink()
        sign(copied)
        before = contents(copied)
        ran = run(launchable("vanishing").main, f"--workdir={copied.parent / 'look'}", f"--run={copied}")
        assert "no parameters of this model can be read from" in ran.one_error()
        assert contents(copied) == before
