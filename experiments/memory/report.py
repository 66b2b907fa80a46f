"""What a long-memory run leaves: measures of the test split by length, plots, a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from experiments.common import results
from experiments.common.fit import Fitted
from experiments.common.plots import draw
from experiments.memory.flags import Config
from experiments.memory.problem import Problem
from experiments.memory.task import mean_measures, num_batches, sizes
from rnn_jax.plotting import gradients, memory_tasks
from rnn_jax.training.log import read_log
from rnn_jax.types import Params


def measure(problem: Problem, apply: Any, fitted: Fitted, length: int) -> dict[str, Any]:
    """The measures of the test split at one length, over seeds and of the answer without a memory."""

    batches = num_batches(problem, "test", length) * len(fitted.record["seeds"])
    # A million steps take minutes, of which one would not know; what takes seconds shows nothing.
    bar = tqdm(total=batches, desc=f"test split, length {length:,}", unit="batch", delay=2, dynamic_ncols=True)

    def of_model(params: Params, data: Any) -> dict[str, Any]:
        return mean_measures(problem, lambda xs, _: apply(params, xs), data, "test", length, bar.update)

    @jax.jit
    def of_trivial(data: Any) -> dict[str, Any]:
        return mean_measures(problem, lambda _, targets: problem.trivial(targets), data, "test", length)

    names = (problem.loss, "accuracy")
    with bar:
        ours = jax.block_until_ready(fitted.of_each_seed(of_model, problem.data))
        jax.effects_barrier()
    theirs = of_trivial(problem.data)
    found = {name: results.spread(np.asarray(ours[name]).tolist()) for name in names}
    trivial = {name: results.spread([float(theirs[name])]) for name in names}
    return {"metrics": found, "baselines": {"trivial": trivial}, "trivial_exact": problem.exact(length)}


def write(
    config: Config, workdir: Path, problem: Problem, record: Mapping[str, Any], by_length: dict[int, dict[str, Any]]
) -> None:
    """Writes `results.json`, and draws."""
    trained = by_length[problem.length]
    folder, records = workdir / "plots", read_log(workdir / "metrics.jsonl")
    losses = [each for each in records if "loss" in each]
    level, name = trained["baselines"]["trivial"][problem.loss]["mean"], results.with_seeds(config.cell, config.seeds)
    found = {
        **record,
        "dataset": problem.name,
        "protocol": f"length {problem.length}",
        "model": sizes(problem),
        "metrics": trained["metrics"],
        "baselines": trained["baselines"],
        "lengths": {str(length): found for length, found in by_length.items()},
    }
    results.write(workdir, found)
    draw(memory_tasks.learning_curve, folder / "learning.png", losses, problem.loss, level)
    draw(gradients.flow_from_log, folder / "gradient_flow.png", records)
    draw(gradients.spectrum_from_log, folder / "spectrum.png", records)
    draw(memory_tasks.metric_by_length, folder / "lengths.png", by_length, problem.loss, name, problem.length)


def show(workdir: Path) -> None:
    """Prints the results of a finished run."""
    found = results.read(workdir)
    assert found is not None
    rows = {}
    for length, at in found["lengths"].items():
        rows[f"{results.with_seeds(found['cell'], found['seeds'])}, length {length}"] = at["metrics"]
        rows[f"trivial, length {length}"] = at["baselines"]["trivial"]
    print(f"\n{found['dataset']}, {found['protocol']}, test split:\n")
    print(results.table(rows, list(found["metrics"]), digits=5))
    print(f"\n{results.costs(found)}\nplots: {workdir / 'plots'}")
