"""A classifier that starts from language models: the same states, the flags of their runs, and a run of its own."""

import dataclasses
import itertools
import json
import shutil
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from helpers.running import as_in_a_new_process, refused, results_of, run, sign

from experiments import imdb
from experiments.common import digests, results
from experiments.common.flags import UsageError, flagfile_lines, parse
from experiments.common.restore import restore
from experiments.language_model.flags import LanguageConfig
from experiments.language_model.run import make_model
from experiments.language_model.words import VOCABULARY
from experiments.text import layer_rates, pretrained
from experiments.text.flags import TextConfig
from experiments.text.pretrained import Pretrained, make_start
from rnn_jax import models
from rnn_jax.data.language.words import Words
from rnn_jax.data.text import vocabulary
from rnn_jax.models import LanguageModel, TextClassifier
from rnn_jax.training.checkpoints import save_params

MAIN = imdb.EXPERIMENT.main
WORDS = ["<pad>", "<unk>", "good", "film", "bad", "new", "old"]
NAMES = {False: ["<unk>", "<eos>", "film", "bad", "other", "good"], True: ["<unk>", "<eos>", "bad", "good", "film"]}
TOKENS = np.array([[2, 3, 4, 3], [4, 2, 0, 0], [1, 2, 3, 0]])
LENGTHS = np.array([4, 2, 3])
SCALE = 0.3


def language_model(cell, reverse, size, *, hidden=5, layers=2):
    """An untrained one, and as what the classifier is given."""
    rngs = nnx.Rngs(7 + reverse)
    model = LanguageModel(
        len(NAMES[reverse]), size, cell, hidden, num_layers=layers, backend="scan", rngs=rngs, param_dtype=jnp.float64
    )
    params = jax.tree.map(np.asarray, models.pure(model)[1])
    parts = {part: params[part] for part in ("embedding", "recurrent")}
    return model, Pretrained(Path("runs/lm"), reverse, NAMES[reverse], parts, "digest")


def classifier(cell, size, *, features=0, bidirectional=False):
    """The module, and its parameters as drawn."""
    model = TextClassifier(
        len(WORDS), size, cell, 5, 3, embedding_scale=SCALE, num_features=features, num_layers=2,
        bidirectional=bidirectional, backend="scan", rngs=nnx.Rngs(0), param_dtype=jnp.float64,
    )  # fmt: skip
    return model, models.pure(model)[1]


def states_read(model, reverse):
    """By text, the top states `[length, O]` of a language model at the classifier's places."""
    found = []
    for tokens, length in zip(TOKENS, LENGTHS, strict=True):
        row = [NAMES[reverse].index(WORDS[token]) for token in tokens[:length]]
        row = row[::-1] if reverse else row
        states = np.asarray(model.read(jnp.array([row]))[1][0])
        found.append(states[::-1] if reverse else states)
    return found


class TestStates:
    @pytest.mark.parametrize(
        ("cell", "sizes", "bidirectional", "features"),
        [
            ("lstm", {False: 4, True: 3}, True, 2),
            ("lstm_projection", {True: 4, False: 6}, True, 0),
            ("gru", {False: 4}, False, 0),
            ("lru", {True: 4}, True, 2),
            ("rnn", {False: 5}, True, 0),
        ],
    )
    def test_are_those_of_the_language_models(self, cell, sizes, bidirectional, features):
        """Of two layers, in the directions that have a model; further features are silent here."""
        made = {reverse: language_model(cell, reverse, size) for reverse, size in sorted(sizes.items())}
        model, drawn = classifier(cell, sum(sizes.values()), features=features, bidirectional=bidirectional)
        start = make_start([given for _, given in made.values()], WORDS, SCALE)
        started = models.bind(model)(start(drawn))
        xs = started.embedding(TOKENS.T)
        xs = jnp.concatenate((xs, jnp.zeros((*xs.shape[:2], features))), axis=-1)
        _, ys = started.recurrent(xs, lengths=LENGTHS, time_major=True)
        parts = jnp.split(ys, 1 + bidirectional, axis=-1)
        for reverse, (language, _) in made.items():
            for number, states in enumerate(states_read(language, reverse)):
                np.testing.assert_allclose(parts[reverse][: len(states), number], states, rtol=1e-9, atol=1e-12)


