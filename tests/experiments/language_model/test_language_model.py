"""The experiment on little data, from a command to what it leaves, stopped and continued, and what it refuses."""

import dataclasses
import math
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from helpers.finished import RUNS, finished
from helpers.running import as_in_a_new_process, refused, results_of, run
from matplotlib import image

from experiments.common.flags import parse
from experiments.common.restore import restore
from experiments.language_model import ladder
from experiments.language_model.__main__ import EXPERIMENT
from experiments.language_model.task import backwards, read_corpus
from rnn_jax import models
from rnn_jax.data.language import grammar, vocabulary
from rnn_jax.data.language.corpus import Corpus, Documents, Split
from rnn_jax.training.log import TrainingLog, read_log

SMALL = ("--hidden_size=8", "--embedding_size=6", "--batch_size=4", "--num_steps=10", "--learning_rate=0.03")
FLAGS = RUNS["language_model"].flags
CHUNKS = 3000 // 4 // 10
"""Of an epoch: dispatches of 19, 19, 19 and 18."""
ROWS = ("lstm (2 seeds)", "1-gram, Kneser-Ney", "3-gram, Kneser-Ney", "feed-forward, 5 tokens", "gru")


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """The folder of a run of two seeds, and what it printed. No test may change the folder."""
    found = finished(tmp_path_factory, "language_model")
    return found.folder, found.ran


def records_of(folder):
    return [
        {name: value for name, value in record.items() if name != "train_seconds"}
        for record in read_log(folder / "metrics.jsonl")
    ]


def final_state(folder):
    return ocp.StandardCheckpointer().restore(folder.resolve() / "checkpoints" / str(2 * CHUNKS) / "state")


class TestResults:
    def test_metrics_of_every_model(self, learned):
        """loss = mean nats, perplexity = exp(loss), bits per character from the characters of the test text."""
        found = results_of(learned[0])
        assert (found["dataset"], found["level"], found["seeds"], found["num_test"]) == (
            "grammar",
            "words",
            [0, 1],
            600,
        )
        text = grammar.vocabulary().decode(grammar.generate(600, (0, 2)))
        assert found["num_test_characters"] == len(text)
        rows = {ROWS[0]: found["metrics"], **found["baselines"]}
        assert set(rows) == set(ROWS), "the run's own cell is no rung beside itself"
        for name, metrics in rows.items():
            loss, bits, perplexity = (metrics[each]["values"] for each in ("loss", "bits_per_character", "perplexity"))
            assert len(loss) == (1 if "gram" in name else 2)
            np.testing.assert_allclose(perplexity, np.exp(loss), rtol=1e-9)
            np.testing.assert_allclose(bits, np.array(loss) * 600 / math.log(2) / len(text), rtol=1e-9)
        means = {name: metrics["loss"]["mean"] for name, metrics in rows.items()}
        assert found["limit"] < min(means.values())
        assert all(means[name] < means[ROWS[1]] < math.log(66) for name in ROWS if name != ROWS[1]), "all have learnt"

    def test_costs(self, learned):
        costs = results_of(learned[0])["costs"]
        assert set(costs) == set(ROWS)
        assert all(each["train_seconds"] > 0 for each in costs.values())
        v, d, h, n = 66, 6, 8, 5
        gates = d * h + h * h + h
        own = v * d + 4 * gates + h * d + v  # tied, with a projection
        fixed = v * d + (n * d + 1) * h + (h + n * d) * d + v  # so is this one, reading x too
        want = {ROWS[0]: own, ROWS[3]: fixed, ROWS[4]: own - gates + h}  # its recurrent bias of one gate more
        assert {name: costs[name]["num_params"] for name in want} == want
        assert 0 < costs[ROWS[1]]["num_params"] < costs[ROWS[2]]["num_params"]

    def test_limits_of_the_language(self, learned):
        found = results_of(learned[0])
        tokens = grammar.generate(600, (0, 2))
        assert found["entropy"] == pytest.approx(grammar.entropy())
        assert found["limit"] == pytest.approx(-grammar.log_probabilities(tokens).mean())
        best = {"1": grammar.best_ngram_loss(1), "3": grammar.best_ngram_loss(3)}
        assert found["best_ngram_losses"] == pytest.approx(best)

    def test_table_and_what_is_left_behind(self, learned):
        folder, ran = learned
        found = results_of(folder)
        assert "above perfect" in ran.out
        lines = [line for line in ran.out.splitlines() if line.startswith("| ")]
        order = [line.split("|")[1].strip() for line in lines if "gram" in line or any(row in line for row in ROWS)]
        means = {ROWS[0]: found["metrics"]["loss"]["mean"]}
        means |= {name: row["loss"]["mean"] for name, row in found["baselines"].items()}
        assert order == sorted(means, key=means.get, reverse=True), "the best last"
        for name in ("loss", "ladder"):
            assert image.imread(folder / "plots" / f"{name}.png").std() > 0.02
        assert (folder / "sample.txt").read_text() == found["sample"]
        words = vocabulary.load(folder / "vocabulary.json")
        sample = words.encode(found["sample"])
        assert words.names == grammar.vocabulary().names
        assert 150 < len(sample) <= 200

    def test_log(self, learned):
        records = records_of(learned[0])
        steps = [epoch * CHUNKS + done for epoch in range(2) for done in (19, 38, 57, CHUNKS)]
        assert [record["step"] for record in records] == steps
        assert all(record["loss"] == pytest.approx(record["cross_entropy"]) for record in records)
        assert records[-1]["validation_loss"] < records[3]["validation_loss"]

    def test_the_loss_is_that_of_the_text_read_once(self, learned):
        """By the model that is restored, in one piece, after what ends a sentence."""
        with as_in_a_new_process():
            restored = restore(learned[0], "workdir")
            losses_of, _ = models.pure(restored.model, "token_losses")
            tokens = jnp.asarray(grammar.generate(600, (0, 2)), jnp.int32)[None]
            inputs = jnp.pad(tokens[:, :-1], ((0, 0), (1, 0)), constant_values=1)
            losses = jax.jit(losses_of)(restored.params, inputs, tokens)[1]
        assert float(losses.mean()) == pytest.approx(results_of(learned[0])["metrics"]["loss"]["values"][0], abs=1e-5)

    def test_again_it_only_prints(self, learned):
        folder, ran = learned
        before = (folder / "results.json").read_bytes()
        again = run(EXPERIMENT.main, f"--workdir={folder}", *FLAGS)
        assert again.status == 0, again.err
        assert "this run is finished" in again.out
        assert again.out.split("|", 1)[1] == ran.out.split("|", 1)[1]
        assert (folder / "results.json").read_bytes() == before


