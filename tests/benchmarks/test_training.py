"""The loops that are timed against PyTorch's train the same model on the same batches; contenders are compared."""

import dataclasses
import doctest
import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from benchmarks import forecast_epoch, imdb_epoch, training
from benchmarks.training import compare_and_time, largest_difference, save
from rnn_jax.data.series import synthetic
from rnn_jax.data.series.forecasting import make_task

SMALL = {"hidden_size": 4, "batch_size": 8, "num_devices": 1}
TEXTS = {"vocab_size": 50, "embedding_size": 3, "max_tokens": 20, "num_lengths": 2}
STEPS = 3

CONTENDER = """
import time
from benchmarks.child import epochs, serve
def train(first, count):
    if {dies} and count > 1:
        raise SystemExit("died in its {{count}}")
    return {scale} / (1 + first)
serve(lambda: epochs(train, steps=5, compared=3))
"""


def contender(scale=2.0, dies=False):
    return ["-c", CONTENDER.format(scale=scale, dies=dies)]


def first_losses(made):
    """And that they differ: the steps are steps."""
    losses = [float(made.train(step, 1)) for step in range(STEPS)]
    assert len(set(losses)) == STEPS
    return losses


def test_the_forecasts():
    pytest.importorskip("torch")
    from benchmarks.forecast_pytorch import make_training

    config = dataclasses.replace(forecast_epoch.CONFIG, lag=6, **SMALL)
    made, given = forecast_epoch.prepare(config, hours=100)
    assert given["windows"].shape == (len(given["targets"]), 6)
    np.testing.assert_array_equal(given["windows"][6:, 0], given["targets"][:-6, 0])
    losses = {"ours": first_losses(made), "pytorch": first_losses(make_training(given))}
    assert largest_difference(losses) < 1e-5


ON_TWO_DEVICES = """
import dataclasses, json
import jax
jax.config.update("jax_num_cpu_devices", 2)
from benchmarks import forecast_epoch

found = []
for num_devices in (1, 2):
    config = dataclasses.replace(
        forecast_epoch.CONFIG, lag=6, hidden_size=4, batch_size=8, backend="manual", num_devices=num_devices
    )
    made, _ = forecast_epoch.prepare(config, hours=101)
    found.append([float(made.train(step, 1)) for step in range(3)])
print(json.dumps(found))
"""


def test_a_batch_split_over_devices():
    """Each keeps a part of the series, also of one that they do not divide."""
    ran = subprocess.run([sys.executable, "-c", ON_TWO_DEVICES], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    one, two = json.loads(ran.stdout)
    np.testing.assert_allclose(two, one, rtol=1e-5)


@pytest.mark.parametrize("model", imdb_epoch.MODELS)
def test_the_imdb_classifiers(model):
    pytest.importorskip("torch")
    from benchmarks.imdb_pytorch import VARIANTS, make_training

    made, given = imdb_epoch.prepare(dataclasses.replace(imdb_epoch.MODELS[model], **SMALL, **TEXTS), reviews=32)
    lengths = given["lengths"][given["order"]]
    assert (lengths.min(axis=1) < lengths.max(axis=1)).all()  # so that there is padding to leave out
    losses = {variant: first_losses(make_training(given, variant)) for variant in VARIANTS}
    assert largest_difference({"ours": first_losses(made), **losses}) < 1e-5


def test_an_epoch_has_the_windows_of_the_szeged_file():
    """Of the file under the lecture protocol: 70 % of 96,389."""
    config = forecast_epoch.CONFIG
    series = synthetic.hourly_temperature(forecast_epoch.HOURS, seed=0)
    assert len(make_task(series, config.protocol, config.lag, config.ahead).train) == 67_472


def test_the_random_reviews():
    """As many as asked for, all words known, as long as IMDB's: half of them have more than 181 words."""
    corpus = imdb_epoch.random_reviews(imdb_epoch.MODELS["lstm"], 1000)
    assert np.median(corpus.tokens.lengths) == pytest.approx(181, abs=1)
    assert corpus.tokens.lengths.max() == 400
    assert (corpus.tokens.values.min(), corpus.tokens.values.max()) == (2, 29_999)
    assert len(corpus.bounds.lengths) == 8


def test_contenders_that_agree(capsys):
    """Timed so many times each, and once more, which does not count."""
    commands = {"ours": contender(2.0), "theirs": contender(2.001)}
    seconds, difference = compare_and_time(commands, repeats=2)
    assert difference == pytest.approx(5e-4)
    assert {name: len(each) for name, each in seconds.items()} == {"ours": 2, "theirs": 2}
    assert capsys.readouterr().out == "largest relative difference of the first 3 losses: 5.0e-04\n"


def test_contenders_that_differ():
    with pytest.raises(RuntimeError, match=r"do not compute the same.*theirs 1\.0e-01"):
        compare_and_time({"ours": contender(2.0), "theirs": contender(2.2)}, repeats=1)


@pytest.mark.parametrize("theirs", [[1.0, 2.01], [1.0, float("nan")]])
def test_losses_that_differ(theirs):
    with pytest.raises(RuntimeError, match=r"do not compute the same.*theirs"):
        largest_difference({"ours": [1.0, 2.0], "theirs": theirs})


def test_a_contender_that_does_not_start():
    with pytest.raises(RuntimeError, match=r"^absent: ended with status 1: .*No module named no_such_module$"):
        compare_and_time({"absent": ["-m", "no_such_module"]}, repeats=1)


def test_a_contender_that_ends_on_the_way():
    with pytest.raises(RuntimeError, match=r"^theirs: ended with status 1: died"):
        compare_and_time({"ours": contender(), "theirs": contender(dies=True)}, repeats=1)


def test_raw_numbers(tmp_path, capsys):
    """In the form of those that have been measured, as `docs` reads them."""
    save(tmp_path / "new", "seeds", {"steps": 5}, {"ours": [1.0, 3.0, 2.0]})
    file = tmp_path / "new" / "seeds.json"
    assert capsys.readouterr().out == f"raw numbers: {file}\n"
    found = json.loads(file.read_text())
    measured = json.loads((training.RAW / "seeds.json").read_text())
    assert list(found) == [name for name in measured if name != "times_one_replica"]
    assert (found["steps"], found["seconds"], found["median_seconds"]) == (5, {"ours": [1.0, 3.0, 2.0]}, {"ours": 2.0})
    assert found["versions"]["jax"] == jax.__version__


def test_the_examples():
    assert doctest.testmod(training)._asdict() == {"failed": 0, "attempted": 2}
