"""Learn what takes a long memory: generated tasks, and MNIST a pixel at a time.

Without flags: the sum of two marked numbers among 100. The same among 1,000, and digits:

    python launch.py memory --length=1000 --chrono=1000 --batch_size=32
    python launch.py memory --task=sequential_mnist --data_dir=DATA --chrono=6 --hidden_size=96 --epochs=25

Test examples are as long as those of training, and twice and four times as long. experiments/README.md lists commands,
times and figures to expect.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from tabulate import tabulate

from experiments.common import results
from experiments.common.command import check_data, check_finished, note_data
from experiments.common.command import main as run_command
from experiments.common.flags import UsageError
from experiments.common.training_flags import (
    backend_in_use,
    make_config_optimizer,
    make_schedule,
    seeds,
    set_devices,
    set_precision,
)
from experiments.memory import flossing as memory_flossing
from experiments.memory.task import (
    Config,
    Problem,
    evaluation_lengths,
    make_model,
    make_probe,
    make_task,
    mean_measures,
    read_problem,
)
from rnn_jax import models
from rnn_jax.plotting import gradients as plotting_gradients
from rnn_jax.plotting import memory_tasks as plotting_memory
from rnn_jax.training.checkpoints import save_params
from rnn_jax.training.log import read_log
from rnn_jax.training.loop import Schedule, steps_per_dispatch, train
from rnn_jax.training.step import make_functions, map_over_seeds
from rnn_jax.types import Params


def run(config: Config, workdir: Path) -> None:
    """Trains, evaluates the test split once at each length, writes `results.json` and plots, prints the table."""
    memory_flossing.check(config)
    set_precision(config)
    if results.read(workdir) is None:
        _train_and_evaluate(config, workdir)
    else:
        remark = check_finished(workdir, lambda: read_problem(config).fingerprint)
        print(f"this run is finished{remark}; its results:")
    _report(workdir)


def _train_and_evaluate(config: Config, workdir: Path) -> None:
    num_devices = set_devices(config)
    problem = read_problem(config)
    check_data(workdir, problem.fingerprint)
    lengths = evaluation_lengths(config, problem)
    counts = ", ".join(f"{count:,} {split}" for split, count in problem.num_examples.items())
    print(f"data: {problem.name}, length {problem.length:,}, examples: {counts}")
    steps_per_epoch = problem.num_examples["train"] // config.batch_size
    if steps_per_epoch == 0:
        count = problem.num_examples["train"]
        raise UsageError(f"--batch_size={config.batch_size}: there are only {count} training examples")

    model = make_model(config, problem, nnx.Rngs(config.seed))
    print(tabulate(models.summary(model), headers=["parameter", "shape", "count"], intfmt=",", tablefmt="simple"))
    apply, _ = models.pure(model)
    learning_rate = make_schedule(config, config.epochs * steps_per_epoch)
    task, optimizer = make_task(config, problem, apply), make_config_optimizer(config, learning_rate)
    if config.flossing:
        task = task._replace(init=memory_flossing.before_training(config, problem, task.init))
    if config.flossing_every is not None:
        optimizer = memory_flossing.during_training(config, problem, optimizer)
    functions = make_functions(
        task,
        optimizer,
        batch_size=config.batch_size,
        patience=config.patience,
        num_devices=num_devices,
    )
    dispatch = steps_per_dispatch(steps_per_epoch, config.steps_per_dispatch)
    schedule = Schedule(steps_per_epoch, config.epochs, dispatch, config.keep)
    note_data(workdir, problem.fingerprint)
    trained = train(
        functions, seeds(config), problem.data, schedule, workdir, learning_rate, make_probe(config, problem, model)
    )
    save_params(workdir / results.MODEL, jax.tree.map(lambda leaf: leaf[0], trained.states.best_params))

    by_length = {length: _test(problem, apply, trained.states.best_params, length) for length in lengths}
    level = by_length[problem.length]["baselines"]["trivial"]
    several = len(seeds(config))
    _plot(workdir, problem, by_length, f"{config.cell} ({several} seed{'s' * (several > 1)})")  # before the results
    results.write(
        workdir,
        {
            "experiment": "memory",
            "dataset": problem.name,
            "protocol": f"length {problem.length}",
            "cell": config.cell,
            "backend": backend_in_use(config),
            "num_params": models.num_params(model),
            "seeds": seeds(config),
            "metrics": by_length[problem.length]["metrics"],
            "baselines": {"trivial": level},
            "lengths": {str(length): found for length, found in by_length.items()},
            "best_epochs": np.asarray(trained.states.best_epoch).tolist(),
            "steps": trained.steps,
            "compile_seconds": trained.compile_seconds,
            "train_seconds": trained.train_seconds,
        },
    )


def _test(problem: Problem, apply: Any, params: Params, length: int) -> dict[str, Any]:
    """The measures of the test split at one length, over seeds and of the answer without a memory."""

    @jax.jit
    def of_models(params: Params, data: Any) -> dict[str, Any]:
        def of_seed(params: Params) -> dict[str, Any]:
            return mean_measures(problem, lambda xs, _: apply(params, xs), data, "test", length)

        return map_over_seeds(of_seed, parallel=jax.default_backend() != "cpu")(params)

    @jax.jit
    def of_trivial(data: Any) -> dict[str, Any]:
        return mean_measures(problem, lambda _, targets: problem.trivial(targets), data, "test", length)

    names = (problem.loss, "accuracy")
    ours, theirs = of_models(params, problem.data), of_trivial(problem.data)
    found = {name: results.spread(np.asarray(ours[name]).tolist()) for name in names}
    trivial = {name: results.spread([float(theirs[name])]) for name in names}
    return {"metrics": found, "baselines": {"trivial": trivial}, "trivial_exact": problem.exact(length)}


def _plot(workdir: Path, problem: Problem, by_length: dict[int, dict[str, Any]], name: str) -> None:
    level = by_length[problem.length]["baselines"]["trivial"][problem.loss]["mean"]
    folder, records = workdir / "plots", read_log(workdir / "metrics.jsonl")
    losses = [record for record in records if "loss" in record]
    plotting_memory.learning_curve(folder / "learning.png", losses, problem.loss, level)
    plotting_gradients.flow_from_log(folder / "gradient_flow.png", records)
    plotting_memory.metric_by_length(folder / "lengths.png", by_length, problem.loss, name, problem.length)


def _report(workdir: Path) -> None:
    found = results.read(workdir)
    assert found is not None
    several = len(found["seeds"])
    rows = {}
    for length, at in found["lengths"].items():
        rows[f"{found['cell']} ({several} seed{'s' * (several > 1)}), length {length}"] = at["metrics"]
        rows[f"trivial, length {length}"] = at["baselines"]["trivial"]
    print(f"\n{found['dataset']}, {found['protocol']}, test split:\n")
    print(results.table(rows, list(found["metrics"]), digits=5))
    print(f"\n{results.costs(found)}\nplots: {workdir / 'plots'}")


def main(arguments: Sequence[str]) -> int:
    """The command line of this experiment; returns the exit status."""
    return run_command("memory", Config, run, __doc__, arguments)


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