class TestStart:
    def test_rows_by_the_name_of_the_word(self):
        pair = [language_model("gru", reverse, 3 + reverse)[1] for reverse in (False, True)]
        _, drawn = classifier("gru", 7, bidirectional=True)
        before = jax.tree.map(np.array, drawn)
        found = make_start(pair, WORDS, SCALE)(drawn)["embedding"]["table"]
        for given, columns in zip(pair, (slice(0, 3), slice(3, 7)), strict=True):
            table = given.params["embedding"]["table"]
            size = (sum(value**2 for row in table for value in row) / table.size) ** 0.5
            for word, row, as_drawn in zip(WORDS, found[:, columns], before["embedding"]["table"], strict=True):
                if word in given.names:
                    np.testing.assert_array_equal(row, table[given.names.index(word)])
                else:
                    np.testing.assert_allclose(row, as_drawn[columns] * size / SCALE)
        jax.tree.map(np.testing.assert_array_equal, drawn, before)

    def test_what_no_model_says_stays_as_drawn(self):
        """Weights of further features, the other direction, the head; and all of it where there is no model."""
        _, given = language_model("gru", False, 4)
        _, drawn = classifier("gru", 4, features=2, bidirectional=True)
        found = make_start([given], WORDS, SCALE)(drawn)
        for depth, own in found["recurrent"]["layers"].items():
            jax.tree.map(
                np.testing.assert_array_equal, own["backward"], drawn["recurrent"]["layers"][depth]["backward"]
            )
        first = found["recurrent"]["layers"][0]["forward"]["w_ih"]
        np.testing.assert_array_equal(first[4:], drawn["recurrent"]["layers"][0]["forward"]["w_ih"][4:])
        np.testing.assert_array_equal(first[:4], given.params["recurrent"]["layers"][0]["w_ih"])
        np.testing.assert_array_equal(found["recurrent"]["layers"][1]["forward"]["w_ih"][5:], 0)
        jax.tree.map(np.testing.assert_array_equal, found["head"], drawn["head"])
        jax.tree.map(np.testing.assert_array_equal, make_start([], WORDS, SCALE)(drawn), drawn)

    def test_shapes_and_types_stay(self):
        pair = [language_model("lstm", reverse, 4)[1] for reverse in (False, True)]
        _, drawn = classifier("lstm", 8, features=1, bidirectional=True)
        drawn = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), drawn)
        found = make_start(pair, WORDS, SCALE)(drawn)
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), found) == jax.tree.map(
            lambda leaf: (leaf.shape, leaf.dtype), drawn
        )


class TestLayerRates:
    def test_factors(self):
        _, params = classifier("gru", 4, bidirectional=True)
        found = layer_rates.factors(params, 0.5)
        layers = found["recurrent"]["layers"]
        assert set(jax.tree.leaves(found["embedding"])) == {0.125}
        assert [set(jax.tree.leaves(layers[depth])) for depth in range(2)] == [{0.25}, {0.5}]
        assert set(jax.tree.leaves(found["head"])) == {1.0}

    def test_multiply_the_update_and_not_the_gradient(self):
        """Adam forgets the scale of a gradient: its first update is the rate, whatever the gradient is."""
        _, params = classifier("gru", 4)
        optimizer = layer_rates.falling(optax.adam(0.1), 0.5)
        gradient = jax.tree.map(lambda leaf: jnp.full_like(leaf, 3.0), params)
        updates, _ = optimizer.update(gradient, optimizer.init(params), params)
        np.testing.assert_allclose(updates["embedding"]["table"], -0.1 / 8, rtol=1e-6)
        np.testing.assert_allclose(updates["recurrent"]["layers"][1]["b"], -0.1 / 2, rtol=1e-6)
        np.testing.assert_allclose(updates["head"]["bias"], -0.1, rtol=1e-6)

    def test_none(self):
        optimizer = optax.sgd(0.1)
        assert layer_rates.falling(optimizer, 1.0) is optimizer

    @pytest.mark.parametrize("value", ["0", "1.1", "-0.5"])
    def test_limits(self, tmp_path, value):
        assert "--layer_decay" in refused(MAIN, tmp_path, f"--layer_decay={value}")


