"""A run of the long-memory tasks."""

from functools import partial
from pathlib import Path

from experiments.common import results
from experiments.common.fit import fit
from experiments.memory import flossing, report, task
from experiments.memory.flags import Config
from experiments.memory.problem import evaluation_lengths, read_problem
from experiments.memory.task import look_at, make_model
from rnn_jax import models
from rnn_jax.training.processes import is_first

__all__ = ["look_at", "make_model", "run"]


def run(name: str, config: Config, workdir: Path) -> None:
    """Trains, evaluates the test split once at each length, writes `results.json` and plots, prints the table."""

    def train() -> None:
        train_and_evaluate(name, config, workdir)

    results.run_or_show(name, workdir, train, report.show, lambda: read_problem(config).fingerprint)


def train_and_evaluate(name: str, config: Config, workdir: Path) -> None:
    """The run itself."""
    problem = read_problem(config)
    counts = ", ".join(f"{count:,} {split}" for split, count in problem.num_examples.items())
    print(f"data: {problem.name}, length {problem.length:,}, examples: {counts}")
    model = models.abstract(partial(task.make_model, config, **task.sizes(problem)))
    apply, _ = models.pure(model)
    fitted = fit(
        config,
        name,
        flossing.before_training(config, problem, task.make_task(config, problem, apply)),
        model,
        problem.data,
        workdir,
        fingerprint=problem.fingerprint,
        look=task.make_look(problem),
        wrap_optimizer=lambda optimizer: flossing.during_training(config, problem, optimizer),
    )
    lengths = evaluation_lengths(config, problem)
    by_length = {length: report.measure(problem, apply, fitted, length) for length in lengths}
    if is_first():
        report.write(config, workdir, problem, fitted.record, by_length)
