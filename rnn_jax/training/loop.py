"""The training loop: dispatches, evaluation, logging and checkpoints, from wherever the run stands."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, SupportsFloat

import jax
import numpy as np
from jax.typing import ArrayLike
from tqdm import tqdm

from rnn_jax.training import memory
from rnn_jax.training.devices import fetch, put
from rnn_jax.training.errors import Interrupted, TrainingError
from rnn_jax.training.functions import Functions
from rnn_jax.training.interrupt import InterruptRequest
from rnn_jax.training.log import TrainingLog
from rnn_jax.training.processes import is_first, largest, of_all
from rnn_jax.training.shared_checkpoints import SharedCheckpoints
from rnn_jax.training.state import TrainState
from rnn_jax.training.step import StepSummary
from rnn_jax.types import Array, Params


class Schedule(NamedTuple):
    """How long to train and how often to look.

    Attributes:
        steps_per_epoch: steps of an epoch.
        epochs: epochs at most.
        steps_per_dispatch: steps in one call of the device, and so between two logged records.
        keep: how many of the newest checkpoints to keep.
    """

    steps_per_epoch: int
    epochs: int
    steps_per_dispatch: int = 200
    keep: int = 3


class Probe(NamedTuple):
    """Something to look at while training goes on.

    Attributes:
        name: of its entry in the log.
        every: steps between two looks; the first is before the first step.
        look: `(params of the first seed, data) -> {name: [...]}`, jitted by the loop. In the log an array is a list,
            with null for what is not finite.
    """

    name: str
    every: int
    look: Callable[[Params, Any], dict[str, Array]]


Feed = Callable[[int, int], dict[str, Any]]
"""`(epoch, first) -> arrays`, of one shape: what the dispatch that begins with step `first` of an epoch finds in its
data beside what it always finds there."""


class Trained(NamedTuple):
    """What training leaves.

    Attributes:
        states: the S final states, on the host.
        steps: how many steps the run made.
        compile_seconds: tracing and compiling what training takes, of this start.
        train_seconds: inside training steps, over all starts of the run, without compiling, evaluating and saving.
    """

    states: TrainState
    steps: int
    compile_seconds: float
    train_seconds: float


class Compiler:
    """Compiles ahead of the first call and adds up the seconds that it takes."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, function: jax.stages.Wrapped, *arguments: Any) -> jax.stages.Compiled:
        """The program of a jitted function for arguments of these shapes."""
        started = time.perf_counter()
        program = function.lower(*arguments).compile()
        self.seconds += time.perf_counter() - started
        return program


