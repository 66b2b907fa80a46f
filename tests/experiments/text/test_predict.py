"""Classifying texts with a trained model: JSON lines, the run's own class names, a folder that stays as it is."""

import contextlib
import io
import json
import shutil
import time

import numpy as np
import pytest
from helpers.finished import finished
from helpers.running import as_in_a_new_process, contents, run, sign

from experiments.common.flags import UsageError, parse
from experiments.imdb import EXPERIMENT
from experiments.text import predict as text_predict
from experiments.text.flags import TextConfig
from experiments.text.task import make_corpus, read_reviews
from rnn_jax.data.text.reviews import CLASSES

# TensorStore reads all arrays at once; the reads that still run when the first one fails find their loop closed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

NEGATIVE = "at first the story seemed brilliant to me . in the end it felt dull on the whole ."
POSITIVE = "at first the story seemed dull to me . in the end it felt brilliant on the whole ."


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    return finished(tmp_path_factory, "imdb").folder


@pytest.fixture
def copied(learned, tmp_path):
    """A run of its own, to change."""
    folder = tmp_path / "run"
    shutil.copytree(learned, folder, ignore=shutil.ignore_patterns("baselines", "plots", "events", "checkpoints"))
    return folder


def predict(folder, *arguments, lines=None):
    """Answers, from `--text` or from standard input given as bytes."""
    out = io.StringIO()
    config = parse(TextConfig, ["--mode=predict", f"--workdir={folder}", *arguments])
    with as_in_a_new_process(), contextlib.redirect_stdout(out):
        text_predict.predict(config, folder, None if lines is None else io.BytesIO(lines))
    return [json.loads(line) for line in out.getvalue().splitlines()]


class TestAnswers:
    def test_labels(self, learned):
        lines = f"{NEGATIVE}\n{POSITIVE}\r\n".encode()
        assert [answer["label"] for answer in predict(learned, lines=lines)] == ["negative", "positive"]

    def test_as_a_command(self, learned):
        before = contents(learned)
        for text, label in ((NEGATIVE, "negative"), (POSITIVE, "positive")):
            ran = run(EXPERIMENT.main, "--mode=predict", f"--workdir={learned}", f"--text={text}")
            assert (ran.status, ran.err) == (0, "")
            assert json.loads(ran.out)["label"] == label, "one line of JSON and nothing else"
        assert contents(learned) == before

    def test_those_of_the_run_itself(self, tmp_path_factory):
        """As many of the test split's texts are right as the run says of its first seed."""
        made = finished(tmp_path_factory, "imdb")
        test = read_reviews(parse(EXPERIMENT.config, [f"--flagfile={made.folder / 'flags.txt'}"])).test
        answers = predict(made.folder, lines="\n".join(text.replace("\n", " ") for text in test.texts).encode())
        right = [CLASSES.index(answer["label"]) == label for answer, label in zip(answers, test.labels, strict=True)]
        assert np.mean(right) == pytest.approx(made.results["metrics"]["accuracy"]["values"][0])

    @pytest.mark.parametrize("name", ["imdb_lecture", "ntc_scv"])
    def test_of_other_models(self, tmp_path_factory, name):
        """Padding read and n-grams counted; two directions. The run's own probabilities, from its parameters."""
        folder = finished(tmp_path_factory, name).folder
        (answer,) = predict(folder, f"--text={NEGATIVE}")
        assert answer["label"] in CLASSES
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)

    def test_class_names_are_those_of_the_run(self, copied):
        found = json.loads((copied / "results.json").read_text())
        (copied / "results.json").write_text(json.dumps(found | {"classes": ["schlecht", "gut"]}))
        sign(copied)
        first, second = predict(copied, lines=f"{NEGATIVE}\n{POSITIVE}\n".encode())
        assert (first["label"], second["label"]) == ("schlecht", "gut")
        assert list(first["probabilities"]) == ["schlecht", "gut"]

    def test_the_same_alone_and_among_others(self, learned):
        texts = [NEGATIVE, "", POSITIVE, "dull " * 200, "x"] * 9
        together = predict(learned, lines="\n".join(texts).encode())
        assert len(together) == len(texts)
        for index in range(5):
            (alone,) = predict(learned, f"--text={texts[index]}")
            assert alone["tokens"] == together[index]["tokens"]
            assert alone["probabilities"]["positive"] == pytest.approx(
                together[index]["probabilities"]["positive"], abs=2e-5
            )


