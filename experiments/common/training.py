"""The flags of every experiment that trains, what they ask of the recurrent layers, and whether that can be had."""

import contextlib
import inspect
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from experiments.common.command import RunConfig
from experiments.common.flags import UsageError, flag
from experiments.common.processes import join
from rnn_jax.backends import BACKENDS, CHOICES, choose
from rnn_jax.cells import CELLS
from rnn_jax.controls import StepMasks
from rnn_jax.initializers import SCHEMES
from rnn_jax.training.optimizers import OPTIMIZERS, SCHEDULES

if TYPE_CHECKING:
    from rnn_jax.training.devices import Devices

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float64": jnp.float64}

MANY = 1_000_000
"""More of anything is a mistyped flag."""

MOST_CPU_DEVICES = 64
"""Of one CPU, where it has fewer cores: each takes threads of its own, and thousands a minute to begin with."""


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """Model and training."""

    cell: str = flag("lstm", "recurrent cell", choices=tuple(CELLS))
    hidden_size: int = flag(32, "hidden features", minimum=1, maximum=8192)
    num_layers: int = flag(1, "layers", minimum=1, maximum=100)
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
        "how values and gradients are computed; auto: on a CPU native, compiled at its first "
        "use where there is a C++ compiler, else manual where the cell has a rule; associative: all steps at once, "
        "for mingru, minlstm and lru; newton: all steps at once, for any cell; cudnn, pallas and mosaic: for a GPU, "
        "auto where they cannot",
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
    spectrum_every: int | None = flag(
        None, "log the largest Lyapunov exponents every so many steps, for a picture", minimum=1, maximum=MANY
    )
    steps_per_dispatch: int = flag(200, "steps in one call of the device, at most", minimum=1, maximum=MANY)
    num_devices: int | None = flag(
        None,
        "devices that share a batch; without it one, or one of each process, but the cores of a CPU, 16 examples each "
        "at least, for other back ends than native",
        minimum=1,
        below=4097,
    )
    seed_devices: int = flag(
        1, "groups of so many devices, among which the replicas are divided", minimum=1, below=4097
    )
    shard_above: int | None = flag(
        None, "keep arrays of more numbers than this in parts, one on each device that shares the batch", minimum=0
    )
    distributed: bool = flag(False, "one of several processes, as SLURM, Open MPI or Kubernetes say", local=True)
    coordinator_address: str | None = flag(None, "one of several processes: host:port of the first", local=True)
    num_processes: int | None = flag(None, "how many processes there are", minimum=1, maximum=MANY, local=True)
    process_id: int | None = flag(None, "which of them this is, from 0", minimum=0, maximum=MANY, local=True)
    keep: int = flag(3, "checkpoints to keep besides the best", minimum=1, maximum=MANY)
    seed: int = flag(0, "first seed", minimum=0, below=2**31)
    num_seeds: int = flag(
        1, "replicas, with seeds counted up from --seed, trained in one program", minimum=1, maximum=1024
    )

    @property
    def seeds(self) -> list[int]:
        """The seeds of the replicas."""
        return list(range(self.seed, self.seed + self.num_seeds))

    @property
    def layer_input(self) -> tuple[int, int]:
        """T and I of what the first recurrent layer reads, as far as the flags say; else what any layer does."""
        return 1, self.hidden_size

    def check(self, given: frozenset[str]) -> None:
        """See `RunConfig.check`; prepares JAX, since what a back end can compute depends on the device."""
        prepare_jax(self)
        join(self)
        recurrent_options(self)
        check_backend(self)
        num_devices(self)
        if self.weight_decay and self.optimizer != "adamw":
            raise UsageError(f"--weight_decay={self.weight_decay}: goes with --optimizer=adamw, not {self.optimizer}")


def prepare_jax(config: TrainConfig) -> None:
    """Switches JAX to 64 bits for `--dtype=float64` and makes devices of a CPU's cores; before anything is computed."""
    if config.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):  # JAX has started: its devices are what they are
        wanted = (config.num_devices or 0) * config.seed_devices // (config.num_processes or 1)
        if config.distributed or config.num_processes is not None:
            cores = 1  # other processes may have other numbers of cores, and JAX wants as many devices of each
        wanted = wanted or max(cores, config.seed_devices)
        jax.config.update("jax_num_cpu_devices", min(wanted, max(cores, MOST_CPU_DEVICES)))


