"""Several processes train as one does; when one is killed the others end, and other ones go on from there."""

import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import one_of_several
from helpers.one_of_several import EPOCHS, PER_EPOCH

from rnn_jax.training.checkpoints import Checkpoints
from rnn_jax.training.devices import choose
from rnn_jax.training.log import read_log
from rnn_jax.training.loop import train
from rnn_jax.training.processes import by_all, by_first, is_first, largest, several

HERE = Path(__file__).parent


def run(count, folder, **killed_at):
    """The exit status and the errors of each process, and the seconds from the first end to the last."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (HERE.parent, HERE.parents[1])))}
    port, started = str(one_of_several.free_port()), []
    for number in range(count):
        command = [sys.executable, one_of_several.__file__, port, str(count), str(number), str(folder)]
        command += [f"--killed_at={killed_at[f'process{number}']}"] if f"process{number}" in killed_at else []
        with (folder / f"errors{number}").open("w") as errors:
            started.append(subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=errors))
    ends = {}
    try:
        while len(ends) < count:
            ends |= {n: time.monotonic() for n, each in enumerate(started) if n not in ends and each.poll() is not None}
            time.sleep(0.05)
    finally:
        for each in started:
            each.kill()
    texts = [(folder / f"errors{number}").read_text() for number in range(count)]
    return [each.wait() for each in started], texts, max(ends.values()) - min(ends.values())


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same training in this process, without a stop."""
    folder = tmp_path_factory.mktemp("alone")
    functions = one_of_several.make(choose())
    rate = lambda step: 0.05  # noqa: E731
    trained = train(functions, one_of_several.SEEDS, one_of_several.data(), one_of_several.SCHEDULE, folder, rate)
    return trained.states, without_clocks(folder)


def without_clocks(folder):
    records = read_log(folder / "metrics.jsonl")
    return [{name: value for name, value in each.items() if name != "train_seconds"} for each in records]


def test_two_one_of_which_is_killed_and_four_that_go_on(tmp_path, alone):
    statuses, errors, seconds = run(2, tmp_path, process1=8)
    assert statuses[1] == -9
    assert statuses[0] not in (0, -9)
    assert "Connection closed by peer" in errors[0] or "another task died" in errors[0], errors[0]
    assert seconds < 30
    # It was killed in the third epoch: two are saved, in the folder of the first process, each by both.
    assert sorted(each.name for each in (tmp_path / "0" / "checkpoints").iterdir()) == ["3", "6"]
    assert not (tmp_path / "1" / "checkpoints").exists()
    of_second = next((tmp_path / "0" / "checkpoints" / "6" / "parts" / "ocdbt.process_1" / "d").iterdir())
    of_second.write_bytes(of_second.read_bytes()[:-1])

    statuses, errors, _ = run(4, tmp_path)
    assert statuses == [0] * 4, errors
    for number in range(4):
        said = errors[number].count("checkpoint 6 is damaged and set aside: parts/ocdbt.process_1/d/")
        assert said == (number == 0)
    trained, records = alone
    states = jax.tree.leaves(trained)
    for number in range(4):  # each process has all of it at the end, those whose seeds others trained too
        with np.load(tmp_path / str(number) / "end.npz") as end:
            for found, wanted in zip(end.values(), states, strict=True):
                np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10)
    one = Checkpoints(tmp_path / "0")  # which several have written: the last but one in parts, see `one_of_several`
    for step, folder in ((PER_EPOCH * EPOCHS, "parts"), (51, "state")):
        assert (tmp_path / "0" / "checkpoints" / str(step) / folder).is_dir()
        for found, wanted in zip(jax.tree.leaves(one.read(step, trained).state), states, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10)
    one.close()
    found = without_clocks(tmp_path / "0")
    assert [each["step"] for each in found] == [each["step"] for each in records]
    for each, wanted in zip(found, records, strict=True):
        assert each.keys() == wanted.keys()
        for name, value in wanted.items():
            np.testing.assert_allclose(each[name], value, rtol=1e-10)


def test_one_process_asks_nobody():
    assert not several()
    assert is_first()
    assert largest(3) == 3
    assert by_first(lambda: "itself") == "itself"
    assert by_all(lambda: "itself") == ["itself"]
    with pytest.raises(ZeroDivisionError) as raised:
        by_first(lambda: 1 / 0)
    assert not hasattr(raised.value, "of_all")
