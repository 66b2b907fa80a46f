"""What context is worth to the networks of a language model's run, and how far back their gradients go."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.running import contents, once, results_of, run, sign

from experiments import launchable
from experiments.common.restore import restore
from experiments.vanishing.__main__ import EXPERIMENT
from experiments.vanishing.context import TARGETS, context_lengths, verdict, windows
from experiments.vanishing.trained import verdict as gradient_verdict
from rnn_jax import models
from rnn_jax.data.language import grammar
from rnn_jax.plotting.language import loss_by_context
from rnn_jax.training.checkpoints import load_params

NUM_TOKENS = 3000
FLAGS = (
    "--cell=lstm", "--num_layers=2", "--hidden_size=8", "--embedding_size=12", f"--num_tokens={NUM_TOKENS}",
    "--epochs=3", "--learning_rate=0.03", "--rungs=rnn", "--resets",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An LSTM of two layers on the grammar, whose sentences begin with zeros, and a simple network beside it."""

    def make(folder):
        return run(launchable("language_model").main, f"--workdir={folder}", *FLAGS)

    folder, ran = once(tmp_path_factory, "vanishing_language_model", make)
    assert ran.status == 0, ran.err
    return folder


@pytest.fixture(scope="module")
def looked(folder, tmp_path_factory):
    before = contents(folder)
    workdir = tmp_path_factory.mktemp("looked")
    ran = run(EXPERIMENT.main, f"--workdir={workdir}", f"--run={folder}")
    assert ran.status == 0, ran.err
    assert contents(folder) == before
    return workdir, ran


def naive(folder, cell, length):
    """How many windows there are, and the mean loss of their last tokens, each of its own sentence's context alone."""
    restored = restore(folder, "run")
    model, params = restored.model, restored.params
    if cell != "lstm":
        other = type(restored.config)(**{**vars(restored.config), "cell": cell})
        model = models.abstract(lambda rngs: restored.task.make_model(other, rngs, **restored.results["model"]))
        params = load_params(folder / "rungs" / cell / "model", models.pure(model)[1])
    score = jax.jit(models.pure(model)[0])
    tokens = grammar.read("", "words", num_tokens=NUM_TOKENS).test.tokens.tolist()
    end, longest, losses = 1, 256, []
    for place in np.linspace(longest, len(tokens) - 1, len(tokens) - longest).astype(int):
        given = tokens[place - length : place]
        if end in given:
            given = given[len(given) - 1 - given[::-1].index(end) :]
        padded = jnp.array([given + [0] * (length - len(given))])  # what comes after does not matter
        scores = np.asarray(score(params, padded)[0, len(given) - 1], np.float64)
        losses.append(np.log(np.exp(scores).sum()) - scores[tokens[place]])
    return len(losses), np.mean(losses)


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_losses_are_those_of_reading_each_context_by_itself(folder, looked, cell):
    found = results_of(looked[0])["context"]
    for length in (2, 8):
        count, expected = naive(folder, cell, length)
        assert found["num_targets"] == count == 600 - 256
        assert found["networks"][cell]["losses"][found["lengths"].index(length)] == pytest.approx(expected, rel=1e-5)


def test_what_is_printed_and_drawn(looked):
    workdir, ran = looked
    found = results_of(workdir)["context"]
    assert (found["unit"], found["lengths"]) == ("words", [1, 2, 4, 8, 16, 32, 64, 128, 256])
    assert list(found["networks"]) == ["lstm", "rnn"]
    assert "mean loss of 344 words of the test split, nats" in ran.out
    for cell, each in found["networks"].items():
        assert each["losses"][-1] < each["losses"][0] - 0.05, "it learnt nothing of its context"
        assert (each["used"], each["verdict"]) == verdict(found["lengths"], np.array(each["losses"]), "words")
        assert f"\n{cell} {each['verdict']}\n" in ran.out
    for row, length in enumerate(found["lengths"]):
        line = [f"{each['losses'][row]:.4f}" for each in found["networks"].values()]
        assert line == [cell.strip() for cell in ran.out.split(f"\n| {length} ")[1].split("\n")[0].split("|")[1:-1]]
    assert (workdir / "plots" / "context.png").read_bytes().startswith(b"\x89PNG")


def test_the_gradient_of_both_layers_is_told_in_words(looked):
    rows = results_of(looked[0])["rows"]
    assert [row["layer"] for row in rows] == ["layer 0", "layer 1"]
    for row in rows:
        assert list(row["log10_gradient"]) == ["1", "10", "100"]
        assert " words " in row["verdict"]
        assert "steps" not in row["verdict"]


