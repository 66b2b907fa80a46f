"""The rows of `--dynamic` and `--cache`, against the same test text read step by step."""

import dataclasses
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.running import as_in_a_new_process, once, results_of, run

from experiments.common.restore import restore
from experiments.language_model import adaptation
from experiments.language_model.__main__ import EXPERIMENT
from experiments.language_model.task import read_corpus
from rnn_jax import models
from rnn_jax.data.language import grammar

FLAGS = (
    "--level=characters", "--rungs=ngrams", "--ngram_orders=2", "--hidden_size=8", "--embedding_size=6",
    "--batch_size=4", "--num_steps=10", "--epochs=1", "--learning_rate=0.03", "--dynamic", "--cache",
)  # fmt: skip
NUMBER = r"([\d.e-]+)"


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """Of a text in three parts without a token that ends one: what the run printed, its results, model and corpus."""

    def make(folder):
        file = folder.with_suffix(".txt")
        file.write_text(grammar.vocabulary().decode(grammar.generate(1500)) + "\n", encoding="utf-8")
        return run(EXPERIMENT.main, f"--workdir={folder}", f"--text={file}", *FLAGS)

    folder, ran = once(tmp_path_factory, "adapted", make)
    assert ran.status == 0, ran.err
    with as_in_a_new_process():
        restored = restore(folder, "workdir")
        corpus = read_corpus(restored.config, folder)
        yield ran.out, results_of(folder), restored, corpus


def read(corpus, split):
    """Inputs and targets: the first token is predicted from the last one of the split before."""
    before = {"train": corpus.train.tokens[:1], "validation": corpus.train.tokens, "test": corpus.validation.tokens}
    targets = getattr(corpus, split).tokens.astype(np.int32)
    return np.concatenate((before[split][-1:].astype(np.int32), targets[:-1])), targets


def loss_of_row(results, name):
    return results["baselines"][name]["loss"]["values"][0]


def test_dynamic_evaluation(learned):
    """Each twenty tokens are scored, then learnt from, step by step as in the paper."""
    out, results, (*_, model, params, _), corpus = learned
    said = re.search(f"dynamic evaluation: rate {NUMBER}, decay {NUMBER}, epsilon {NUMBER} ", out)
    rate, decay, epsilon = setting = tuple(map(float, said.groups()))
    assert setting in set(itertools.product(adaptation.RATES, adaptation.DECAYS, adaptation.EPSILONS))
    losses_of, _ = models.pure(model, "token_losses")
    begin, _ = models.pure(model, "begin")
    start = jax.tree.map(jnp.asarray, params)

    @jax.jit
    def gradient(params, inputs, targets, carry):
        def mean(params):
            after, losses = losses_of(params, inputs[None], targets[None], carry)
            return losses.mean(), (after, losses[0])

        slopes, (after, losses) = jax.grad(mean, has_aux=True)(params)
        return after, losses, slopes

    def pieces(split, count=None):
        inputs, targets = (each[:count] for each in read(corpus, split))
        return [(inputs[i : i + 20], targets[i : i + 20]) for i in range(0, len(inputs), 20)]

    carry, squares = begin(start, 1), []
    for inputs, targets in pieces("train", adaptation.TRAINING_TOKENS):
        carry, _, slopes = gradient(start, inputs, targets, carry)
        squares.append(jax.tree.map(lambda g: np.asarray(g, np.float64) ** 2, slopes))
    rms = jax.tree.map(lambda *each: np.sqrt(np.mean(each, axis=0)), *squares)
    mean = np.concatenate([each.ravel() for each in jax.tree.leaves(rms)]).mean()

    followed, carry, losses = start, begin(start, 1), []
    for inputs, targets in pieces("test"):
        carry, found, slopes = gradient(followed, inputs, targets, carry)
        losses.extend(np.asarray(found, np.float64))
        followed = jax.tree.map(
            lambda p, g, p0, r: p - rate * g / (r + epsilon) + np.minimum(decay * r / mean, 1) * (p0 - p),
            followed, slopes, start, rms,
        )  # fmt: skip
    assert len(losses) == len(corpus.test.tokens)
    assert len(losses) % 20, "the last piece is a part of one"
    plain = results["metrics"]["loss"]["values"][0]
    row = loss_of_row(results, "dynamic evaluation")
    assert abs(row - plain) > 1e-4
    assert row == pytest.approx(np.mean(losses), rel=2e-4)


def test_without_a_rate_it_is_plain_evaluation(learned, monkeypatch):
    """A rate at which the model is lost is not chosen either."""
    _, results, (_, config, *_, model, params, _), corpus = learned
    for rates in ((0.0,), (1e6, 0.0)):
        monkeypatch.setattr(adaptation, "RATES", rates)
        monkeypatch.setattr(adaptation, "DECAYS", (0.0,))
        found = adaptation.dynamic(config, corpus, model, params)
        assert found.shape == (1, len(corpus.test.tokens))
        # The mean of each piece stands for its tokens, of the last piece for what there is.
        assert found.mean() == pytest.approx(results["metrics"]["loss"]["values"][0], rel=1e-5)


def test_the_cache(learned):
    """p = (1 - share) p_model + share p_cache of all tokens, in NumPy."""
    out, results, (*_, model, params, _), corpus = learned
    window, theta, share = re.search(f"neural cache: {NUMBER} tokens, theta {NUMBER}, share {NUMBER} ", out).groups()
    window, theta, share = int(window), float(theta), float(share)
    inputs, targets = read(corpus, "test")
    read_text, _ = models.pure(model, "read")
    losses_of, _ = models.pure(model, "token_losses")
    begin, _ = models.pure(model, "begin")
    start = jax.tree.map(jnp.asarray, params)
    states = np.asarray(read_text(start, inputs[None], begin(start, 1))[1][0], np.float64)
    log_p = -np.asarray(losses_of(start, inputs[None], targets[None], begin(start, 1))[1][0], np.float64)
    losses = [-log_p[0]]
    for t in range(1, len(targets)):
        past = slice(max(t - window, 0), t)
        weights = np.exp(theta * states[past] @ states[t])
        p_cache = weights[targets[past] == targets[t]].sum() / weights.sum()
        losses.append(-np.log((1 - share) * np.exp(log_p[t]) + share * p_cache))
    assert loss_of_row(results, "neural cache") == pytest.approx(np.mean(losses), rel=1e-4)


def test_texts_that_each_begin_anew(tmp_path, monkeypatch):
    """Where neither the parameters nor the cache do anything, what is left is the evaluation with `--resets`."""
    flags = [flag for flag in FLAGS if flag not in ("--level=characters", "--dynamic", "--cache")]
    ran = run(EXPERIMENT.main, f"--workdir={tmp_path}", *flags, "--num_tokens=3000", "--resets")
    assert ran.status == 0, ran.err
    plain = results_of(tmp_path)["metrics"]["loss"]["values"][0]
    for name, value in (("RATES", 0.0), ("DECAYS", 0.0), ("SHARES", 0.0)):
        monkeypatch.setattr(adaptation, name, (value,))
    with as_in_a_new_process():
        _, config, *_, model, params, _ = restore(tmp_path, "workdir")
        corpus = read_corpus(config, tmp_path)
        assert corpus.end in corpus.test.tokens[:-1]
        for adapted in (adaptation.dynamic, adaptation.cached):
            assert adapted(config, corpus, model, params).mean() == pytest.approx(plain, rel=1e-5)
            without = adapted(dataclasses.replace(config, resets=False), corpus, model, params).mean()
            assert without != pytest.approx(plain, rel=1e-4)