def num_devices(config: TrainConfig) -> int:
    """Over how many devices to split a batch.

    Raises: `UsageError` where `--num_devices` asks for more than there are, or than a batch has examples.
    """
    processes, groups = jax.process_count(), config.seed_devices
    available = jax.local_device_count() * processes
    if config.num_seeds % groups:
        raise UsageError(f"--seed_devices={groups}: does not divide --num_seeds={config.num_seeds}")
    if groups * (config.num_devices or 1) > available:
        asked = "seed_devices" if config.num_devices is None else "num_devices"
        raise UsageError(f"--{asked}={getattr(config, asked)}: there are only {available}")
    if config.num_devices is None:
        if processes > 1 or groups > 1:  # one of each process, or more where the groups need them
            count = max(processes // groups, 1)
            if count > config.batch_size:
                text = f"{processes} processes cannot share it; take more examples, or fewer processes"
                raise UsageError(f"--batch_size={config.batch_size}: {text}")
            return count
        own_threads = config.backend in ("auto", "native") and backend_in_use(config) == "native"
        if jax.default_backend() != "cpu" or own_threads:
            return 1
        return max(n for n in range(1, available + 1) if n == 1 or config.batch_size % (n * 16) == 0)
    if config.num_devices * groups % processes:
        raise UsageError(f"--num_devices={config.num_devices}: not as many of each of {processes} processes")
    if config.num_devices > config.batch_size:
        raise UsageError(f"--num_devices={config.num_devices}: more than --batch_size={config.batch_size} examples")
    return config.num_devices


def devices(config: TrainConfig) -> "Devices":
    """The devices that train. Raises `UsageError` as `num_devices` does."""
    from rnn_jax.training.devices import choose  # not for `--help`

    try:
        return choose(num_devices(config), config.seed_devices, config.shard_above)
    except ValueError as error:
        raise UsageError(str(error)) from error


def layer_call(config: TrainConfig, perturbed: bool = False) -> tuple[Any, ...]:
    """What `unroll` is asked for by the first layer of that training, as shapes: the arguments of a `refusal`.

    `perturbed`: with the perturbations by which a gradient through time is read.
    """
    cell, dtype, hidden_size = CELLS[config.cell], DTYPES[config.dtype], config.hidden_size
    (num_steps, input_size), batch_size = config.layer_input, config.batch_size

    def of(shape: tuple[int, ...], dtype: Any = dtype) -> Any:
        return jax.ShapeDtypeStruct(shape, dtype)

    params = jax.eval_shape(lambda: cell.init_params(jax.random.key(0), input_size, hidden_size, dtype))
    carry = jax.eval_shape(lambda: cell.init_carry((batch_size,), hidden_size, dtype))
    masks = StepMasks(
        truncate=None if config.truncate_every is None else of((num_steps,), jnp.bool_),
        zoneout=of((num_steps, batch_size, hidden_size)) if config.zoneout else None,
        perturbations=jax.tree.map(lambda part: of((num_steps, *part.shape), part.dtype), carry) if perturbed else None,
    )
    return cell, params, carry, of((num_steps, batch_size, input_size)), masks


def backend_in_use(config: TrainConfig) -> str:
    """The back end that computes a layer of that training: what `auto`, or one that cannot, stands for."""
    return choose(config.backend, *layer_call(config))


FLAG_OF_ARGUMENT = {"perturbations": "gradient_flow_every", "xs": "batch_size"}
"""The flags that ask for an argument of `unroll`, where they are called otherwise."""


def check_backend(config: TrainConfig) -> None:
    """Raises `UsageError` where the back end that was asked for cannot compute what the other flags ask for.

    Not where it is the machine that cannot: another back end then takes its place, with a warning.
    """
    if config.backend == "auto":
        return
    backend = BACKENDS[config.backend]
    calls = [layer_call(config)]
    if config.gradient_flow_every is not None:
        calls.append(layer_call(config, perturbed=True))
    for refusal in filter(None, (backend.refusal(*call) for call in calls)):
        if refusal.argument != "device":
            name = FLAG_OF_ARGUMENT.get(refusal.argument, refusal.argument)
            value = getattr(config, name)
            raise UsageError(f"--{name}={value}: --backend={config.backend} {refusal.reason}; take auto or scan")
    if config.num_seeds > 1 and not backend.vmap:
        raise UsageError(f"--num_seeds={config.num_seeds}: --backend={config.backend} takes one; take auto or scan")


def recurrent_options(config: TrainConfig) -> dict[str, Any]:
    """The options of `rnn_jax.models.Recurrent`. Raises `UsageError` for flags that the cell does not have."""
    options: dict[str, Any] = {
        "num_layers": config.num_layers,
        "bidirectional": config.bidirectional,
        "dropout": config.dropout,
        "variational": config.variational,
        "backend": config.backend,
        "checkpoint_every": config.checkpoint_every,
        "truncate_every": config.truncate_every,
        "init": config.init,
        "zoneout": config.zoneout,
        "dtype": DTYPES[config.dtype],
        "param_dtype": jnp.float64 if config.dtype == "float64" else jnp.float32,
    }
    takes = {name: inspect.signature(cell.init_params).parameters for name, cell in CELLS.items()}
    if "gain" in takes[config.cell]:
        options["gain"] = config.gain
    elif config.gain != 1:
        raise UsageError(f"--gain={config.gain}: --cell={config.cell} has no recurrent weights that it would multiply")
    if config.gradient_flow_every is not None and CELLS[config.cell].output is None:
        reason = f"--cell={config.cell} has outputs that do not follow from its state alone"
        raise UsageError(f"--gradient_flow_every={config.gradient_flow_every}: {reason}")
    for name, what in (("forget_bias", "forget gate"), ("chrono", "gate with a memory to set")):
        value = getattr(config, name)
        if value is None:
            continue
        if name not in takes[config.cell]:
            fitting = ", ".join(cell for cell in CELLS if name in takes[cell])
            raise UsageError(f"--{name}={value}: --cell={config.cell} has no {what}; take one of {fitting}")
        options[name] = value
    if len(options.keys() & {"forget_bias", "chrono"}) == 2:
        raise UsageError("--forget_bias and --chrono both set the forget gate's bias: give one")
    return options
