"""The flags of every experiment that trains, and what is built from them alone."""

import contextlib
import inspect
import os
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.common.command import RunConfig
from experiments.common.flags import UsageError, flag
from rnn_jax.backends import CHOICES, choose, has_rule
from rnn_jax.cells import CELLS
from rnn_jax.controls import StepMasks
from rnn_jax.initializers import SCHEMES
from rnn_jax.training.optimizers import OPTIMIZERS, SCHEDULES, learning_rate_schedule, make_optimizer

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float64": jnp.float64}

MANY = 1_000_000
"""More of anything is a mistyped flag."""


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """Model and training."""

    cell: str = flag("lstm", "recurrent cell", choices=tuple(CELLS))
    hidden_size: int = flag(32, "hidden features", minimum=1, maximum=8192)
    num_layers: int = flag(1, "layers", minimum=1, maximum=1000)
    bidirectional: bool = flag(False, "read in both directions")
    init: str = flag("pytorch", "how weights begin", choices=tuple(SCHEMES))
    gain: float = flag(1.0, "factor of the recurrent weights at the start", minimum=0.0)
    forget_bias: float | None = flag(None, "forget-gate bias at the start, of an LSTM")
    chrono: int | None = flag(
        None, "longest memory wanted in steps: draws the biases of forget and input gate", minimum=3, maximum=MANY
    )
    zoneout: float = flag(0.0, "share of the state that is kept from the step before", minimum=0.0, below=1.0)
    dropout: float = flag(0.0, "dropout rate between layers", minimum=0.0, below=1.0)
    variational: bool = flag(False, "one dropout mask per sequence instead of one per step")
    backend: str = flag(
        "auto",
        "how values and gradients are computed; auto: on a CPU native, if compiled "
        "(python -m rnn_jax.backends.native), else manual where the cell has a rule; cudnn and pallas: for a GPU, auto "
        "where they cannot",
        choices=CHOICES,
    )
    checkpoint_every: int | None = flag(
        None, "recompute segments of this many steps: less memory", minimum=1, maximum=MANY
    )
    truncate_every: int | None = flag(None, "cut the gradient at every so many steps", minimum=1, maximum=MANY)
    dtype: str = flag("float32", "type of the computation", choices=tuple(DTYPES))
    batch_size: int = flag(64, "examples per step", minimum=1, maximum=MANY)
    epochs: int = flag(10, "epochs at most", minimum=1, maximum=MANY)
    optimizer: str = flag("adam", "optimizer", choices=OPTIMIZERS)
    learning_rate: float = flag(1e-2, "highest learning rate", above=0.0)
    schedule: str = flag("cosine", "how the learning rate goes on after the warm-up", choices=SCHEDULES)
    warmup_steps: int = flag(0, "steps of a linear rise of the learning rate from 0", minimum=0, maximum=MANY)
    clip_norm: float | None = flag(1.0, "largest global norm of the gradient; 0: no clipping", minimum=0.0)
    weight_decay: float = flag(0.0, "decoupled weight decay, for adamw", minimum=0.0)
    patience: int | None = flag(
        None, "epochs without a better validation loss after which to stop", minimum=1, maximum=MANY
    )
    gradient_flow_every: int | None = flag(
        None, "log the gradient through time every so many steps, for a heat map", minimum=1, maximum=MANY
    )
    steps_per_dispatch: int = flag(200, "steps in one call of the device, at most", minimum=1, maximum=MANY)
    num_devices: int | None = flag(
        None,
        "devices that share a batch; without it one, but the cores of a CPU, 16 examples each at least, for other back "
        "ends than native",
        minimum=1,
        below=4097,
    )
    keep: int = flag(3, "checkpoints to keep besides the best", minimum=1, maximum=MANY)
    seed: int = flag(0, "first seed", minimum=0, below=2**31)
    num_seeds: int = flag(
        1, "states, with seeds counted up from --seed, trained in one program", minimum=1, maximum=1024
    )


def seeds(config: TrainConfig) -> list[int]:
    """The seeds of the states."""
    return list(range(config.seed, config.seed + config.num_seeds))


def set_precision(config: TrainConfig) -> None:
    """Switches JAX to 64 bits for `--dtype=float64`; before anything is computed."""
    if config.dtype == "float64":
        jax.config.update("jax_enable_x64", True)