def test_without_its_vocabulary_nothing_says_where_a_sentence_begins(folder, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("flags.txt", "results.json"):
        shutil.copy(folder / name, copy)
    shutil.copytree(folder / "model", copy / "model")
    sign(copy)
    ran = run(EXPERIMENT.main, f"--workdir={tmp_path / 'look'}", f"--run={copy}")
    assert ran.one_error().startswith(f"--run={copy}: ")


def test_a_class_that_begins_a_text_leaves_no_context_from_zeros(folder, tmp_path, monkeypatch):
    """Made of a run without classes, since only large data sets have them."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("results.json", "vocabulary.json"):
        shutil.copy(folder / name, copy)
    shutil.copytree(folder / "model", copy / "model")
    flags = (folder / "flags.txt").read_text()
    flags = flags.replace("documents=false", "documents=true").replace("by_class=false", "by_class=true")
    (copy / "flags.txt").write_text(flags)
    sign(copy)
    ran = run(EXPERIMENT.main, f"--workdir={tmp_path / 'look'}", f"--run={copy}")
    assert ran.status == 0, ran.err
    assert "context" not in json.loads((tmp_path / "look" / "results.json").read_text())
    assert "looks back" in ran.out


@pytest.mark.parametrize(
    ("losses", "used", "words"),
    [
        ([3.0, 2.0, 1.616, 1.6], 4, "uses the last 4 pieces: with them its loss is within 1% of that with 8"),
        ([3.0, 2.0, 1.617, 1.6], 8, "uses all of the last 8 pieces: with half of them its loss is more than 1% higher"),
        ([1.0, 1.0, 1.0, 1.0], 1, "uses the last 1 pieces: with them its loss is within 1% of that with 8"),
        ([3.0, 1.59, 1.6, 1.6], 2, "uses the last 2 pieces: with them its loss is within 1% of that with 8"),
        ([3.0, 1.5, 1.6, 1.8], 2, "does best with the last 2 pieces: with 8 its loss is 20% higher"),
    ],
)
def test_verdicts(losses, used, words):
    assert verdict([1, 2, 4, 8], np.array(losses), "pieces") == (used, words)


def test_verdicts_on_gradients_count_what_a_token_is():
    falls = -1.01 * np.arange(30.0) / np.log(10)
    assert gradient_verdict(falls, "characters")[0] == "looks back 1 characters (to 1/e), 7 characters to a thousandth"
    assert gradient_verdict(falls / 100, "pieces")[0].startswith("all 30 pieces count: ")


@pytest.mark.parametrize(
    ("size", "lengths"), [(8, [1, 2, 4]), (15, [1, 2, 4]), (16, [1, 2, 4, 8]), (1023, 9), (1024, 10), (10**8, 10)]
)
def test_context_lengths(size, lengths):
    found = context_lengths(size)
    assert found == (lengths if isinstance(lengths, list) else [2**i for i in range(lengths)])


@pytest.mark.parametrize(("size", "longest"), [(8, 4), (7, 6), (100, 3), (5000, 512)])
def test_windows_are_spread_over_the_whole_split(size, longest):
    found = windows(np.arange(size)[::-1], longest)
    assert found.shape == (min(size - longest, TARGETS), longest + 1)
    assert (found[0, 0], found[-1, -1]) == (size - 1, 0) or len(found) == 1
    assert (np.diff(found, axis=1) == -1).all()
    gaps = -np.diff(found[:, -1])
    assert set(gaps) <= {(size - longest) // max(len(found), 1), (size - longest) // max(len(found), 1) + 1}


def test_the_plot_marks_what_is_used(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("rnn_jax.plotting.language.save", lambda figure, path: drawn.append(figure))
    curves = {"gru": ([1, 2, 4], [3.0, 2.5, 2.4]), "rnn": ([1, 2, 4], [3.5, 2.75, 2.75])}
    loss_by_context(tmp_path / "a.png", curves, {"gru": 4, "rnn": 2}, "pieces", "nats")
    (axes,) = drawn[0].axes
    gru, of_gru, rnn, of_rnn = axes.lines
    assert (list(gru.get_ydata()), list(rnn.get_ydata())) == (curves["gru"][1], curves["rnn"][1])
    assert [(*line.get_xdata(), *line.get_ydata()) for line in (of_gru, of_rnn)] == [(4, 2.4), (2, 2.75)]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("pieces of context given", "nats")
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "4"]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["gru: uses 4, 2.400 with 4", "rnn: uses 2, 2.750 with 4"]
