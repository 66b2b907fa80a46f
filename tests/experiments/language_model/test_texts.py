"""Any text file at every level, from training to a text that goes on where a prompt ends."""

import contextlib
import io
import json
import shutil

import numpy as np
import pytest
from helpers.running import as_in_a_new_process, contents, once, results_of, run, sign
from matplotlib import image

from experiments.common.flags import parse
from experiments.language_model import write
from experiments.language_model.__main__ import EXPERIMENT
from rnn_jax.data.language import grammar, vocabulary
from rnn_jax.training.log import read_log

# TensorStore reads all arrays at once; the reads that still run when the first one fails find their loop closed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

SMALL = (
    "--hidden_size=8", "--embedding_size=6", "--batch_size=4", "--num_steps=10", "--epochs=1", "--rungs=ngrams",
    "--ngram_orders=2",
)  # fmt: skip
LEVELS = {
    "characters": ("--cell=rnn", "--gradient_flow_every=40", "--sampled=5", "--embedding_dropout=0.1"),
    "words": ("--reverse", "--resets", "--epoch_carry=keep", "--min_freq=1", "--tied=false", "--temporal_penalty=0.5"),
    "subwords": ("--cell=gru", "--vocab_size=300", "--num_layers=2", "--average_decay=0.9", "--weight_drop=0.1"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Of a level the folder of its run."""

    def of(level):
        def make(folder):
            file = folder.with_suffix(".txt")
            file.write_text(grammar.vocabulary().decode(grammar.generate(900)) + "\n", encoding="utf-8")
            flags = (f"--text={file}", f"--level={level}", *SMALL, *LEVELS[level])
            return run(EXPERIMENT.main, f"--workdir={folder}", *flags)

        folder, ran = once(tmp_path_factory, f"text_{level}", make)
        assert ran.status == 0, ran.err
        return folder, ran

    return of


def generate(folder, *arguments):
    ran = run(EXPERIMENT.main, "--mode=generate", f"--workdir={folder}", *arguments)
    assert (ran.status, ran.err) == (0, "")
    return ran.out


@pytest.mark.parametrize("level", LEVELS)
class TestLevels:
    def test_results(self, made, level):
        folder, ran = made(level)
        found = results_of(folder)
        text = folder.with_suffix(".txt").read_text()
        assert (found["dataset"], found["level"]) == ("text", level)
        assert "limit" not in found
        assert set(found["baselines"]) == {"2-gram, Kneser-Ney"}
        words = vocabulary.load(folder / "vocabulary.json")
        assert (words.level, words.size) == (level, found["model"]["vocab_size"])
        loss = found["metrics"]["loss"]["mean"]
        assert 0.5 < loss < np.log(words.size) + 0.1
        assert found["metrics"]["perplexity"]["mean"] == pytest.approx(np.exp(loss))
        characters = found["num_test_characters"]
        assert len(text) / 40 < characters < len(text) / 16, "about the last twentieth"
        assert text[-characters - 1] == "\n", "from the beginning of a line on"
        bits = loss * found["num_test"] / np.log(2) / characters
        assert found["metrics"]["bits_per_character"]["mean"] == pytest.approx(bits)
        assert "above perfect" not in ran.out
        assert image.imread(folder / "plots" / "ladder.png").std() > 0.02

    def test_a_text_goes_on_where_the_prompt_ends(self, made, level):
        """That of a model that reads backwards ends with it."""
        folder, _ = made(level)
        words = vocabulary.load(folder / "vocabulary.json")
        prompt = "boys near the river"
        out = generate(folder, f"--prompt={prompt}", "--num_generated=40", "--generation_seed=5")
        assert out.endswith("\n")
        text = out[:-1]
        if level == "words":
            assert text.endswith(prompt)
        else:
            assert text.startswith(prompt)
        if level != "subwords":  # which one and the same text may be spelled in
            assert len(words.encode(text)) == 40 + len(words.encode(prompt))


def test_the_loss_of_training_has_what_the_flags_add(made):
    first = read_log(made("words")[0] / "metrics.jsonl")[0]
    assert first["loss"] > first["cross_entropy"] + 1e-6, "a penalty"
    without = read_log(made("subwords")[0] / "metrics.jsonl")[0]
    assert without["loss"] == pytest.approx(without["cross_entropy"])


def test_the_gradient_through_time(made):
    folder, _ = made("characters")
    looks = [record["gradient_flow"] for record in read_log(folder / "metrics.jsonl") if "gradient_flow" in record]
    assert len(looks) > 2
    assert image.imread(folder / "plots" / "gradient_flow_layer_0.png").std() > 0.02


@pytest.fixture
def folder(made):
    return made("characters")[0]


class TestGeneration:
    def test_by_the_seed(self, folder):
        before = contents(folder)
        flags = ("--prompt=the ", "--num_generated=40")
        one, same, other, shorter = (
            generate(folder, *flags[:1], f"--num_generated={count}", f"--generation_seed={seed}")
            for seed, count in ((1, 40), (1, 40), (2, 40), (1, 35))
        )
        assert one == same != other
        assert one.startswith(shorter[:-1])
        assert contents(folder) == before

    def test_several_as_json_lines(self, folder):
        lines = generate(
            folder, "--prompt=the ", "--num_generated=12", "--num_samples=3", "--temperature=2"
        ).splitlines()
        texts = [json.loads(line) for line in lines]
        assert [set(each) for each in texts] == [{"text"}] * 3
        assert all(each["text"].startswith("the ") for each in texts)
        assert len({each["text"] for each in texts}) == 3

    def test_where_texts_end(self, folder):
        """With the token that stops them, here a blank, or the first line end."""
        flags = ("--num_generated=40", "--num_samples=4", "--prompt=the")
        for stop, character in (("--stop= ", " "), (r"--stop=\n", "\n")):
            texts = [json.loads(line)["text"] for line in generate(folder, *flags, stop).splitlines()]
            assert all(character not in text[3:-1] for text in texts)
            assert character != " " or any(len(text) < 43 for text in texts)

    def test_a_prompt_of_unknown_tokens(self, made):
        for level, prompt, known in (("characters", "boys \u00fc\u00df", 7), ("words", "the zebra and", 3)):
            ran = run(
                EXPERIMENT.main, "--mode=generate", f"--workdir={made(level)[0]}", f"--prompt={prompt}",
                "--num_generated=5",
            )  # fmt: skip
            unknown = 2 if level == "characters" else 1
            assert ran.err == f"--prompt: {unknown} of its {known} tokens are none of this model, and read as <unk>\n"

    def test_as_it_is_written(self, folder, monkeypatch):
        """A text comes in pieces, each shown before the next is drawn."""
        events, shown, draw = [], [], write.make_writer

        def noting(*arguments, **options):
            write_more = draw(*arguments, **options)
            return lambda *each: events.append("drawn") or write_more(*each)

        class Terminal(io.StringIO):
            def flush(self):
                events.append("shown")
                shown.append(self.getvalue())

        monkeypatch.setattr(write, "make_writer", noting)
        config = parse(EXPERIMENT.config, [f"--workdir={folder}", "--mode=generate", "--num_generated=70"])
        with as_in_a_new_process(), contextlib.redirect_stdout(Terminal()):
            write.generate(config, folder)
        assert events[:6] == ["drawn", "shown"] * 3
        assert all(len(text) > size for text, size in zip(shown, (20, 50, 60), strict=False))

    def test_the_likeliest(self, folder):
        one, other = (generate(folder, "--temperature=0", f"--generation_seed={seed}") for seed in (1, 2))
        assert one == other
        assert len(one) == 200 + 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--stop=zzz",), "--stop=zzz: no token of this model"),
            (("--stop=\\n\\n",), "--stop=\\n\\n: no token of this model"),
            (("--stop=\\",), "--stop=\\: no token of this model"),
            (("--label=0",), "--label=0: the model in --workdir has 0 classes"),
            (("--judge=nowhere",), "--judge asks whether texts are of their class"),
            (("--top_p=2",), "--top_p=2.0: must be at most 1"),
            (("--hidden_size=8",), "--hidden_size is a flag of the run, which --mode=generate takes from its folder"),
            (("--text=a.txt",), "--text is a flag of the run"),
        ],
    )
    def test_refused(self, folder, arguments, message):
        before = contents(folder)
        ran = run(EXPERIMENT.main, "--mode=generate", f"--workdir={folder}", "--num_generated=2", *arguments)
        assert message in ran.one_error()
        assert contents(folder) == before

    def test_folders(self, folder, tmp_path):
        def refusal(*arguments):
            ran = run(EXPERIMENT.main, "--mode=generate", *arguments)
            assert ran.out == ""
            return ran.one_error()

        assert refusal() == "--mode=generate needs --workdir=FOLDER, the folder of a run"
        unfinished = "no finished run with a model there; train one to its end first"
        for where in (tmp_path, tmp_path / "nowhere"):
            assert refusal(f"--workdir={where}") == f"--workdir={where}: {unfinished}"
        assert not list(tmp_path.iterdir())
        copy = tmp_path / "run"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("plots", "events", "checkpoints"))
        (copy / "vocabulary.json").write_text("{}")
        sign(copy)
        assert "vocabulary.json is no vocabulary" in refusal(f"--workdir={copy}")
        (copy / "vocabulary.json").unlink()
        assert "vocabulary.json" in refusal(f"--workdir={copy}")