def set_devices(config: TrainConfig) -> int:
    """Over how many devices to split a batch; makes devices of a CPU's cores, if JAX has not started yet.

    Raises: `UsageError` where `--num_devices` asks for more than there are or does not divide `--batch_size`.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):  # JAX has started: its devices are what they are
        jax.config.update("jax_num_cpu_devices", config.num_devices or cores)
    available = jax.local_device_count()
    if config.num_devices is None:
        own_threads = config.backend in ("auto", "native") and backend_in_use(config) == "native"
        if jax.default_backend() != "cpu" or own_threads:
            return 1
        return max(n for n in range(1, available + 1) if n == 1 or config.batch_size % (n * 16) == 0)
    if config.num_devices > available:
        raise UsageError(f"--num_devices={config.num_devices}: there are only {available}")
    if config.batch_size % config.num_devices:
        raise UsageError(f"--num_devices={config.num_devices}: does not divide --batch_size={config.batch_size}")
    return config.num_devices


def backend_in_use(config: TrainConfig) -> str:
    """The back end that computes a layer of that training: what `auto`, or one that cannot, stands for."""
    cell, dtype = CELLS[config.cell], DTYPES[config.dtype]
    sizes = (config.batch_size, config.hidden_size)
    params = jax.eval_shape(lambda: cell.init_params(jax.random.key(0), config.hidden_size, config.hidden_size, dtype))
    carry = jax.eval_shape(lambda: cell.init_carry(sizes[:1], config.hidden_size, dtype))
    cut = None if config.truncate_every is None else jnp.zeros(1, bool)
    zoneout = jnp.zeros((1, *sizes), dtype) if config.zoneout else None
    xs: Any = jax.ShapeDtypeStruct((1, *sizes), dtype)
    return choose(config.backend, cell, params, carry, xs, StepMasks(truncate=cut, zoneout=zoneout))


def recurrent_options(config: TrainConfig) -> dict[str, Any]:
    """The options of `rnn_jax.models.recurrent.Recurrent`. Raises `UsageError` for flags that contradict each other."""
    options: dict[str, Any] = {
        "num_layers": config.num_layers,
        "bidirectional": config.bidirectional,
        "dropout": config.dropout,
        "variational": config.variational,
        "backend": config.backend,
        "checkpoint_every": config.checkpoint_every,
        "truncate_every": config.truncate_every,
        "init": config.init,
        "gain": config.gain,
        "zoneout": config.zoneout,
        "dtype": DTYPES[config.dtype],
        "param_dtype": jnp.float64 if config.dtype == "float64" else jnp.float32,
    }
    takes = inspect.signature(CELLS[config.cell].init_params).parameters
    for name, what in (("forget_bias", "forget gate"), ("chrono", "gate with a memory to set")):
        value = getattr(config, name)
        if value is None:
            continue
        if name not in takes:
            fitting = ", ".join(
                cell for cell, made in CELLS.items() if name in inspect.signature(made.init_params).parameters
            )
            raise UsageError(f"--{name}={value}: --cell={config.cell} has no {what}; take one of {fitting}")
        options[name] = value
    if len(options.keys() & {"forget_bias", "chrono"}) == 2:
        raise UsageError("--forget_bias and --chrono both set the forget gate's bias: give one")
    if config.zoneout and config.backend not in ("auto", "scan"):
        raise UsageError(f"--zoneout={config.zoneout}: --backend={config.backend} does not have it; take auto or scan")
    if config.gradient_flow_every and config.backend not in ("auto", "scan"):
        raise UsageError(f"--gradient_flow_every: --backend={config.backend} cannot show it; take auto or scan")
    if config.backend == "without_dc" and config.cell != "lstm":
        raise UsageError(f"--backend=without_dc is a fault of the LSTM's gradient, not of --cell={config.cell}")
    if config.backend in ("manual", "pallas") and not has_rule(CELLS[config.cell]):
        raise UsageError(
            f"--backend={config.backend}: --cell={config.cell} has no hand-derived gradient; take auto or scan"
        )
    if config.backend == "cudnn":
        for name, fits in (
            ("cell", config.cell == "lstm"),
            ("dtype", config.dtype == "float32"),
            ("truncate_every", config.truncate_every is None),
            ("num_seeds", config.num_seeds == 1),
        ):
            if not fits:
                raise UsageError(
                    f"--{name}={getattr(config, name)}: --backend=cudnn does not have it; take auto or scan"
                )
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
