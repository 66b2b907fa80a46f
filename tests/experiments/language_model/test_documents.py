"""Reviews read one by one, each begun by its class: the figures, texts of a class, and who judges them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.finished import finished
from helpers.running import as_in_a_new_process, once, results_of, run

from experiments.common.restore import restore
from experiments.language_model.__main__ import EXPERIMENT
from experiments.language_model.task import read_corpus
from experiments.text.predict import load
from rnn_jax import models
from rnn_jax.data.text import imdb
from rnn_jax.data.text.reviews import ReviewData, Reviews

LONGEST = 12
FLAGS = (
    "--dataset=imdb", "--documents", "--by_class", f"--max_tokens={LONGEST}", "--hidden_size=16", "--embedding_size=8",
    "--batch_size=8", "--epochs=4", "--learning_rate=0.03", "--forget_bias=2", "--sampled=0", "--input_dropout=0",
    "--output_dropout=0", "--embedding_dropout=0", "--warmup_steps=0", "--rungs=ngrams", "--ngram_orders=1",
)  # fmt: skip


def reviews(count=240):
    """Good and bad words in turn with the class, of lengths below and above what is read."""
    rng = np.random.default_rng(0)
    words = np.array([["awful", "dull", "messy"], ["lovely", "witty", "warm"]])
    labels = np.arange(count, dtype=np.int32) % 2
    texts = [" ".join(rng.choice(words[label], rng.integers(3, 20))) for label in labels]
    train = Reviews(texts, labels, [f"train/{i}" for i in range(count)], np.arange(count, dtype=np.int32) // 2)
    test = Reviews(["unread"], np.zeros(1, np.int32), ["test/0"])
    return ReviewData(imdb.NAME, ("negative", "positive"), train, None, test, ())


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """The folder of a run."""

    def make(folder):
        return run(EXPERIMENT.main, f"--workdir={folder}", *FLAGS)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(imdb, "read", lambda data_dir: reviews())
        folder, ran = once(tmp_path_factory, "documents", make)
        assert ran.status == 0, ran.err
        yield folder


def generate(folder, *arguments):
    ran = run(
        EXPERIMENT.main, "--mode=generate", f"--workdir={folder}", "--num_generated=10", "--stop=<eos>", *arguments
    )
    assert ran.status == 0, ran.err
    return [json.loads(line) for line in ran.out.splitlines()], ran.err


def test_the_loss_is_that_of_each_review_from_its_class(learned):
    found = results_of(learned)
    with as_in_a_new_process():
        restored = restore(learned, "workdir")
        corpus = read_corpus(restored.config, learned)
        losses_of, _ = models.pure(restored.model, "token_losses")
        begin, _ = models.pure(restored.model, "begin")
        params = jax.tree.map(jnp.asarray, restored.params)
        losses, kept = [], []
        documents = corpus.test.documents
        for begins, label in zip(documents.starts, documents.labels, strict=True):
            text = corpus.test.tokens[begins:]
            text = text[: min(int(np.argmax(text == corpus.end)) + 1, LONGEST)]
            kept.extend(text)
            inputs = np.concatenate(([corpus.end], text[:-1])).astype(np.int32)
            carry = begin(params, 1, jnp.array([label]))
            losses.extend(losses_of(params, inputs[None], text.astype(np.int32)[None], carry)[1][0].tolist())
    assert len(losses) < len(corpus.test.tokens), "some are longer than what is read"
    assert found["num_test"] == len(losses)
    assert found["num_test_characters"] == len(corpus.vocabulary.decode(np.array(kept)))
    loss = found["metrics"]["loss"]["values"][0]
    assert loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert found["model"]["num_classes"] == 2
    # Three words of six, and the end: what knows the class is better than any that counts.
    assert loss < found["baselines"]["1-gram, Kneser-Ney"]["loss"]["mean"] - 0.4


def test_texts_of_a_class(learned):
    texts, _ = generate(learned, "--num_samples=6")
    assert [each["label"] for each in texts] == [0, 1, 0, 1, 0, 1]
    good, bad = {"lovely", "witty", "warm"}, {"awful", "dull", "messy"}
    for label, words in ((0, bad), (1, good)):
        texts, _ = generate(learned, "--num_samples=8", f"--label={label}")
        assert {each["label"] for each in texts} == {label}
        written = " ".join(each["text"] for each in texts).split()
        assert np.mean([word in words for word in written if word in good | bad]) > 0.9


def test_a_classifier_judges(learned, tmp_path_factory):
    """The share of texts that it takes for what was asked, which their words decide."""
    judge = finished(tmp_path_factory, "imdb").folder
    texts, said = generate(learned, "--num_samples=9", "--temperature=2", f"--judge={judge}")
    with as_in_a_new_process():
        answers = list(load(judge)([each["text"] for each in texts]))
    asked = [["negative", "positive"][each["label"]] for each in texts]
    right = [answer["label"] == label for answer, label in zip(answers, asked, strict=True)]
    assert said == f"judged as asked: {np.mean(right):.1%} of 9 texts\n"
    assert len({answer["label"] for answer in answers}) == 2, "else the share says nothing"


def test_a_class_that_there_is_not(learned):
    ran = run(EXPERIMENT.main, "--mode=generate", f"--workdir={learned}", "--label=2")
    assert ran.one_error() == "--label=2: the model in --workdir has 2 classes, counted from 0"
