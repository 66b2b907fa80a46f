"""Text classification end to end: it learns order, it says so in the promised form, and what is wrong is one line."""

import contextlib
import io
import json
import os
import shutil

import numpy as np
import pytest
from helpers.running import as_in_a_new_process, once, run
from matplotlib import image

from experiments import imdb, ntc_scv
from experiments.common.flags import UsageError, parse
from experiments.text import predict as text_predict
from experiments.text.flags import LectureConfig, TextConfig
from experiments.text.task import make_corpus, read_reviews
from rnn_jax.data.text.reviews import CLASSES
from rnn_jax.training.log import read_log

# TensorStore reads all arrays at once; the reads that still run when the first one fails find their loop closed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

TINY = (
    "--dataset=synthetic_reviews", "--num_texts=1200", "--hidden_size=16", "--embedding_size=32", "--num_lengths=2",
    "--batch_size=32", "--learning_rate=0.02",
)  # fmt: skip
LEARNING = (*TINY, "--pool=last", "--epochs=4", "--num_seeds=2")
SHORT = (*TINY, "--num_texts=200", "--num_lengths=1", "--epochs=1", "--nobaselines")
RESULTS = {
    "experiment", "dataset", "protocol", "cell", "num_params", "seeds", "metrics", "baselines", "steps",
    "compile_seconds", "train_seconds", "device", "versions", "padding", "compiled_lengths",
}  # fmt: skip
NEGATIVE = "at first the story seemed brilliant to me . in the end it felt dull on the whole ."
POSITIVE = "at first the story seemed dull to me . in the end it felt brilliant on the whole ."


