"""Where the time of a training step goes, in four experiments at their default sizes.

    python -m benchmarks.profile_step

Timed are whole steps, as in training (`whole`, many in one dispatch), and by themselves: the recurrent layers, forward
and backward, on what they read of one batch (`recurrent`); the embedding, rows taken and their gradient added up into
the whole table (`embedding`); the outputs of all steps made one vector, and the way back (`pooling`); all that happens
to a gradient (`optimizer`: clip, Adam, norms for the log, the average of the parameters; `norms` is the share of those
for the log); batches cut from the data (`batch`); and one more dispatch (`dispatch`). What is left of a step is its
dropout, head and loss (`rest`, negative where parts that are timed by themselves find less in the cache). Parts do the
same number of steps in one program, and take turns.

The text classifier reads reviews of the lengths of IMDB's, cut at 240 words and all padded to that, with random words,
so that no data file is needed and every batch has one shape. A step of `ntc_scv` is then the same program.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tabulate import tabulate

from benchmarks.imdb_epoch import random_reviews
from benchmarks.ours import Training
from benchmarks.training import parser, save
from experiments.common.fit import initializer, make_config_optimizer
from experiments.common.flags import parse
from experiments.common.training import TrainConfig, backend_in_use, prepare_jax
from experiments.forecast import task as forecast_task
from experiments.forecast.defaults import settle
from experiments.forecast.flags import Config as ForecastConfig
from experiments.language_model import task as language_task
from experiments.language_model.flags import LanguageConfig
from experiments.memory import task as memory_task
from experiments.memory.flags import Config as MemoryConfig
from experiments.memory.problem import read_problem
from experiments.text import task as text_task
from experiments.text.flags import TextConfig
from rnn_jax import models
from rnn_jax.data.series import synthetic
from rnn_jax.models.calls import record_call
from rnn_jax.models.pooling import FINAL, pool_steps
from rnn_jax.training.state import TrainState, apply_gradient
from rnn_jax.types import Array, Params

STEPS = 16
"""In one program."""
REVIEWS, HOURS = 1_024 + 64, 4_000


INSIDE = ("recurrent", "embedding", "pooling", "optimizer", "batch")
"""The parts of a step that are timed by themselves."""


class Subject(NamedTuple):
    """A training to look into.

    Attributes:
        config: its flags.
        training: of the experiment.
        task: what it trains.
        model: of `rnn_jax.models.abstract`.
        inputs: of a batch, what the model is called with.
        average_decay: of the averaged parameters; None: none.
    """

    config: TrainConfig
    training: Training
    task: Any
    model: Any
    inputs: Callable[[Any], tuple[Any, ...]]
    average_decay: float | None = None


def imdb(*flags: str) -> Subject:
    """The text classifier."""
    config = parse(TextConfig, ["--num_devices=1", "--num_lengths=1", "--max_tokens=240", *flags])
    corpus = random_reviews(config, REVIEWS)
    make = partial(text_task.make_model, config, vocab_size=config.vocab_size, num_classes=2)
    model = models.abstract(make)
    task = text_task.make_task(config, corpus, make, models.pure(model)[0])
    decay = config.average_decay or None
    training = Training(config, task, text_task.device_data(corpus), average_decay=decay)
    return Subject(config, training, task, model, lambda batch: tuple(batch[0]), decay)


def language_model(*flags: str) -> Subject:
    """The language model, on the built-in grammar."""
    config = parse(LanguageConfig, ["--num_devices=1", *flags])
    corpus = language_task.read_corpus(config)
    make = partial(language_task.make_model, config, vocab_size=corpus.vocabulary.size)
    model = models.abstract(make)
    task, feed = language_task.make_task(config, corpus, model, initializer(make))
    data = {"validation": corpus.validation.tokens, **feed(0, 0)}
    return Subject(config, Training(config, task, data), task, model, lambda batch: batch[:1])


def forecast(*flags: str) -> Subject:
    """The forecaster, on the made-up temperature."""
    series = synthetic.hourly_temperature(HOURS, seed=0)
    config = settle(parse(ForecastConfig, ["--num_devices=1", *flags]), series)
    cut = forecast_task.cut(config, series)
    sizes = forecast_task.model_sizes(config, cut, line=None)
    model = models.abstract(partial(forecast_task.make_model, config, **sizes))
    task = forecast_task.make_training_task(config, cut, sizes, model)
    decay = config.average_decay or None
    training = Training(config, task, forecast_task.device_data(config, cut), average_decay=decay)
    return Subject(config, training, task, model, lambda batch: batch[:2], decay)


def memory(*flags: str) -> Subject:
    """Adding two numbers far back."""
    config = parse(MemoryConfig, ["--num_devices=1", *flags])
    problem = read_problem(config)
    model = models.abstract(partial(memory_task.make_model, config, **memory_task.sizes(problem)))
    task = memory_task.make_task(config, problem, models.pure(model)[0])
    return Subject(config, Training(config, task, problem.data), task, model, lambda batch: batch[:1])


SUBJECTS: dict[str, Callable[..., Subject]] = {
    "imdb": imdb,
    "language_model": language_model,
    "forecast": forecast,
    "memory": memory,
}
"""By experiment."""


def parts(subject: Subject) -> dict[str, Callable[[], Any]]:
    """What is timed, by name: functions that do `STEPS` steps of a part, compiled and run once."""
    config, training, task = subject.config, subject.training, subject.task
    params: Params = jax.tree.map(lambda leaf: jnp.copy(leaf[0]), training.states.params)
    order = jnp.arange(config.batch_size * STEPS)
    length = () if task.length_index is None else (task.lengths[0],)

    def batch(data: Any, i: Array) -> Any:
        indices = jax.lax.dynamic_slice_in_dim(order, i * config.batch_size, config.batch_size)
        return task.batch(data, indices, *length)

    def repeated(of: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
        """`STEPS` times, each with other numbers and a part in the sum, so that none is left out."""

        def body(i: Array, state: tuple[Any, Array]) -> tuple[Any, Array]:
            arguments, total = state
            found = of(i, *arguments)
            return arguments, total + sum(leaf.ravel()[0].astype(jnp.float32) for leaf in jax.tree.leaves(found))

        def run(*arguments: Any) -> Array:
            return jax.lax.fori_loop(0, STEPS, body, (arguments, jnp.float32(0)))[1]

        return partial(jax.jit(run), *arguments)

    inputs = subject.inputs(jax.jit(batch)(training.data, 0))
    with_params = models.bind(subject.model)
    call = jax.jit(lambda params, inputs: record_call(with_params, params, inputs))(params, inputs)
    lengths = None if call.valid is None else call.valid.sum(axis=0)

    def layers(i: Array, params: Params, xs: Array) -> Any:
        def summed(params: Params, xs: Array) -> Array:
            return with_params(params).recurrent(xs, lengths=lengths, time_major=True)[1].astype(jnp.float32).sum()

        return jax.grad(summed, (0, 1))(params, xs + 1e-6 * i)

    def pooled(i: Array, ys: Array, lengths: Array) -> Array:
        return jax.grad(lambda ys: pool_steps(ys, lengths, subject.model.pool).sum())(ys + 1e-6 * i)

    def rows(i: Array, table: Array, tokens: Array) -> Array:
        def summed(table: Array) -> Array:
            return (table[tokens] * (1.0 + i)).sum()

        return jax.grad(summed)(table)

    optimizer = make_config_optimizer(config, config.learning_rate)
    gradient = jax.tree.map(lambda leaf: 1e-3 * jnp.ones_like(leaf), params)

    def optimizing(norms: bool) -> Callable[[], Any]:
        def body(i: Array, now: tuple[TrainState, Array]) -> tuple[TrainState, Array]:
            state, of_steps = apply_gradient(now[0], gradient, optimizer, i, subject.average_decay)
            return state, now[1] + (of_steps["grad_norm"] + of_steps["update_norm"] if norms else 0.0)

        run = jax.jit(lambda *now: jax.lax.fori_loop(0, STEPS, body, now), donate_argnums=0)
        # Training's own state is consumed by its steps: this one is as large, and goes on by itself.
        held = [jax.tree.map(lambda leaf: jnp.copy(leaf[0]), training.states)]

        def optimize() -> Any:
            held[0], total = run(held[0], jnp.float32(0))
            return total

        return optimize

    found: dict[str, Callable[[], Any]] = {
        "whole": lambda: training.train(0, STEPS),
        "dispatches": lambda: [training.train(i, 1) for i in range(STEPS)],
        "recurrent": repeated(layers, params, call.xs),
        "optimizer": optimizing(norms=True),
        "optimizer_alone": optimizing(norms=False),
        "batch": repeated(lambda i, data: batch(data, i), training.data),
    }
    if getattr(subject.model, "pool", FINAL[0]) not in FINAL:
        ys = with_params(params).recurrent(call.xs, lengths=lengths, time_major=True)[1]
        found["pooling"] = repeated(pooled, ys, lengths)
    if "embedding" in params:
        table = params["embedding"]["table"]
        found["embedding"] = repeated(rows, table, inputs[0].T)
    return found


def batches(subject: Subject) -> list[Any]:
    """Those of the first `STEPS` steps, in the order of the data."""
    size, task = subject.config.batch_size, subject.task
    length = () if task.length_index is None else (task.lengths[0],)
    take = jax.jit(lambda data, indices: task.batch(data, indices, *length))
    return [take(subject.training.data, jnp.arange(i * size, (i + 1) * size)) for i in range(STEPS)]


def milliseconds(functions: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Of each part and turn, milliseconds per step."""
    found: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(1 + repeats):
        for name, function in functions.items():
            started = time.perf_counter()
            jax.block_until_ready(function())
            if turn > 0:  # the first one compiles
                found[name].append(1000 * (time.perf_counter() - started) / STEPS)
    return found