class TestUnusualTexts:
    def test_nothing_known(self, learned):
        empty, unknown = predict(learned, lines=b"\nqwertz \xf0\x9f\x98\x80 zzz\n")
        assert (empty["tokens"], empty["unknown"]) == (0, 0)
        assert unknown["tokens"] == unknown["unknown"] == 3
        assert all(np.isfinite(list(each["probabilities"].values())).all() for each in (empty, unknown))

    def test_a_megabyte(self, learned):
        texts = ["a" * 10**6, "dull " * 200_000, "<" * 10**6]
        answers = predict(learned, lines="\n".join(texts).encode())
        assert len(answers) == 3
        assert max(answer["tokens"] for answer in answers) == 400

    def test_stacked_accents(self, learned):
        """To put n marks in order takes a time of n^2: a megabyte had no answer within hours."""
        text = "dull a" + "\u0301\u0323" * 250_000 + " dull"
        begun = time.process_time()
        (answer,) = predict(learned, lines=text.encode())
        assert answer["tokens"] == 3
        assert time.process_time() - begun < 30

    @pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
    def test_the_longest_text(self, learned, end):
        some = b"dull" + end + b"dull" * 5 + end if end else b"dull" * 5
        assert predict(learned, "--max_text_bytes=20", lines=some)[-1]["tokens"] == 1
        config = parse(TextConfig, ["--mode=predict", f"--workdir={learned}", "--max_text_bytes=19"])
        message = (
            r"standard input, line \d: more than 19 bytes: give a shorter text, or set a larger --max_text_bytes=19$"
        )
        with as_in_a_new_process(), pytest.raises(UsageError, match=message):
            text_predict.predict(config, learned, io.BytesIO(some))
        with pytest.raises(UsageError, match="--text has more than 3 bytes"):
            predict(learned, "--text=dull", "--max_text_bytes=3")

    def test_no_input(self, learned):
        assert predict(learned, lines=b"") == []

    def test_what_is_not_utf8(self, learned):
        out = io.StringIO()
        config = parse(TextConfig, ["--mode=predict", f"--workdir={learned}"])
        with (
            as_in_a_new_process(),
            contextlib.redirect_stdout(out),
            pytest.raises(UsageError, match=r"standard input, line 2: not UTF-8 text \(byte 5\)"),
        ):
            text_predict.predict(config, learned, io.BytesIO(b"fine\nabcd\xff\nlost"))
        assert len(out.getvalue().splitlines()) == 1, "what came before it is answered"
        with pytest.raises(UsageError, match="--text is not UTF-8"):
            predict(learned, "--text=\udcff")


class TestFolders:
    def refusal(self, folder):
        ran = run(EXPERIMENT.main, "--mode=predict", "--text=x", f"--workdir={folder}")
        assert ran.out == ""
        return ran.one_error()

    def test_without_a_run(self, tmp_path):
        unfinished = "no finished run with a model there; train one to its end first"
        for folder in (tmp_path, tmp_path / "nowhere"):
            assert self.refusal(folder) == f"--workdir={folder}: {unfinished}"
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("name", ["forecast", "memory"])
    def test_of_another_experiment(self, tmp_path_factory, name):
        folder = finished(tmp_path_factory, name).folder
        assert self.refusal(folder) == f"--workdir={folder}: a run of {name}, which classifies no texts"

    def test_damaged_files(self, copied):
        shutil.rmtree(copied / "model" / "d")
        sign(copied)
        before = contents(copied)
        assert "no parameters of this model can be read from" in self.refusal(copied)
        assert contents(copied) == before

    @pytest.mark.parametrize(
        ("file", "content", "message"),
        [
            ("count_ratios.npz", b"PK\x03\x04 nothing", r"count_ratios\.npz holds no count ratios"),
            ("tokenizer.json", b"{}", r"tokenizer\.json is no vocabulary"),
        ],
    )
    def test_files_that_are_none(self, copied, file, content, message):
        (copied / file).write_bytes(content)
        sign(copied)
        with pytest.raises(UsageError, match=message):
            predict(copied, "--text=x")


def test_the_vocabulary_of_prediction_is_that_of_the_run(learned):
    """Words that no training text had are unknown, the others keep their numbers."""
    config = parse(EXPERIMENT.config, [f"--flagfile={learned / 'flags.txt'}"])
    corpus = make_corpus(config, read_reviews(config))
    (answer,) = predict(learned, f"--text={corpus.data.train.texts[0]}")
    own = corpus.tokens.text(0)
    assert (answer["tokens"], answer["unknown"]) == (len(own), int((own == 1).sum()))
