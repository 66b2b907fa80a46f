"""The flags of every experiment that trains, and what is built from them alone."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.command import RunConfig
from experiments.flags import UsageError, flag
from rnn_jax.backends import BACKENDS
from rnn_jax.cells import CELLS
from rnn_jax.initializers import SCHEMES
from rnn_jax.training.optimizers import OPTIMIZERS, SCHEDULES, learning_rate_schedule, make_optimizer

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float64": jnp.float64}


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """Model and training."""

    cell: str = flag("lstm", "recurrent cell", choices=tuple(CELLS))
    hidden_size: int = flag(32, "hidden features", minimum=1)
    num_layers: int = flag(1, "layers", minimum=1)
    bidirectional: bool = flag(False, "read in both directions")
    init: str = flag("pytorch", "how weights begin", choices=tuple(SCHEMES))
    forget_bias: float | None = flag(None, "forget-gate bias at the start, of an LSTM")
    dropout: float = flag(0.0, "dropout rate between layers", minimum=0.0, below=1.0)
    variational: bool = flag(False, "one dropout mask per sequence instead of one per step")
    backend: str = flag("manual", "how values and gradients are computed", choices=tuple(BACKENDS))
    checkpoint_every: int | None = flag(None, "recompute segments of this many steps: less memory", minimum=1)
    truncate_every: int | None = flag(None, "cut the gradient at every so many steps", minimum=1)
    dtype: str = flag("float32", "type of the computation", choices=tuple(DTYPES))
    batch_size: int = flag(64, "examples per step", minimum=1)
    epochs: int = flag(10, "epochs at most", minimum=1)
    optimizer: str = flag("adam", "optimizer", choices=OPTIMIZERS)
    learning_rate: float = flag(1e-3, "highest learning rate", above=0.0)
    schedule: str = flag("cosine", "how the learning rate goes on after the warm-up", choices=SCHEDULES)
    warmup_steps: int = flag(0, "steps of a linear rise of the learning rate from 0", minimum=0)
    clip_norm: float | None = flag(1.0, "largest global norm of the gradient; 0: no clipping", minimum=0.0)
    weight_decay: float = flag(0.0, "decoupled weight decay, for adamw", minimum=0.0)
    patience: int | None = flag(None, "epochs without a better validation loss after which to stop", minimum=1)
    keep: int = flag(3, "checkpoints to keep besides the best", minimum=1)
    seed: int = flag(0, "first seed", minimum=0)
    num_seeds: int = flag(1, "replicas, with seeds counted up from --seed, trained in one program", minimum=1)


def seeds(config: TrainConfig) -> list[int]:
    """The seeds of the replicas."""
    return list(range(config.seed, config.seed + config.num_seeds))


def set_precision(config: TrainConfig) -> None:
    """Switches JAX to 64 bits for `--dtype=float64`; before anything is computed."""
    if config.dtype == "float64":
        jax.config.update("jax_enable_x64", True)


def recurrent_options(config: TrainConfig) -> dict[str, Any]:
    """The options of `rnn_jax.modules.Recurrent`. Raises `UsageError` for flags that contradict each other."""
    options: dict[str, Any] = {
        "num_layers": config.num_layers,
        "bidirectional": config.bidirectional,
        "dropout": config.dropout,
        "variational": config.variational,
        "backend": config.backend,
        "checkpoint_every": config.checkpoint_every,
        "truncate_every": config.truncate_every,
        "init": config.init,
        "dtype": DTYPES[config.dtype],
        "param_dtype": jnp.float64 if config.dtype == "float64" else jnp.float32,
    }
    if config.forget_bias is not None:
        if config.cell != "lstm":
            raise UsageError(f"--forget_bias={config.forget_bias}: --cell={config.cell} has no forget gate; take lstm")
        options["forget_bias"] = config.forget_bias
    return options


def make_schedule(config: TrainConfig, total_steps: int) -> optax.Schedule:
    """The learning rate at each step."""
    return learning_rate_schedule(config.schedule, config.learning_rate, total_steps, config.warmup_steps)


def make_config_optimizer(config: TrainConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    """The optimizer. Raises `UsageError` for weight decay without adamw."""
    try:
        return make_optimizer(
            config.optimizer, schedule, clip_norm=config.clip_norm or None, weight_decay=config.weight_decay
        )
    except ValueError as error:
        raise UsageError(f"--weight_decay={config.weight_decay}: {error}") from error