def test_stopped_it_goes_on_to_the_same_bits(learned, tmp_path, monkeypatch):
    """In the middle of the second epoch, whose streams begin elsewhere."""
    write, lines = TrainingLog.write, []

    def stop_after_six(log, record):
        write(log, record)
        lines.append(record)
        if len(lines) == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(TrainingLog, "write", stop_after_six)
        stopped = run(EXPERIMENT.main, f"--workdir={tmp_path}", *FLAGS)
    assert stopped.status == 128 + signal.SIGTERM
    assert f"stopped at step {CHUNKS + 38} and saved" in stopped.err
    assert not (tmp_path / "results.json").exists()
    finished = run(EXPERIMENT.main, f"--workdir={tmp_path}", *FLAGS)
    assert finished.status == 0, finished.err
    expected, found = results_of(learned[0]), results_of(tmp_path)
    for name in set(expected) - {"compile_seconds", "train_seconds", "costs"}:
        assert found[name] == expected[name], name
    for part in (".", "rungs/gru", "rungs/feedforward"):
        assert records_of(tmp_path / part) == records_of(learned[0] / part)
        a, b = (final_state(folder / part) for folder in (tmp_path, learned[0]))
        assert jax.tree.structure(a) == jax.tree.structure(b)
        assert a["carry"] is not None
        jax.tree.map(np.testing.assert_array_equal, a, b)


def test_by_default_it_is_almost_perfect(tmp_path):
    """Within 1 % of the entropy of what is read, where no n-gram of five tokens can come."""
    ran = run(EXPERIMENT.main, f"--workdir={tmp_path}", "--rungs=ngrams", "--ngram_orders=5")
    assert ran.status == 0, ran.err
    found = results_of(tmp_path)
    assert 1 < found["metrics"]["loss"]["mean"] / found["limit"] < 1.01
    assert found["baselines"]["5-gram, Kneser-Ney"]["loss"]["mean"] / found["limit"] > 1.1
    assert found["best_ngram_losses"]["5"] / found["limit"] > 1.05


