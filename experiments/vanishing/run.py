"""How far back does a trained network look? The gradient through time of a finished run, on its own validation data."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from tabulate import tabulate

from experiments.common import results
from experiments.common.flags import UsageError, parse
from experiments.common.training_flags import set_precision
from experiments.forecast import main as forecast
from experiments.memory import task as memory_task
from experiments.text import task as text_task
from experiments.text.flags import TextConfig, make_classifier
from rnn_jax import models
from rnn_jax.data.series.forecasting import make_task
from rnn_jax.diagnostics.horizon import memory_horizon
from rnn_jax.models.gradient_flow import make_gradient_flow
from rnn_jax.plotting import gradients as plotting_gradients
from rnn_jax.training.checkpoints import load_params
from rnn_jax.types import Array, Params

BATCH = 256


class Network(NamedTuple):
    """A trained network and data to look at it with.

    Attributes:
        model: as it was built, its parameters not yet those of the run.
        params: the best of the first seed.
        inputs: of the model, on validation data.
        lengths: `[B]`, or None where all sequences have the same.
        score: of the output, the number whose gradient is followed.
        what: what that number is.
    """

    model: Any
    params: Params
    inputs: tuple[Any, ...]
    lengths: Array | None
    score: Any
    what: str


def read_forecaster(folder: Path) -> Network:
    """The network of a `forecast` run."""
    config = parse(forecast.Config, [f"--flagfile={folder / 'flags.txt'}", "--backend=auto"])
    set_precision(config)
    task = make_task(forecast.read_series(config), config.protocol, config.lag, config.ahead)
    model = forecast.make_model(config, task.values.shape[1], nnx.Rngs(0))
    starts = task.validation[np.linspace(0, len(task.validation) - 1, BATCH).astype(int)]
    data: Any = {"series": jax.numpy.asarray(task.standardised.astype(np.float32))}
    windows = forecast.take_windows(data, jax.numpy.asarray(starts), config.lag, config.ahead)[0]
    params = load_params(folder / results.MODEL, models.pure(model)[1])
    return Network(model, params, (windows,), None, lambda y: y.sum(axis=-1), "the forecast")


def read_classifier(folder: Path) -> Network:
    """The network of a run of text classification."""
    config = parse(TextConfig, [f"--flagfile={folder / 'flags.txt'}", "--backend=auto"])
    set_precision(config)
    corpus = text_task.make_corpus(config, text_task.read_reviews(config))
    num_words, num_classes = corpus.vocabulary.get_vocab_size(), len(corpus.data.classes)
    model = make_classifier(config, num_words, num_classes, nnx.Rngs(0))
    first, last = corpus.first[1], corpus.first[2]
    indices = jax.numpy.linspace(first, last - 1, min(BATCH, last - first)).astype(int)
    data = jax.device_put(text_task.device_data(corpus))
    inputs = text_task.take_texts(data, indices, corpus.bounds.lengths[-1], config.read_padding)
    params = load_params(folder / results.MODEL, models.pure(model)[1])
    return Network(model, params, tuple(inputs), inputs.lengths, text_task.margin, "the scores' difference")


def read_memory(folder: Path) -> Network:
    """The network of a run of a long-memory task."""
    config = parse(memory_task.Config, [f"--flagfile={folder / 'flags.txt'}", "--backend=auto"])
    set_precision(config)
    problem = memory_task.read_problem(config)
    model = memory_task.make_model(config, problem, nnx.Rngs(0))
    indices = jax.numpy.arange(min(memory_task.FLOW_BATCH, problem.num_examples["validation"]))
    xs, _ = problem.take(jax.device_put(problem.data), "validation", indices, problem.length)
    params = load_params(folder / results.MODEL, models.pure(model)[1])
    return Network(model, params, (xs,), None, memory_task.last_answer(problem), "the last answer")


READERS = {
    "forecast": read_forecaster,
    **dict.fromkeys(("imdb", "ntc_scv", "synthetic_reviews"), read_classifier),
    "memory": read_memory,
}


def read(folder: Path) -> Network:
    """The network of a finished run. Raises `UsageError` where the folder holds none that can be looked at."""
    found = results.read(folder) if (folder / "flags.txt").is_file() else None
    if found is None or not (folder / results.MODEL).is_dir():
        raise UsageError(f"--run={folder}: no finished run with a model there; train one to its end first")
    if found["experiment"] not in READERS:
        raise UsageError(f"--run={folder}: a run of {found['experiment']}; take one of {', '.join(READERS)}")
    return READERS[found["experiment"]](folder)


def verdict(values: np.ndarray) -> tuple[str, float, float]:
    """What log10 norms by lag mean in words, and the lags at which they have fallen by e and by 1,000."""
    known = values[np.isfinite(values)] * np.log(10)
    by_e, by_1000 = memory_horizon(known), memory_horizon(known, 1000)
    if np.isinf(by_1000):
        text = f"all {known.size} steps count: the first still has {10 ** (values[known.size - 1] - values[0]):.2g} of "
        return text + "the last one's gradient", by_e, by_1000
    return f"looks back {by_e:.0f} steps (to 1/e), {by_1000:.0f} steps to a thousandth", by_e, by_1000


def run(given: str, workdir: Path) -> None:
    """Measures, writes `results.json` and a plot into `workdir`, prints the table; the run's folder stays as it is."""
    network = read(Path(given))
    flow = jax.jit(make_gradient_flow(network.model, network.score))
    found = flow(jax.device_put(network.params), *network.inputs, lengths=network.lengths)
    rows, curves = [], {}
    for layer, values in ((layer, np.asarray(values, np.float64)) for layer, values in found.items()):
        text, by_e, by_1000 = verdict(values)
        lags = [lag for lag in (1, 10, 100, 1000) if lag < values.size and np.isfinite(values[lag])]
        falls = {str(lag): float(values[lag] - values[0]) for lag in lags}
        rows.append(
            {"layer": layer, "log10_gradient": falls, "horizon_e": by_e, "horizon_1000": by_1000, "verdict": text}
        )
        curves[layer] = (np.arange(1, values.size), values[1:] - values[0])
    title = f"How far back does it look? Gradient of {network.what}"
    plotting_gradients.by_lag(workdir / "plots" / "run.png", title, curves, "log10 of dy/dh_t against lag 0")
    results.write(workdir, {"experiment": "vanishing", "rows": rows})
    body = [[row["layer"], *(f"{v:+.1f}" for v in row["log10_gradient"].values()), row["verdict"]] for row in rows]
    lags = list(rows[0]["log10_gradient"])
    print(f"\nlog10 of the gradient of {network.what} with respect to h_t, against its value at lag 0:\n")
    print(tabulate(body, headers=["layer", *(f"lag {lag}" for lag in lags), "verdict"], tablefmt="pipe"))
    print(f"\nplots: {workdir / 'plots'}")