LANGUAGE_FLAGS = ("--text=reviews.txt", "--level=words", "--cell=gru", "--hidden_size=6", "--embedding_size=5")
KNOWN = ["the", "film", "story", "acting", "brilliant", "dull", ".", "seemed"]


def language_flags(folder, *arguments, words=KNOWN, **found):
    """A finished run but for its parameters."""
    folder.mkdir(exist_ok=True)
    config = parse(LanguageConfig, [*LANGUAGE_FLAGS, *arguments])
    (folder / "flags.txt").write_text("\n".join(flagfile_lines(config)) + "\n")
    sizes = {"vocab_size": len(words) + 2}
    found = {"experiment": "language_model", "level": "words", "model": sizes} | found
    Words(words).save(folder / VOCABULARY)
    digests.finish(folder, results.FILE, json.dumps(found))
    return config, sizes


def language_run(folder, *arguments, seed=0, **options):
    """A finished run of a language model that has learnt nothing."""
    config, sizes = language_flags(folder, *arguments, **options)
    with as_in_a_new_process():
        params = models.pure(partial(make_model, config, **sizes)(nnx.Rngs(seed)))[1]
    save_params(folder / results.MODEL, params)
    sign(folder)
    return folder


class TestFlags:
    @pytest.fixture
    def runs(self, tmp_path):
        language_flags(tmp_path / "forward")
        language_flags(tmp_path / "backward", "--reverse", "--embedding_size=4")
        return tmp_path

    def completed(self, *arguments):
        config = parse(TextConfig, arguments)
        given = frozenset(argument.removeprefix("--").removeprefix("no").split("=")[0] for argument in arguments)
        return config, config.completed(given)

    @pytest.mark.parametrize(
        ("names", "given", "embedding_size", "bidirectional"),
        [
            ("forward", (), 5, False),
            ("forward", ("--bidirectional",), 5, True),
            ("backward", (), 4, True),
            ("backward,forward", (), 9, True),
            ("forward,backward", ("--cell=gru", "--embedding_size=9", "--hidden_size=6", "--bidirectional"), 9, True),
        ],
    )
    def test_follow_the_runs(self, runs, names, given, embedding_size, bidirectional):
        folders = ",".join(str(runs / name) for name in names.split(","))
        before, found = self.completed(f"--init_from={folders}", "--epochs=7", *given)
        wanted = {"cell": "gru", "hidden_size": 6, "num_layers": 1, "zoneout": 0.0, "embedding_size": embedding_size}
        assert found == dataclasses.replace(before, **wanted, bidirectional=bidirectional)
        again = parse(TextConfig, flagfile_lines(found))
        assert again == found
        assert again.completed(frozenset(field.name for field in dataclasses.fields(again))) == found

    def test_none(self):
        config, found = self.completed("--epochs=7")
        assert found is config

    @pytest.mark.parametrize(
        ("given", "asked", "wanted"),
        [
            ("--cell=lstm", "--cell=lstm", "--cell=gru"),
            ("--hidden_size=64", "--hidden_size=64", "--hidden_size=6"),
            ("--num_layers=2", "--num_layers=2", "--num_layers=1"),
            ("--zoneout=0.1", "--zoneout=0.1", "--zoneout=0.0"),
            ("--embedding_size=5", "--embedding_size=5", "--embedding_size=9"),
            ("--nobidirectional", "--bidirectional=false", "--bidirectional=true"),
        ],
    )
    def test_others_are_refused(self, runs, given, asked, wanted):
        named = f"--init_from={runs / 'forward'},{runs / 'backward'}"
        message = refused(MAIN, runs, named, given)
        assert message == f"{asked}: {named} asks for {wanted}; leave it out"

    @pytest.mark.parametrize(
        ("arguments", "found", "message"),
        [
            (("--level=characters",), {"level": "characters"}, "a model of characters; a classifier reads words"),
            ((), {"experiment": "imdb"}, "a run of imdb, which is no language model"),
            (("--residual",), {}, "made with --residual, which a classifier does not have; train one without"),
            (("--layer_norm",), {}, "made with --layer_norm, which a classifier does not have; train one without"),
        ],
    )
    def test_runs_that_do_not_fit(self, tmp_path, arguments, found, message):
        folder = tmp_path / "lm"
        language_flags(folder, *arguments, **found)
        assert refused(MAIN, tmp_path, f"--init_from={folder}") == f"--init_from={folder}: {message}"

    def test_no_run(self, tmp_path):
        for folder in (tmp_path / "nowhere", tmp_path):
            message = refused(MAIN, tmp_path, f"--init_from={folder}")
            wanted = "no finished run there; train one of language_model to its end first"
            assert message == f"--init_from={folder}: {wanted}"

    def test_flags_of_another_version(self, runs):
        with (runs / "forward" / "flags.txt").open("a") as file:
            file.write("--attention=true\n")
        sign(runs / "forward")
        message = refused(MAIN, runs, f"--init_from={runs / 'forward'}")
        assert message.startswith(f"--init_from={runs / 'forward'}: flags.txt there is of another version: ")

    def test_types(self, runs):
        language_flags(runs / "forward", "--dtype=float64")
        named = f"--init_from={runs / 'forward'}"
        assert refused(MAIN, runs, named) == f"--dtype=float32: {named} asks for --dtype=float64"
        assert self.completed(named, "--dtype=float64")[1].dtype == "float64"

    def test_two_that_do_not_go_together(self, runs):
        def message(*names):
            named = f"--init_from={','.join(str(runs / name) for name in names)}"
            return refused(MAIN, runs, named).removeprefix(named)

        for (name, flag), how in itertools.product([("other", ()), ("wide", ("--hidden_size=7",))], [False, True]):
            language_flags(runs / name, *flag, *(("--reverse",) if how else ()))
            assert message("backward" if how else "forward", name) == (
                f": {'both' if how else 'neither'} of them with --reverse; name one of each"
            )
        assert message("forward", "wide") == ": one has --hidden_size=6, the other 7; train both with the same"
        wanted = ": name one run, or two that read in opposite directions"
        assert message("forward", "backward", "other") == wanted

    def test_prediction_takes_them_from_the_run(self, tmp_path):
        ran = run(MAIN, "--mode=predict", f"--workdir={tmp_path}", "--text=x", "--init_from=nowhere")
        assert ran.one_error() == "--init_from is a flag of the run, which --mode=predict takes from its folder"