def run_in(folder, *arguments):
    return run(imdb.main, f"--workdir={folder}", *arguments)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A run of two seeds with all baselines. No test may change the folder."""
    return once(tmp_path_factory, "text_learned", lambda folder: run_in(folder, *LEARNING))


@pytest.fixture(scope="module")
def results(learned):
    return json.loads((learned[0] / "results.json").read_text())


def predict(folder, *arguments, lines=None):
    """Answers, from `--text` or from standard input given as bytes."""
    out = io.StringIO()
    config = parse(text_predict.PredictConfig, [f"--workdir={folder}", *arguments])
    with as_in_a_new_process(), contextlib.redirect_stdout(out):
        text_predict.predict(config, None, None if lines is None else io.BytesIO(lines))
    return [json.loads(line) for line in out.getvalue().splitlines()]


class TestTraining:
    def test_order_is_learnt_where_counts_of_words_say_nothing(self, learned, results):
        assert learned[1].status == 0, learned[1].err
        assert results["metrics"]["accuracy"]["mean"] > 0.95
        assert results["baselines"]["bag"]["accuracy"]["mean"] == 0.5
        for name in ("nbsvm_bigrams", "nbsvm_trigrams"):
            assert results["baselines"][name]["accuracy"]["mean"] < 0.6

    def test_results(self, learned, results):
        assert set(results) >= RESULTS
        assert set(results["baselines"]) == {"bag", "flatten", "nbsvm_bigrams", "nbsvm_trigrams"}
        assert results["seeds"] == [0, 1]
        assert len(results["metrics"]["accuracy"]["values"]) == 2
        assert results["compiled_lengths"] == sorted(results["compiled_lengths"])
        assert len(results["compiled_lengths"]) == 2
        last = read_log(learned[0] / "metrics.jsonl")[-1]
        assert {"accuracy", "validation_accuracy", "validation_loss"} <= set(last)
        assert last["validation_accuracy"] > 0.95

    def test_what_is_left_behind(self, learned):
        folder, ran = learned
        for name in ("loss", "accuracy", "confusion", "length", "words"):
            assert image.imread(folder / "plots" / f"{name}.png").std() > 0.02
        words = (folder / "projector" / "metadata.tsv").read_text().splitlines()
        vectors = (folder / "projector" / "vectors.tsv").read_text().splitlines()
        assert len(words) == len(vectors) + 1, "a header, and a line for each row"
        assert "brilliant" in {line.split("\t")[0] for line in words}
        assert (folder / "mistakes.txt").read_text()
        assert "compiled lengths" in ran.out
        assert "lstm (2 seeds)" in ran.out

    def test_a_finished_run_prints_its_results_again(self, learned):
        again = run_in(learned[0], *LEARNING)
        assert again.status == 0, again.err
        assert "this run is finished" in again.out
        assert again.out.split("|", 1)[1] == learned[1].out.split("|", 1)[1]

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--count_ratios=3", "--cell=gru", "--label_smoothing=0.1"),
            ("--bidirectional", "--pool=last", "--truncate=both", "--max_tokens=30"),
            ("--cell=rnn", "--pool=max", "--optimizer=adamw", "--weight_decay=0.1", "--average_decay=0.9"),
        ],
        ids=["count_ratios", "bidirectional", "rnn"],
    )
    def test_flags_train_and_predict(self, tmp_path, arguments):
        ran = run_in(tmp_path, *SHORT, *arguments)
        assert ran.status == 0, ran.err
        results = json.loads((tmp_path / "results.json").read_text())
        assert max(results["compiled_lengths"]) <= (30 if "--max_tokens=30" in arguments else 80)
        (answer,) = predict(tmp_path, f"--text={NEGATIVE}")
        assert answer["label"] in CLASSES
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)


class TestLecture:
    def test_padding_is_read(self, tmp_path):
        ran = run_in(tmp_path, *SHORT, "--lecture", "--max_tokens=60")
        assert ran.status == 0, ran.err
        results = json.loads((tmp_path / "results.json").read_text())
        assert results["protocol"] == "lecture"
        assert results["compiled_lengths"] == [60]
        assert results["padding"] > 0.1
        flags = (tmp_path / "flags.txt").read_text().splitlines()
        assert {"--lecture=true", "--read_padding=true", "--pool=last_backward", "--schedule=constant"} <= set(flags)
        assert len(predict(tmp_path, f"--text={NEGATIVE}")) == 1

    def test_defaults(self):
        lecture, ours = LectureConfig(), TextConfig()
        assert (lecture.max_tokens, lecture.vocab_size, lecture.min_freq, lecture.epochs) == (500, 20_000, 3, 20)
        assert (lecture.word_dropout, lecture.embedding_dropout, lecture.head_dropout) == (0, 0, 0)
        assert (lecture.embedding_size, lecture.hidden_size) == (ours.embedding_size, ours.hidden_size) == (128, 64)


class TestPredict:
    def test_labels(self, learned):
        lines = f"{NEGATIVE}\n{POSITIVE}\r\n".encode()
        assert [answer["label"] for answer in predict(learned[0], lines=lines)] == ["negative", "positive"]
        assert [predict(learned[0], f"--text={text}")[0]["label"] for text in (NEGATIVE, POSITIVE)] == list(CLASSES)

    def test_the_same_alone_and_among_others(self, learned):
        texts = [NEGATIVE, "", POSITIVE, "dull " * 200, "x"] * 9
        together = predict(learned[0], lines="\n".join(texts).encode())
        assert len(together) == len(texts)
        for index in range(5):
            (alone,) = predict(learned[0], f"--text={texts[index]}")
            assert alone["tokens"] == together[index]["tokens"]
            assert alone["probabilities"]["positive"] == pytest.approx(
                together[index]["probabilities"]["positive"], abs=2e-5
            )

    def test_nothing_known(self, learned):
        empty, unknown = predict(learned[0], lines=b"\nqwertz \xf0\x9f\x98\x80 zzz\n")
        assert (empty["tokens"], empty["unknown"]) == (0, 0)
        assert unknown["tokens"] == unknown["unknown"] == 3
        assert all(np.isfinite(list(each["probabilities"].values())).all() for each in (empty, unknown))

    @pytest.mark.parametrize("text", ["a" * 10**6, "dull " * 200_000, "<" * 10**6], ids=["word", "words", "marks"])
    def test_a_megabyte(self, learned, text):
        (answer,) = predict(learned[0], lines=text.encode())
        assert answer["tokens"] <= 400

    def test_no_input(self, learned):
        assert predict(learned[0], lines=b"") == []

    def test_what_is_not_utf8(self, learned, capsys):
        out = io.StringIO()
        config = parse(text_predict.PredictConfig, [f"--workdir={learned[0]}"])
        with (
            as_in_a_new_process(),
            contextlib.redirect_stdout(out),
            pytest.raises(UsageError, match=r"standard input, line 2: not UTF-8 text \(byte 5\)"),
        ):
            text_predict.predict(config, None, io.BytesIO(b"fine\nabcd\xff\nlost"))
        assert len(out.getvalue().splitlines()) == 1, "what came before it is answered"
        with pytest.raises(UsageError, match="--text is not UTF-8"):
            predict(learned[0], "--text=\udcff")

    def test_no_model(self, tmp_path):
        ran = run(imdb.main, "--mode=predict", "--text=x")
        assert "--mode=predict needs --workdir=FOLDER" in ran.one_error()
        ran = run(imdb.main, "--mode=predict", "--text=x", f"--workdir={tmp_path}")
        assert "no trained text classifier there" in ran.one_error()

    def test_damaged_files(self, learned, tmp_path):
        folder = tmp_path / "run"
        shutil.copytree(learned[0], folder, ignore=shutil.ignore_patterns("baselines", "plots", "events"))
        shutil.rmtree(folder / "model" / "d")
        before = sorted(folder.rglob("*"))
        ran = run(imdb.main, "--mode=predict", "--text=x", f"--workdir={folder}")
        assert "no parameters of this model can be read from" in ran.one_error()
        assert sorted(folder.rglob("*")) == before, "prediction changes nothing in the folder"
        (folder / "count_ratios.npz").write_bytes(b"PK\x03\x04 nothing")
        with pytest.raises(UsageError, match=r"count_ratios\.npz holds no count ratios"):
            predict(folder, "--text=x")
        (folder / "tokenizer.json").write_text("{}")
        with pytest.raises(UsageError, match=r"tokenizer\.json is no vocabulary"):
            predict(folder, "--text=x")


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--text=x",), "--text goes with --mode=predict"),
            (("--min_freq=100000",), "--min_freq=100000: no word occurs 100000 times"),
            (("--batch_size=4096",), "--batch_size=4096: there are only 180 training reviews"),
            (("--validation_share=0.0001",), "a validation share of 0.0001"),
            (("--pool=sum",), "--pool=sum: value should be one of"),
            (("--count_ratios=4",), "--count_ratios=4: must be at most 3"),
        ],
    )
    def test_one_line(self, tmp_path, arguments, message):
        assert message in run_in(tmp_path / "run", *SHORT, *arguments).one_error()

    def test_no_data(self, tmp_path):
        ran = run(ntc_scv.main, f"--workdir={tmp_path / 'run'}", f"--data_dir={tmp_path}")
        assert "no ntc-scv in --data_dir" in ran.one_error()


def test_ntc_scv_is_the_same_experiment_with_other_defaults():
    config = parse(ntc_scv.Config, [])
    assert (config.dataset, config.cleaning) == ("ntc_scv", "words")
    assert isinstance(config, TextConfig)


@pytest.mark.skipif("RNN_JAX_DATA" not in os.environ, reason="RNN_JAX_DATA is not set")
def test_padding_of_the_real_reviews():
    """At most eight compiled lengths, and under a tenth of the computed steps on padding."""
    config = TextConfig(data_dir=os.environ["RNN_JAX_DATA"])
    corpus = make_corpus(config, read_reviews(config))
    assert len(corpus.bounds.lengths) <= 8
    assert corpus.padding() < 0.10
    assert corpus.vocabulary.get_vocab_size() == 30_000
    assert corpus.first == (0, 22_600, 25_000, 50_000)
    train, validation = corpus.data.train, corpus.data.validation
    assert not set(train.groups) & set(validation.groups)
