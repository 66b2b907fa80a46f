"""Text classification end to end: it learns order, and says so in the promised form."""

import os

import pytest
from helpers.finished import FEW_REVIEWS, RUNS, finished
from helpers.running import run
from matplotlib import image

from experiments.common.flags import parse
from experiments.imdb import EXPERIMENT
from experiments.text.task import make_corpus, read_reviews
from rnn_jax.data.text.reviews import CLASSES
from rnn_jax.training.log import read_log


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """Two seeds with all baselines."""
    return finished(tmp_path_factory, "imdb")


class TestTraining:
    def test_order_is_learnt_where_counts_of_words_say_nothing(self, learned):
        results = learned.results
        assert results["metrics"]["accuracy"]["mean"] > 0.95
        assert results["baselines"]["bag"]["accuracy"]["mean"] == 0.5
        for name in ("nbsvm_bigrams", "nbsvm_trigrams"):
            assert results["baselines"][name]["accuracy"]["mean"] < 0.6

    def test_results(self, learned):
        results = learned.results
        assert set(results["baselines"]) == {"bag", "flatten", "nbsvm_bigrams", "nbsvm_trigrams"}
        assert (results["dataset"], results["protocol"]) == ("synthetic_reviews", "standard")
        assert results["seeds"] == [0, 1]
        assert results["classes"] == list(CLASSES)
        last = read_log(learned.folder / "metrics.jsonl")[-1]
        assert {"accuracy", "validation_accuracy", "validation_loss"} <= set(last)
        assert last["validation_accuracy"] > 0.95
        assert last["validation_loss"] == pytest.approx(1 - last["validation_accuracy"])

    def test_what_is_left_behind(self, learned):
        folder, out = learned.folder, learned.ran.out
        for name in ("loss", "accuracy", "confusion", "length", "words"):
            assert image.imread(folder / "plots" / f"{name}.png").std() > 0.02
        words = (folder / "projector" / "metadata.tsv").read_text().splitlines()
        vectors = (folder / "projector" / "vectors.tsv").read_text().splitlines()
        assert len(words) == len(vectors) + 1, "a header, and a line for each row"
        assert "brilliant" in {line.split("\t")[0] for line in words}
        assert (folder / "mistakes.txt").read_text()
        assert "compiled lengths" in out
        assert "lstm (2 seeds)" in out

    def test_a_finished_run_prints_its_results_again(self, learned):
        again = run(EXPERIMENT.main, f"--workdir={learned.folder}", *RUNS["imdb"].flags)
        assert again.status == 0, again.err
        assert "this run is finished" in again.out
        assert again.out.split("|", 1)[1] == learned.ran.out.split("|", 1)[1]


def test_padding_is_read_in_the_lecture(tmp_path_factory):
    made = finished(tmp_path_factory, "imdb_lecture")
    assert made.results["protocol"] == "lecture"
    assert made.results["compiled_lengths"] == [60]
    assert made.results["padding"] > 0.1
    flags = (made.folder / "flags.txt").read_text().splitlines()
    assert {"--lecture=true", "--read_padding=true", "--pool=last_backward", "--schedule=constant"} <= set(flags)


def test_flags_of_the_texts_arrive(tmp_path_factory):
    made = finished(tmp_path_factory, "ntc_scv")
    lengths = made.results["compiled_lengths"]
    assert len(lengths) == 2
    assert lengths == sorted(lengths)
    assert lengths[-1] <= 30
    assert f"2 compiled lengths ({lengths[0]}, {lengths[1]})" in made.ran.out
    assert made.results["padding"] == pytest.approx(0, abs=0.3)
    assert (made.results["protocol"], made.results["baselines"]) == ("standard", {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--min_freq=100000",), "--min_freq=100000: no word occurs 100000 times"),
        (("--batch_size=4096",), "--batch_size=4096: there are only 180 training examples"),
        (("--validation_share=0.0001",), "a validation share of 0.0001"),
    ],
)
def test_what_the_data_cannot_give(tmp_path, arguments, message):
    assert message in run(EXPERIMENT.main, f"--workdir={tmp_path}", *FEW_REVIEWS, *arguments).one_error()


@pytest.mark.skipif("RNN_JAX_DATA" not in os.environ, reason="RNN_JAX_DATA is not set")
def test_padding_of_the_real_reviews():
    """At most eight compiled lengths, and under a tenth of the computed steps on padding; few test texts will do."""
    config = parse(EXPERIMENT.config, ["--count_ratios=0"])
    whole = read_reviews(config)
    few = whole.test._replace(**{name: getattr(whole.test, name)[::100] for name in ("texts", "labels", "names")})
    corpus = make_corpus(config, whole._replace(test=few))
    assert len(corpus.bounds.lengths) <= 8
    assert corpus.padding() < 0.10
    assert corpus.vocabulary.get_vocab_size() == 30_000
    assert corpus.first == (0, 22_511, 25_000, 25_250)
    train, validation = corpus.data.train, corpus.data.validation
    assert not set(train.groups) & set(validation.groups)