class TestLoad:
    def load(self, *folders):
        with as_in_a_new_process():
            return pretrained.load(TextConfig(init_from=tuple(map(str, folders))))

    def test_forward_first(self, tmp_path):
        forward = language_run(tmp_path / "a", seed=1)
        backward = language_run(tmp_path / "b", "--reverse", seed=1)
        found = self.load(backward, forward)
        assert [(model.folder, model.reverse) for model in found] == [(forward, False), (backward, True)]
        assert found[0].names == ["<unk>", "<eos>", *KNOWN]
        assert found[0].params["recurrent"]["layers"][0]["w_hh"].shape == (6, 18)
        assert self.load() == []

    def test_the_digest_is_of_parameters_and_words(self, tmp_path):
        runs = [
            language_run(tmp_path / "a", seed=1),
            language_run(tmp_path / "b", seed=1),
            language_run(tmp_path / "c", seed=2),
            language_run(tmp_path / "d", seed=1, words=KNOWN[::-1]),
        ]
        found = [model.digest for folder in runs for model in self.load(folder)]
        assert found[0] == found[1]
        assert len(set(found)) == 3
        same = self.load(runs[0])
        assert pretrained.mark_of("data", []) == "data"
        assert len({pretrained.mark_of("data", found) for found in ([], same, self.load(runs[2]))}) == 3
        assert pretrained.mark_of("other", same) != pretrained.mark_of("data", same)

    def test_files_that_do_not_fit(self, tmp_path):
        folder = language_run(tmp_path / "a")
        Words(KNOWN[:3]).save(folder / VOCABULARY)
        sign(folder)
        with pytest.raises(UsageError, match=f"--init_from={folder}: {VOCABULARY} there is of another run"):
            self.load(folder)
        (folder / VOCABULARY).write_text("{}")
        sign(folder)
        with pytest.raises(UsageError, match=f"--init_from={folder}: .* is no vocabulary"):
            self.load(folder)
        shutil.rmtree(folder / results.MODEL)
        with pytest.raises(UsageError, match=f"--init_from={folder}: no finished run with a model there"):
            self.load(folder)