def shares(found: Mapping[str, list[float]]) -> dict[str, float]:
    """Milliseconds per step of a whole step and of its parts, each in its fastest turn.

    Not medians: parts are subtracted from one another, and what else the machine does falls on them unequally.
    """
    fastest = {name: min(values) for name, values in found.items()}
    inside: dict[str, float] = {name: fastest[name] for name in INSIDE if name in fastest}
    dispatch = fastest["dispatches"] - fastest["whole"]
    return {
        "whole": fastest["whole"],
        **inside,
        "norms": fastest["optimizer"] - fastest["optimizer_alone"],
        "rest": fastest["whole"] - sum(inside.values()),
        "dispatch": dispatch,
    }


def main() -> None:
    """Times, prints a table and saves the raw numbers."""
    flags = parser(__doc__, repeats=15)
    flags.add_argument("--only", choices=SUBJECTS, action="append", help="one experiment; may be given again")
    arguments = flags.parse_args()
    prepare_jax(TrainConfig(num_devices=1))
    steps: dict[str, dict[str, float]] = {}
    raw: dict[str, list[float]] = {}
    about: dict[str, Any] = {}
    for name in arguments.only or SUBJECTS:
        subject = SUBJECTS[name]()
        found = milliseconds(parts(subject), arguments.repeats)
        steps[name] = shares(found)
        raw |= {f"{name}/{part}": [each / 1000 for each in values] for part, values in found.items()}
        sizes: dict[str, Any] = {
            key: getattr(subject.config, key) for key in ("cell", "batch_size", "hidden_size", "num_layers")
        }
        if "embedding" in found:
            tokens = [np.unique(subject.inputs(each)[0]) for each in batches(subject)]
            sizes["rows"] = subject.training.states.params["embedding"]["table"].shape[1]
            sizes["rows_of_a_step"] = statistics.mean(map(len, tokens))
        about[name] = {
            **sizes,
            "backend": backend_in_use(subject.config),
            "num_params": models.num_params(subject.model),
            "steps_per_dispatch": subject.config.steps_per_dispatch,
        }
        print(name, {part: round(value, 2) for part, value in steps[name].items()}, flush=True)
    head = list(dict.fromkeys(part for each in steps.values() for part in each))
    print(tabulate([[name, *(each.get(part) for part in head)] for name, each in steps.items()], headers=["", *head]))
    save(arguments.raw_dir, "profile_step", {"experiments": about, "milliseconds": steps}, raw)


if __name__ == "__main__":
    main()
