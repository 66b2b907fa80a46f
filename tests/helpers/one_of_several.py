"""One process of a training of several, started by `test_processes.py`.

    python one_of_several.py PORT COUNT ID FOLDER [--killed_at=STEP]

Training goes on in FOLDER/0 where it stands; the first process writes down its end in `end.npz`.
"""

import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from helpers.disk import no_file_above
from helpers.toy_tasks import EXAMPLES, regression_data, regression_task
from rnn_jax.training import processes, shared_checkpoints
from rnn_jax.training.checkpoints import load_params, save_params
from rnn_jax.training.devices import choose, put
from rnn_jax.training.errors import Interrupted, TrainingError
from rnn_jax.training.functions import make_functions
from rnn_jax.training.loop import Schedule, train
from rnn_jax.training.shared_checkpoints import SharedCheckpoints

BATCH, SEEDS, EPOCHS = 7, [3, 11], 4
PER_EPOCH = EXAMPLES // BATCH
SCHEDULE = Schedule(PER_EPOCH, EPOCHS, steps_per_dispatch=2)


def free_port():
    """One on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def make(devices):
    """The functions of the training: float64, an average, a batch that nothing but 1 and 7 divides, data in parts."""
    plain = regression_task()

    def evaluate(params, data):
        return plain.evaluate(params, {name: array[np.arange(EXAMPLES)] for name, array in data.items()})

    def init(key):
        return jax.tree.map(lambda a: a.astype("float64"), plain.init(key))

    task = plain._replace(init=init, evaluate=evaluate, spread=("x", "y"))
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.05))
    return make_functions(task, optimizer, batch_size=BATCH, devices=devices, average_decay=0.9)


def data():
    """In float64."""
    return {name: array.astype(np.float64) for name, array in regression_data().items()}


def interrupted():
    raise Interrupted(15, 3)


def try_checkpoints(folder, number, states, shardings):
    """A disk that is full in one process, and a folder that one does not see; the end of the training is step 12."""
    placed = put(states, shardings)
    checkpoints = SharedCheckpoints(folder)
    with (
        no_file_above(0) if number == 1 else contextlib.nullcontext(),
        pytest.raises(TrainingError, match=r"^cannot save step 50 in .*checkpoints: File too large$") as raised,
    ):
        checkpoints.save(50, placed, {"train_seconds": 1.0}, 0.5)
    assert processes.is_of_all(raised.value)
    assert checkpoints.last_step() == PER_EPOCH * EPOCHS
    checkpoints.close()

    seen = shared_checkpoints._holds
    shared_checkpoints._holds = (lambda file, word: False) if number == 1 else seen
    checkpoints = SharedCheckpoints(folder)
    restored = checkpoints.restore_latest(states, shardings)
    assert restored.step == PER_EPOCH * EPOCHS
    for found, wanted in zip(jax.tree.leaves(restored.state), jax.tree.leaves(placed), strict=True):
        for shard, same in zip(found.addressable_shards, wanted.addressable_shards, strict=True):
            np.testing.assert_array_equal(shard.data, same.data)
    checkpoints.save(51, placed, {"train_seconds": 1.0}, 0.5)
    checkpoints.close()


def main(port, count, number, folder, killed_at):
    processes.start(f"127.0.0.1:{port}", count, number)
    assert jax.process_count() == jax.device_count() == count

    def rate(step):  # called for the log, after the step and before it is saved
        if step + 1 == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0.05

    # Two groups of devices, each with a seed, where there are four; their states lie on two processes each.
    groups = count // 2
    devices = choose(count // groups, groups, shard_above=3)
    functions = make(devices)
    trained = train(functions, SEEDS, data(), SCHEDULE, folder / str(number), rate)
    np.savez(folder / str(number) / "end.npz", *jax.tree.leaves(trained.states))
    try_checkpoints(folder / str(number), number, trained.states, devices.state_shardings(trained.states))
    if number == 0:  # by itself: none of the others takes part
        save_params(folder / "model", trained.states.params)
        load_params(folder / "model", trained.states.params)
    data_of_first = processes.by_first(lambda: (number, "from the first"))
    assert data_of_first == (0, "from the first")
    with pytest.raises(ZeroDivisionError) as raised:
        processes.by_first(lambda: 1 / 0)
    assert processes.is_of_all(raised.value)
    with pytest.raises(RuntimeError, match=r"^Interrupted: stopped at step 3"):  # which cannot be sent as it is
        processes.by_first(interrupted)
    assert processes.largest(number) == count - 1
    assert processes.by_all(lambda: "x" * number) == ["x" * each for each in range(count)]
    with pytest.raises(ZeroDivisionError) as raised:
        processes.by_all(lambda: 1 / (number - 1))
    assert processes.is_of_all(raised.value)


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 1)
    jax.config.update("jax_enable_x64", True)
    port, count, number, folder, *killed = sys.argv[1:]
    at = int(killed[0].removeprefix("--killed_at=")) if killed else None
    for each in range(int(count)):
        (Path(folder) / str(each)).mkdir(exist_ok=True)
    main(port, int(count), int(number), Path(folder), at)