CLASSIFIER = (
    "--dataset=synthetic_reviews", "--num_texts=64", "--epochs=1", "--batch_size=16", "--num_lengths=1",
    "--nobaselines", "--max_tokens=20", "--backend=scan", "--layer_decay=1e-5", "--count_ratios=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """A classifier from two language models: trained, shown again, asked to go on from others, and without them."""
    base = tmp_path_factory.mktemp("story")
    forward = language_run(base / "forward", seed=1)
    backward = language_run(base / "backward", "--reverse", "--embedding_size=4", seed=2)
    folder = base / "run"
    command = (f"--workdir={folder}", f"--init_from={backward},{forward}", *CLASSIFIER)
    with as_in_a_new_process():
        given = pretrained.load(TextConfig(init_from=(str(forward), str(backward))))
    trained, shown = run(MAIN, *command), run(MAIN, *command)
    shutil.rmtree(forward / results.MODEL)
    language_run(forward, seed=3)
    changed = run(MAIN, *command)
    shutil.rmtree(forward)
    shutil.rmtree(backward)
    return {"folder": folder, "given": given, "trained": trained, "shown": shown, "changed": changed}


class TestRun:
    def test_flags_are_written_as_they_were_completed(self, story):
        assert story["trained"].status == 0, story["trained"].err
        lines = (story["folder"] / "flags.txt").read_text().splitlines()
        base = story["folder"].parent
        wanted = {
            *("--cell=gru", "--hidden_size=6", "--num_layers=1", "--embedding_size=9", "--bidirectional=true"),
            f"--init_from={base / 'backward'},{base / 'forward'}",
        }
        assert wanted <= set(lines)

    def test_results_say_from_what(self, story):
        found = results_of(story["folder"])["init_from"]
        assert [(each["run"], each["reverse"]) for each in found] == [("forward", False), ("backward", True)]
        assert [each["digest"] for each in found] == [model.digest for model in story["given"]]
        assert f"words from {story['folder'].parent / 'forward'}" in story["trained"].out

    def test_it_starts_there_and_what_is_low_hardly_moves(self, story):
        with as_in_a_new_process():
            params = restore(story["folder"], "workdir").params
        words = vocabulary.words(vocabulary.load(story["folder"] / "tokenizer.json"))
        table, layer = params["embedding"]["table"], params["recurrent"]["layers"][0]
        known = [word for word in words if word in KNOWN]
        assert len(known) > 4
        first = 0
        for model, direction in zip(story["given"], ("forward", "backward"), strict=True):
            rows = model.params["embedding"]["table"]
            columns = slice(first, first + rows.shape[1])
            for word in known:
                np.testing.assert_allclose(table[words.index(word), columns], rows[model.names.index(word)], atol=1e-7)
            own = model.params["recurrent"]["layers"][0]
            np.testing.assert_allclose(layer[direction]["w_hh"], own["w_hh"], atol=1e-6)
            np.testing.assert_allclose(layer[direction]["w_ih"][columns], own["w_ih"], atol=1e-6)
            first = columns.stop
        assert np.abs(params["head"]["bias"]).max() > 1e-3

    def test_a_finished_run_prints_its_results_again(self, story):
        assert story["shown"].status == 0, story["shown"].err
        assert "this run is finished" in story["shown"].out

    def test_another_start_is_another_run(self, story):
        wanted = f"--workdir={story['folder']} was made with other data (data.txt); put it back or name another folder"
        assert story["changed"].one_error() == wanted

    def test_prediction_needs_no_language_model(self, story):
        assert not (story["folder"].parent / "forward").exists()
        ran = run(MAIN, "--mode=predict", f"--workdir={story['folder']}", "--text=the film seemed dull .")
        assert (ran.status, ran.err) == (0, "")
        answer = json.loads(ran.out)
        assert answer["tokens"] == 5
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
