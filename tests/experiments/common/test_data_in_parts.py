"""Each experiment's data can lie in parts: a task asks arrays that are spread for rows, and for nothing else."""

from functools import partial

import jax
import numpy as np
import pytest
from helpers.finished import FEW_REVIEWS, RUNS
from helpers.idx import write_mnist
from helpers.running import run

from experiments import launchable
from experiments.common import fit as fitting
from experiments.common.flags import parse
from experiments.language_model import documents
from experiments.language_model import task as language
from experiments.language_model.__main__ import EXPERIMENT
from rnn_jax import models
from rnn_jax.data.language.corpus import Documents
from rnn_jax.training.devices import choose
from rnn_jax.training.spread import Spread


class Enough(Exception):
    """All that is asked for was seen."""


@pytest.fixture
def arrived(monkeypatch, tmp_path):
    """The task and the data of an experiment's training."""

    def of(experiment, *flags):
        seen, make_functions = {}, fitting.make_functions

        def noting(task, *rest, **options):
            seen["task"] = task
            return make_functions(task, *rest, **options)

        def train(functions, seeds, data, *rest):
            seen["data"] = data
            raise Enough

        monkeypatch.setattr(fitting, "make_functions", noting)
        monkeypatch.setattr(fitting, "train", train)
        with pytest.raises(Enough):
            run(launchable(experiment).main, *flags, f"--workdir={tmp_path / 'run'}", f"--data_dir={tmp_path}")
        return seen["task"], seen["data"]

    return of


def of_documents():
    """Running text cut into documents of 20 tokens and the rest."""
    flags = ["--num_tokens=3000", "--hidden_size=8", "--embedding_size=6", "--batch_size=4", "--max_tokens=12"]
    corpus = language.read_corpus(parse(EXPERIMENT.config, flags))

    def cut(split):
        return split._replace(documents=Documents(np.arange(0, len(split.tokens), 20), None))

    corpus = corpus._replace(train=cut(corpus.train), validation=cut(corpus.validation), test=cut(corpus.test))
    config = parse(EXPERIMENT.config, [*flags, "--documents", "--dataset=imdb", "--rungs=ngrams"])
    make = partial(language.make_model, config, vocab_size=corpus.vocabulary.size)
    return documents.make_task(config, corpus, models.abstract(make), fitting.initializer(make))


CASES = {
    "forecast": ("forecast", *RUNS["forecast_scan"].flags),
    "texts": ("imdb", *FEW_REVIEWS, "--nobaselines", "--count_ratios=2"),
    "images": ("memory", "--task=sequential_mnist", "--hidden_size=4", "--batch_size=4", "--backend=scan"),
}  # fmt: skip


@pytest.mark.parametrize("case", [*CASES, "documents"])
def test_the_same_examples(case, arrived, tmp_path):
    write_mnist(tmp_path)
    task, data = of_documents() if case == "documents" else arrived(*CASES[case])
    names = [name for name in task.spread if name in data]
    assert len(names) == {"forecast": 2, "texts": 2}.get(case, 1)
    # What every device has in full is of the validation split, or a few numbers for each example.
    rest = {name: array for name, array in data.items() if name not in names and not name.startswith(("val", "test"))}
    assert sum(a.nbytes for a in jax.tree.leaves(rest)) < sum(data[name].nbytes for name in names)

    def spread(data):
        return {**data, **{name: Spread(data[name], choose()) for name in names}}

    indices, lengths = np.array([5, 0, task.num_examples - 1]), task.lengths or ()
    wanted = jax.jit(lambda data: task.batch(data, indices, *lengths[-1:]))(data)
    found = jax.jit(lambda data: task.batch(spread(data), indices, *lengths[-1:]))(data)
    for a, b in zip(jax.tree.leaves(wanted), jax.tree.leaves(found), strict=True):
        assert (len(a), a.dtype) == (3, b.dtype)
        np.testing.assert_array_equal(a, b)
    params = jax.eval_shape(task.init, jax.random.key(0))
    assert jax.eval_shape(lambda params, data: task.evaluate(params, spread(data)), params, data)["loss"].shape == ()
