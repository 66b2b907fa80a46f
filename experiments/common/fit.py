"""The training run of every experiment: from a task, a model and data to trained parameters and a record of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from tabulate import tabulate

from experiments.common import begun, results
from experiments.common.flags import UsageError
from experiments.common.training import TrainConfig, backend_in_use, devices
from rnn_jax import models
from rnn_jax.training.checkpoints import save_params
from rnn_jax.training.functions import make_functions, map_over_seeds
from rnn_jax.training.loop import Feed, Probe, Schedule, steps_per_dispatch, train
from rnn_jax.training.optimizers import learning_rate_schedule, make_optimizer
from rnn_jax.training.step import Task
from rnn_jax.types import Array, Params

EXPONENTS = 16
"""Lyapunov exponents of each layer, the largest, at a look of `--spectrum_every`."""
SEQUENCES = 8
"""Over how many sequences they are taken."""

WrapOptimizer = Callable[[optax.GradientTransformation], optax.GradientTransformation]


class Look(NamedTuple):
    """Where the gradient through time and the exponents are looked at.

    Attributes:
        take: `data -> (inputs of the model, lengths [B] or None)`: some examples of the validation split.
        score: of the model's output, the number `[B]` whose gradient is followed.
        what: what that number is, in words.
    """

    take: Callable[[Any], tuple[tuple[Any, ...], Array | None]]
    score: Callable[[Array], Array]
    what: str


class Fitted(NamedTuple):
    """A finished training.

    Attributes:
        params: the best of each seed, leading axis S.
        record: what any training says of itself in `results.json`.
    """

    params: Params
    record: dict[str, Any]

    @property
    def first(self) -> Params:
        """The best parameters of the first seed."""
        return jax.tree.map(lambda leaf: leaf[0], self.params)

    def of_each_seed(self, function: Callable[..., Any], *shared: Any) -> Any:
        """`function(params, *shared)` of each seed in one program: leading axis S."""

        def of_all(params: Params, *shared: Any) -> Any:
            parallel = jax.default_backend() != "cpu"
            return map_over_seeds(lambda each: function(each, *shared), parallel)(params)

        return jax.jit(of_all)(self.params, *shared)


def initializer(make_model: Callable[[nnx.Rngs], nnx.Module]) -> Callable[[Array], Params]:
    """`Task.init` of a model."""
    return lambda key: models.pure(make_model(nnx.Rngs(key)))[1]


def make_config_optimizer(config: TrainConfig, learning_rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
    """The optimizer that the flags describe."""
    return make_optimizer(
        config.optimizer, learning_rate, clip_norm=config.clip_norm or None, weight_decay=config.weight_decay
    )


def fit(
    config: TrainConfig,
    name: str,
    task: Task,
    model: nnx.Module,
    data: Any,
    workdir: Path,
    *,
    fingerprint: str,
    look: Look | None = None,
    average_decay: float | None = None,
    wrap_optimizer: WrapOptimizer = lambda optimizer: optimizer,
    finish: Callable[[Params, Any], Params] | None = None,
    feed: Feed | None = None,
) -> Fitted:
    """Trains a replica for each seed, or goes on where the run stands, and keeps the best parameters of the first.

    Args:
        config: the flags.
        name: of the experiment, as one launches it.
        task: what to train.
        model: whose parameters `task.init` draws, for its summary and its size: `rnn_jax.models.abstract` will do.
        data: a pytree of arrays, put on the device once.
        workdir: the run's folder.
        fingerprint: of the data; a run that goes on has to find the same.
        look: what `--gradient_flow_every` and `--spectrum_every` look at; None where the model has no recurrent layer.
        average_decay: of averaged parameters, see `rnn_jax.training.functions.make_functions`.
        wrap_optimizer: what else happens around a step of the optimizer.
        finish: `(params, data) -> params`, what is done to the best parameters of each seed when training is over.
        feed: see `train`.

    Returns: `Fitted`, whose record has `experiment`, `cell`, `backend`, `num_params`, `seeds`, `best_epochs`,
    `best_validation_losses`, `steps`, `compile_seconds` and `train_seconds`.

    Raises: `UsageError` where an epoch has no step, or the run was begun with other data or on another back end; and
    what `train` raises.
    """
    backend = backend_in_use(config)
    begun.check_data(workdir, fingerprint)
    begun.check_backend(workdir, backend)
    steps_per_epoch = task.num_examples // config.batch_size
    if steps_per_epoch == 0:
        raise UsageError(f"--batch_size={config.batch_size}: there are only {task.num_examples} training examples")
    print(tabulate(models.summary(model), headers=["parameter", "shape", "count"], intfmt=",", tablefmt="simple"))
    learning_rate = learning_rate_schedule(
        config.schedule, config.learning_rate, config.epochs * steps_per_epoch, config.warmup_steps
    )
    functions = make_functions(
        task,
        wrap_optimizer(make_config_optimizer(config, learning_rate)),
        batch_size=config.batch_size,
        patience=config.patience,
        devices=devices(config),
        average_decay=average_decay,
    )
    dispatch = steps_per_dispatch(steps_per_epoch, config.steps_per_dispatch)
    schedule = Schedule(steps_per_epoch, config.epochs, dispatch, config.keep)
    begun.note(workdir, fingerprint, backend)
    probes = make_probes(config, model, look)
    trained = train(functions, config.seeds, data, schedule, workdir, learning_rate, probes, feed)
    fitted = Fitted(
        trained.states.best_params,
        {
            "experiment": name,
            "cell": config.cell,
            "backend": backend,
            "num_params": models.num_params(model),
            "seeds": config.seeds,
            "best_epochs": np.asarray(trained.states.best_epoch).tolist(),
            "best_validation_losses": np.asarray(trained.states.best_loss).tolist(),
            "steps": trained.steps,
            "compile_seconds": trained.compile_seconds,
            "train_seconds": trained.train_seconds,
        },
    )
    if finish is not None:
        fitted = fitted._replace(params=fitted.of_each_seed(finish, data))
    if not workdir.is_dir():  # which would be made again, without all else
        raise UsageError(f"--workdir={workdir} is no longer there")
    save_params(workdir / results.MODEL, fitted.first)
    return fitted


def make_probes(config: TrainConfig, model: nnx.Module, look: Look | None) -> list[Probe]:
    """What is looked at every so many steps, where the flags ask for it: the gradient through time, the exponents."""
    probes: list[Probe] = []
    if look is None:
        return probes
    if config.gradient_flow_every is not None:
        gradient_flow = models.make_gradient_flow(model, look.score)

        def flow(params: Params, data: Any) -> dict[str, Array]:
            inputs, lengths = look.take(data)
            return gradient_flow(params, *inputs, lengths=lengths)

        probes.append(Probe("gradient_flow", config.gradient_flow_every, flow))
    if config.spectrum_every is not None:
        spectrum = models.make_spectrum(model, EXPONENTS, SEQUENCES)
        probes.append(
            Probe("spectrum", config.spectrum_every, lambda params, data: spectrum(params, *look.take(data)[0]))
        )
    return probes


def float_data(config: TrainConfig, array: np.ndarray) -> np.ndarray:
    """An array in the type of the model's inputs: float64 for `--dtype=float64`, else float32."""
    return array.astype(jnp.float64 if config.dtype == "float64" else jnp.float32)