def train(
    functions: Functions,
    seeds: Sequence[int],
    data: Any,
    schedule: Schedule,
    workdir: Path,
    learning_rate: Callable[[int], SupportsFloat] | None = None,
    probes: Sequence[Probe] = (),
    feed: Feed | None = None,
) -> Trained:
    """Trains one replica per seed until the last epoch or until early stopping has ended all of them.

    Starts from the newest checkpoint in `workdir`, if there is one. The state after a step is the same to the bit
    whether the run went through or was stopped and continued: all that moves is in the checkpoint, the order of the
    data is a function of (seed, epoch), and the position in it is the step.

    The same bits need the same machine and versions, the same number of devices (each adds up the gradient of its
    share of the batch) and, for the `native` back end, the same number of threads (each adds up that of its share of
    the sequences; of 60 gradients 10 agreed to the bit between 1 and 2 threads). XLA has as many threads as the process
    may use cores. Elsewhere a run goes on from its checkpoint all the same, with other roundings.

    Args:
        functions: of `make_functions`.
        seeds: S seeds, whole numbers from 0 to 2^32 - 1.
        data: a pytree of arrays, put on the device once.
        schedule: durations.
        workdir: the run's folder; receives `metrics.jsonl`, `events/` and `checkpoints/`. Of several processes each
            has its own log in a folder of its own, and the checkpoints are in that of the first.
        learning_rate: `step -> rate`, for the log; None: not logged.
        probes: what to look at every so many steps.
        feed: the part of the data that each dispatch takes, where it is not all on the device; None: `data` alone.

    Returns: `Trained`.

    Raises:
        OutOfMemory: not as much memory is free as this takes; found before the first step.
        TrainingError: a loss or a norm is not finite, or nothing can be saved. The last good checkpoint stays.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP; the state has been saved.
    """
    per_epoch = schedule.steps_per_epoch
    devices = functions.devices.of_this_process()
    seed_array = put(np.asarray(seeds, np.uint32), functions.devices.everywhere())
    # Shapes alone: a task may compute long for what it begins with, and a checkpoint would replace it.
    shapes = jax.eval_shape(functions.init, seed_array)
    data = functions.padded(data)
    parts = {
        "parameters and optimizer": memory.size(shapes, functions.devices.state_shardings(shapes)),
        "data": memory.size(data, functions.shardings(data)),
    }
    memory.check("training", parts, devices)
    data = functions.put(data)
    checkpoints = SharedCheckpoints(workdir, schedule.keep)
    restored = checkpoints.restore_latest(shapes, functions.devices.state_shardings(shapes))
    compiler = Compiler()
    if restored is None:
        step, clocks = 0, {"train_seconds": 0.0}
        init = compiler(functions.init, seed_array)
        memory.check("drawing parameters", {"arrays": memory.of_program(init)}, devices)
        states = init(seed_array)
    else:
        step, states, clocks = restored
    order_of = compiler(functions.order, states.seed, 0)
    order = order_of(states.seed, step // per_epoch)

    def fed(epoch: int, first: int) -> Any:
        return data if feed is None else {**data, **functions.put(feed(epoch, first))}

    run_steps = compiler(functions.steps, states, order, fed(0, 0), 0, 0, 0)
    evaluate = compiler(functions.evaluate, states, data, 0)
    for what, program in (("a step of training", run_steps), ("an evaluation", evaluate)):
        memory.check(what, {"arrays": memory.of_program(program)}, devices)

    def compiled(probe: Probe) -> Any:
        return jax.jit(lambda params, data: probe.look(params, functions.seen(data)))

    looks = [(probe, compiled(probe)) for probe in probes]

    def looked(step: int) -> dict[str, Any]:
        due = [(probe.name, look) for probe, look in looks if step % probe.every == 0]
        return {name: _lists(look(_first(states.params), data)) for name, look in due}

    log = TrainingLog(workdir, step)
    total = schedule.epochs * per_epoch
    bar = tqdm(total=total, initial=step, unit="step", mininterval=0.5, dynamic_ncols=True, disable=not is_first())
    try:
        with InterruptRequest() as interrupt:
            if step == 0 and looks:
                log.write({"step": 0, **looked(0)})
            while step < total and fetch(states.active).any():
                epoch, first = divmod(step, per_epoch)
                if first == 0:
                    order = order_of(states.seed, epoch)
                until_looks = [probe.every - step % probe.every for probe in probes]
                count = min(schedule.steps_per_dispatch, per_epoch - first, *until_looks)

                started = time.perf_counter()
                states, summary = run_steps(states, order, fed(epoch, first), epoch, first, count)
                summary = jax.block_until_ready(summary)
                clocks["train_seconds"] += time.perf_counter() - started
                _check_finite(_by_name(summary), f"within steps {step + 1} to {step + count}", seeds, checkpoints)
                step += count

                record = _record(summary, fetch(states.active), step, epoch, learning_rate, clocks)
                bar.update(count)
                bar.set_postfix(loss=f"{record['loss']:.4g}", refresh=False)
                validation_loss = math.inf  # of a checkpoint between two evaluations: it is not the best
                if step % per_epoch == 0:
                    states, measures = evaluate(states, data, epoch)
                    measures = {f"validation_{name}": values for name, values in measures.items()}
                    _check_finite(measures, f"after step {step}", seeds, checkpoints)
                    record |= _validation_record(states, measures)
                    validation_loss = record["validation_loss"]
                log.write(record | looked(step))
                signal_number = largest(interrupt.signal_number or 0)  # all stop where one is asked to
                if step % per_epoch == 0 or signal_number:
                    checkpoints.save(step, states, clocks, validation_loss)
                if signal_number:
                    raise of_all(Interrupted(signal_number, step))
    finally:
        bar.close()
        checkpoints.close()
        log.close()
    return Trained(fetch(states), step, compiler.seconds, clocks["train_seconds"])


def _first(params: Params) -> Params:
    return jax.tree.map(lambda leaf: leaf[0], params)


def _lists(found: Mapping[str, Array]) -> dict[str, list[float | None]]:
    """Arrays as JSON has them: null for what is not a number."""
    return {name: [x if math.isfinite(x) else None for x in v.tolist()] for name, v in fetch(found).items()}


def _mean(values: ArrayLike) -> float:
    return float(np.mean(np.asarray(values)))


def _by_name(summary: StepSummary) -> dict[str, Array]:
    named = summary._asdict()
    return named | named.pop("measures")


def _check_finite(found: Mapping[str, Array], when: str, seeds: Sequence[int], checkpoints: SharedCheckpoints) -> None:
    for name, values in found.items():
        bad = np.flatnonzero(~np.isfinite(np.asarray(values)))
        if bad.size:
            last = checkpoints.last_step()
            saved = "nothing was saved before it" if last is None else f"the last good checkpoint is step {last}"
            value, seed = np.asarray(values)[bad[0]], seeds[bad[0]]
            what = f"{name.replace('_', ' ')} of seed {seed} is {value} {when}"
            raise of_all(TrainingError(f"{what}; {saved}; lower learning_rate or clip_norm"))


def _record(
    summary: StepSummary,
    active: np.ndarray,
    step: int,
    epoch: int,
    learning_rate: Callable[[int], SupportsFloat] | None,
    clocks: dict[str, float],
) -> dict[str, Any]:
    record: dict[str, Any] = {"step": step, "epoch": epoch}
    # A replica that has stopped made no step: it has no loss here, and no part in the means.
    record |= {name: _mean(np.asarray(values)[active]) for name, values in _by_name(summary).items()}
    if len(active) > 1:
        record["losses"] = [float(loss) if on else None for loss, on in zip(summary.loss, active, strict=True)]
    if learning_rate is not None:
        record["learning_rate"] = float(learning_rate(step - 1))
    return record | {"train_seconds": clocks["train_seconds"]}


def _validation_record(states: TrainState, measures: Mapping[str, Array]) -> dict[str, Any]:
    record: dict[str, Any] = {name: _mean(values) for name, values in measures.items()}
    record["best_validation_loss"] = _mean(fetch(states.best_loss))
    losses = np.asarray(measures["validation_loss"])
    if len(losses) > 1:
        record["validation_losses"] = losses.tolist()
    return record | {"active_seeds": int(fetch(states.active).sum())}


def steps_per_dispatch(steps_per_epoch: int, at_most: int = 200) -> int:
    """The dispatch length that cuts an epoch into equal parts of at most `at_most` steps (the last may be shorter).

    >>> steps_per_dispatch(1205)
    173
    """
    return math.ceil(steps_per_epoch / math.ceil(steps_per_epoch / at_most))
