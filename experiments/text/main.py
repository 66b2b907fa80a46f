"""Trains a text classifier, beside classifiers without recurrence: what `imdb` and `ntc_scv` have in common."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tabulate import tabulate

from experiments.common import results
from experiments.common.command import check_data, check_finished, note_data
from experiments.common.flags import UsageError
from experiments.common.training_flags import make_config_optimizer, make_schedule, seeds, set_devices, set_precision
from experiments.text import report as text_report
from experiments.text.flags import TextConfig, check, make_classifier
from experiments.text.task import (
    FLOW_BATCH,
    Corpus,
    batches_of,
    device_data,
    make_corpus,
    make_task,
    margin,
    read_reviews,
    scores_of,
    take_texts,
)
from rnn_jax import models
from rnn_jax.data.text import count_ratios
from rnn_jax.data.text.nbsvm import NBSVM
from rnn_jax.data.text.reviews import fingerprint
from rnn_jax.models.gradient_flow import make_gradient_flow
from rnn_jax.models.text import BagClassifier, FlattenClassifier
from rnn_jax.training.checkpoints import save_params
from rnn_jax.training.loop import Probe, Schedule, Trained, steps_per_dispatch, train
from rnn_jax.training.step import make_functions, map_over_seeds
from rnn_jax.types import Array, Params


class Fitted(NamedTuple):
    """A trained classifier.

    Attributes:
        trained: what training left.
        num_params: of one state.
        probabilities: of the test split, `[S, N_test, C]`.
    """

    trained: Trained
    num_params: int
    probabilities: np.ndarray


def run(config: TextConfig, workdir: Path) -> None:
    """Trains, evaluates the test split once, writes `results.json` and plots, prints the table."""
    check(config)
    set_precision(config)
    if results.read(workdir) is None:
        _train_and_evaluate(config, workdir)
    else:
        remark = check_finished(workdir, lambda: fingerprint(read_reviews(config)))
        print(f"this run is finished{remark}; its results:")
    text_report.print_table(workdir)


def _train_and_evaluate(config: TextConfig, workdir: Path) -> None:
    num_devices = set_devices(config)
    original = read_reviews(config)
    mark = fingerprint(original)
    check_data(workdir, mark)
    corpus = make_corpus(config, original)
    _describe(corpus)
    note_data(workdir, mark)
    corpus.vocabulary.save(str(workdir / "tokenizer.json"))
    count_ratios.save(corpus.ratios, workdir / "count_ratios.npz")
    num_words, num_classes = corpus.vocabulary.get_vocab_size(), len(corpus.data.classes)

    def model(rngs: nnx.Rngs) -> nnx.Module:
        return make_classifier(config, num_words, num_classes, rngs)

    fitted = fit(config, corpus, model, workdir, num_devices)
    save_params(workdir / results.MODEL, jax.tree.map(lambda leaf: leaf[0], fitted.trained.states.best_params))
    baselines = {}
    if config.baselines:
        for name, make in _networks_without_recurrence(config, corpus).items():
            print(f"baseline {name}:")
            probabilities = fit(config, corpus, make, workdir / "baselines" / name, num_devices).probabilities
            baselines[name] = list(probabilities)
        for name, longest in (("nbsvm_bigrams", 2), ("nbsvm_trigrams", 3)):
            print(f"baseline {name}")
            baselines[name] = [linear_probabilities(corpus, longest)]
    text_report.write(config, workdir, corpus, fitted, baselines)


def _describe(corpus: Corpus) -> None:
    for sentence in corpus.data.remarks:
        print(f"data: {sentence}")
    sizes = ", ".join(f"{corpus.part(s).stop - corpus.part(s).start:,} {s}" for s in ("train", "validation", "test"))
    unknown = np.mean(corpus.tokens.values[: corpus.tokens.starts[corpus.first[1]]] == 1)
    print(f"data: {sizes} reviews; {corpus.vocabulary.get_vocab_size():,} tokens, {unknown:.1%} of the words unknown")
    shapes = ", ".join(map(str, corpus.bounds.lengths))
    print(f"batches: {len(corpus.bounds.lengths)} compiled lengths ({shapes}); {corpus.padding():.1%} of steps padding")


def fit(
    config: TextConfig,
    corpus: Corpus,
    make_model: Callable[[nnx.Rngs], Any],
    workdir: Path,
    num_devices: int,
) -> Fitted:
    """Trains a classifier of any kind on the corpus, in `workdir`, and reads the test split once."""
    steps_per_epoch = corpus.first[1] // config.batch_size
    if steps_per_epoch == 0:
        raise UsageError(f"--batch_size={config.batch_size}: there are only {corpus.first[1]} training reviews")
    model = make_model(nnx.Rngs(config.seed))
    print(tabulate(models.summary(model), headers=["parameter", "shape", "count"], intfmt=",", tablefmt="simple"))
    apply, _ = models.pure(model)
    learning_rate = make_schedule(config, config.epochs * steps_per_epoch)
    functions = make_functions(
        make_task(config, corpus, make_model, apply),
        make_config_optimizer(config, learning_rate),
        batch_size=config.batch_size,
        patience=config.patience,
        num_devices=num_devices,
        average_decay=config.average_decay or None,
    )
    dispatch = steps_per_dispatch(steps_per_epoch, config.steps_per_dispatch)
    schedule = Schedule(steps_per_epoch, config.epochs, dispatch, config.keep)
    data = device_data(corpus)
    trained = train(functions, seeds(config), data, schedule, workdir, learning_rate, make_probe(config, corpus, model))

    batches, part = batches_of(corpus, "test"), corpus.part("test")

    @jax.jit
    def read_test(params: Params, data: Any) -> Array:
        def of_seed(params: Params) -> Array:
            return jax.nn.softmax(scores_of(apply, params, data, part, batches, config.read_padding))

        return map_over_seeds(of_seed, parallel=jax.default_backend() != "cpu")(params)

    probabilities = np.asarray(read_test(trained.states.best_params, data))
    return Fitted(trained, models.num_params(model), probabilities)


def make_probe(config: TextConfig, corpus: Corpus, model: Any) -> Probe | None:
    """The gradient of the scores' difference through time, on the first validation texts."""
    if config.gradient_flow_every is None or not hasattr(model, "recurrent"):
        return None
    flow, first = make_gradient_flow(model, margin), corpus.first[1]
    indices = jnp.arange(first, min(first + FLOW_BATCH, corpus.first[2]))

    def look(params: Params, data: Any) -> dict[str, Array]:
        inputs = take_texts(data, indices, corpus.bounds.lengths[-1], config.read_padding)
        return flow(params, *inputs, lengths=inputs.lengths)

    return Probe("gradient_flow", config.gradient_flow_every, look)


def _networks_without_recurrence(config: TextConfig, corpus: Corpus) -> dict[str, Callable[[nnx.Rngs], Any]]:
    num_words, num_classes = corpus.vocabulary.get_vocab_size(), len(corpus.data.classes)
    size, scale, longest = config.embedding_size, config.embedding_scale, corpus.bounds.lengths[-1]
    return {
        "bag": lambda rngs: BagClassifier(num_words, size, num_classes, embedding_scale=scale, rngs=rngs),
        "flatten": lambda rngs: FlattenClassifier(
            num_words, size, longest, num_classes, embedding_scale=scale, rngs=rngs
        ),
    }


def linear_probabilities(corpus: Corpus, longest: int) -> np.ndarray:
    """NB-SVM on the data set's whole training split: probabilities `[N_test, 2]` that are 0 or 1 by its decision."""
    original = corpus.original
    scores = (
        NBSVM(ngrams=longest).fit(original.train.texts, original.train.labels).decision_function(original.test.texts)
    )
    return np.eye(2)[(scores > 0).astype(int)]