def test_the_rung_without_gates_has_a_learning_rate_of_its_own(learned, monkeypatch, tmp_path):
    rates = {}
    monkeypatch.setattr(ladder, "trained", lambda name, config, *_: rates.setdefault(config.cell, config.learning_rate))
    config = restore(learned[0], "run").config
    corpus = read_corpus(config, tmp_path)
    for rate in (None, 1e-4):
        rates.clear()
        rungs = dataclasses.replace(config, cell="lstm", rungs=("rnn", "gru"), rnn_learning_rate=rate)
        assert dict(ladder.rungs("language_model", rungs, corpus, tmp_path, "")) == rates
        assert rates == {"rnn": rate or config.learning_rate, "gru": config.learning_rate}


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--level=characters",), "--level=characters: --dataset=grammar has words"),
            (("--level=subwords", "--dataset=ptb"), "--level=subwords: --dataset=ptb has words, characters"),
            (("--level=letters",), "level"),
            (("--text=a.txt", "--dataset=ptb"), "--text=a.txt and --dataset=ptb: give one"),
            (("--dataset=text",), "--dataset=text needs --text=FILE"),
            (("--bidirectional",), "--bidirectional: a language model reads in one direction"),
            (("--by_class",), "--by_class goes with --documents"),
            (("--prompt=the",), "--prompt is for writing: give it with --mode=generate"),
            (("--judge=runs/imdb",), "--judge is for writing: give it with --mode=generate"),
            (("--num_tokens=10",), "--num_tokens=10: must be at least 2000"),
            (("--input_dropout=1",), "--input_dropout=1.0: must be below 1"),
            (("--rungs=ngrams,markov",), "markov"),
            (("--weight_drop=0.1", "--cell=mingru"), "--cell=mingru has no recurrent weights"),
            (("--mode=write",), "write"),
        ],
    )
    def test_before_it_begins(self, tmp_path, arguments, message):
        assert message in refused(EXPERIMENT.main, tmp_path, *arguments)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--text=nowhere.txt",), "no file nowhere.txt: check the path"),
            (("--num_tokens=2000", "--batch_size=1001"), "--batch_size=1001 --num_steps=32: the text has only 2,000"),
            (("--num_tokens=2000", "--documents", "--rungs=ngrams"), "grammar is one running text"),
        ],
    )
    def test_what_the_data_cannot_give(self, tmp_path, arguments, message):
        ran = run(EXPERIMENT.main, f"--workdir={tmp_path}", *arguments)
        assert message in ran.one_error()

    def test_other_flags_in_the_same_folder(self, learned):
        message = run(EXPERIMENT.main, f"--workdir={learned[0]}", *FLAGS, "--tied=false").one_error()
        assert "was made with other flags (--tied=true there, false here)" in message


class TestBackwards:
    corpus = Corpus("", grammar.vocabulary(), *(Split(np.array([5, 6, 1, 7, 1]), 9),) * 3, "")

    def test_every_split(self):
        """What ended a text ends it again; one that is cut begins with what is left of it."""
        assert [split.tokens.tolist() for split in backwards(self.corpus)[2:5]] == [[7, 1, 6, 5, 1]] * 3
        cut = self.corpus._replace(test=Split(np.array([5, 1, 7, 8]), 9))
        assert backwards(cut).test.tokens.tolist() == [8, 7, 1, 5]

    def test_documents_keep_their_labels(self):
        documents = Documents(np.array([0, 3]), np.array([4, 2], np.int32))
        split = self.corpus.train._replace(documents=documents)
        found = backwards(self.corpus._replace(train=split)).train
        assert found.documents.starts.tolist() == [0, 2]
        assert found.documents.labels.tolist() == [2, 4]

    def test_the_flag(self):
        flags = ["--num_tokens=2000", "--seed=3"]
        forward, reverse = (read_corpus(parse(EXPERIMENT.config, [*flags, *more])) for more in ([], ["--reverse"]))
        assert sorted(forward.train.tokens) == sorted(reverse.train.tokens)
        ends = (forward.train.tokens[::-1] == 1).nonzero()[0]
        turned = forward.train.tokens[::-1][: ends[3]]
        np.testing.assert_array_equal(reverse.train.tokens[: ends[3]], turned)
