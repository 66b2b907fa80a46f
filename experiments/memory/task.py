"""Training on a long-memory problem, as pure functions."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.common.fit import Look, initializer
from experiments.common.training import recurrent_options
from experiments.memory.flags import Config
from experiments.memory.problem import Problem, read_problem
from rnn_jax.models import SequenceModel
from rnn_jax.training.step import Task
from rnn_jax.types import Array, Params

LOOK_BATCH = 16
STEPS_AT_ONCE = 2**18
"""Examples times steps that are evaluated side by side: it bounds the memory of long sequences."""


def sizes(problem: Problem) -> dict[str, Any]:
    """Of the model that a problem takes."""
    return {
        "input_size": problem.num_features,
        "output_size": problem.num_outputs,
        "every_step": problem.every_step,
    }


def make_model(config: Config, rngs: nnx.Rngs, *, input_size: int, output_size: int, every_step: bool) -> SequenceModel:
    """The model that the flags describe."""
    options = recurrent_options(config)
    return SequenceModel(
        config.cell, input_size, config.hidden_size, output_size, every_step=every_step, rngs=rngs, **options
    )


def make_look(problem: Problem, count: int = LOOK_BATCH) -> Look:
    """The gradient of the last answer, the sum of its numbers, on the first `count` validation examples."""
    indices = jnp.arange(min(count, problem.num_examples["validation"]))

    def take(data: Any) -> tuple[tuple[Array], None]:
        return (problem.take(data, "validation", indices, problem.length)[0],), None

    def score(outputs: Array) -> Array:
        return (outputs[:, -1] if problem.every_step else outputs).sum(axis=-1)

    return Look(take, score, "the last answer")


def look_at(config: Config, count: int) -> tuple[Look, Any]:
    """Where to look at a trained model, and the data for it."""
    problem = read_problem(config)
    return make_look(problem, count), jax.device_put(problem.data)


def batch_of(count: int, length: int) -> int:
    """How many of `count` sequences are read at once."""
    return max(min(count, STEPS_AT_ONCE // length), 1)


def num_batches(problem: Problem, split: str, length: int) -> int:
    """In how many parts a split is read."""
    count = problem.num_examples[split]
    return -(-count // batch_of(count, length))


def mean_measures(
    problem: Problem,
    answer: Callable[[Array, Array], Array],
    data: Any,
    split: str,
    length: int,
    tick: Callable[[], Any] | None = None,
) -> dict[str, Array]:
    """The measures of a split, `[]` each: means over its examples, a batch at a time.

    `answer` is `(xs, targets) -> outputs`; a model does not look at the targets. `tick` is called after each of the
    `num_batches`.
    """
    count, batches = problem.num_examples[split], num_batches(problem, split, length)
    batch_size = batch_of(count, length)
    indices = jnp.resize(jnp.arange(count), (batches, batch_size))  # repeats some examples; they are not counted

    def batch(indices: Array) -> dict[str, Array]:
        xs, targets = problem.take(data, split, indices, length)
        measures = problem.measure(answer(xs, targets), targets)
        if tick is not None:

            def after(_: Array) -> None:
                tick()

            jax.debug.callback(after, measures[problem.loss])
        return measures

    return {name: each.ravel()[:count].mean() for name, each in jax.lax.map(batch, indices).items()}


def make_task(config: Config, problem: Problem, apply: Any) -> Task:
    """Training on a problem, as pure functions."""

    def loss(params: Params, batch: tuple[Array, Array], key: Array) -> tuple[Array, dict[str, Array]]:
        xs, targets = batch
        rngs = nnx.Rngs(dropout=key) if config.dropout or config.zoneout else None
        measures = {name: each.mean() for name, each in problem.measure(apply(params, xs, rngs=rngs), targets).items()}
        return measures[problem.loss], {"accuracy": measures["accuracy"]}

    def batch(data: Any, indices: Array) -> tuple[Array, Array]:
        return problem.take(data, "train", indices, problem.length)

    def evaluate(params: Params, data: Any) -> dict[str, Array]:
        measures = mean_measures(problem, lambda xs, _: apply(params, xs), data, "validation", problem.length)
        chosen = measures[problem.chosen_by]
        return {"loss": 1 - chosen if problem.chosen_by == "accuracy" else chosen, **measures}

    init = initializer(partial(make_model, config, **sizes(problem)))
    return Task(init, loss, batch, evaluate, problem.num_examples["train"], spread=("train_pixels",))
