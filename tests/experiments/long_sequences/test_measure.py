"""One measurement: its loss, the memory that is planned for it, a process that ends before its time."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers.running import flip

from experiments.common.flags import parse
from experiments.long_sequences import measure
from experiments.long_sequences import task as measuring
from experiments.long_sequences.flags import METHODS, Config
from experiments.long_sequences.measure import Task
from rnn_jax import cells

TASK = Task(21, "scan", "plain", "float64", "lstm", 4, "mean", seed=0, limit_gib=1.0)


def test_a_process_that_ends_before_its_time(tmp_path):
    found = measure.measure(replace(TASK, cell="none"), tmp_path / "g.npy")
    assert found == {"ran": False, "error": "ended with status 1"}


def test_the_child_ends_with_its_parent(tmp_path):
    """A child that would compute for a minute, in the place of Python's own."""
    child = tmp_path / "child"
    started = f"from experiments.long_sequences import measure; measure.end_with_parent(); open({str(child)!r}, 'w')"
    begun = (
        f'#!/bin/sh\nexec {sys.executable} -c "import os, time; {started}.write(str(os.getpid())); time.sleep(60)"\n'
    )
    (tmp_path / "python").write_text(begun)
    (tmp_path / "python").chmod(0o755)
    code = "import sys, pathlib; from experiments.long_sequences import measure\n"
    code += f"sys.executable = {str(tmp_path / 'python')!r}\n"
    code += (
        f"task = measure.Task(1, '', '', '', '', 1, '', 0, 1.0)\nmeasure.measure(task, pathlib.Path({str(tmp_path)!r}))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=measure.ROOT)
    deadline = time.monotonic() + 60
    while not (child.exists() and child.read_text()):
        assert parent.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    there = Path(f"/proc/{child.read_text()}")
    while there.exists():
        assert time.monotonic() < deadline, "it goes on computing"
        time.sleep(0.01)


@pytest.mark.parametrize("loss", ["mean", "final"])
@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_all_methods_have_the_loss_of_a_loop_over_steps(cell, loss):
    """T = 21 in segments of 5: a remainder of one step."""
    task = replace(TASK, cell=cell, loss=loss)
    params, readout, xs, targets = arguments = measure.make_arguments(task)
    carry, losses = cells.get(cell).init_carry((1,), 4, xs.dtype), []
    for x, target in zip(xs, targets, strict=True):
        carry, y = cells.get(cell).step(params, carry, x)
        losses.append(float(((y @ readout - target) ** 2).sum() / 2))
    expected = np.mean(losses) if loss == "mean" else losses[-1]
    for method in METHODS:
        got = jax.jit(measure.make_loss(replace(task, method=method)))(*arguments)
        np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("wrong", [{"method": "slow"}, {"loss": "median"}])
def test_unknown(wrong):
    with pytest.raises(ValueError, match=f"unknown method .* or loss .*{next(iter(wrong.values()))}|slow"):
        measure.make_loss(replace(TASK, **wrong))


def planned_bytes(task):
    shapes = jax.eval_shape(lambda: measure.make_arguments(task))
    return jax.jit(jax.grad(measure.make_loss(task))).lower(*shapes).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("backend", ["scan", "manual"])
def test_memory_grows_as_the_square_root(backend):
    """From T to 16 T with k = sqrt(T): 4 times, where storing all takes 16 times.

    What the compiler plans, so nothing is run. `checkpoint_every` alone does that for a loss of the final carry; a loss
    that reads ys keeps ys, and its derivative, for all steps. What else grows with T is a copy of the inputs.
    """

    def growth(method, loss):
        task = replace(TASK, backend=backend, method=method, loss=loss, dtype="float32", hidden_size=64)
        short, long = (planned_bytes(replace(task, length=length)) for length in (2**12, 2**16))
        return long / short

    assert growth("plain", "mean") > 12
    assert growth("checkpointed", "mean") > 8
    assert growth("checkpointed", "final") < 6
    assert growth("segmented", "mean") < 6


@pytest.mark.parametrize("damage", ["flipped", "removed", "a row", None])
def test_what_is_damaged_is_measured_again(tmp_path, monkeypatch, damage):
    """A gradient that is not the one that was written gives no error against the reference, but a new one."""
    measured = []

    def of(task, file):
        measured.append(task)
        np.save(file, np.ones(3))
        return {"ran": True, "seconds": 1.0, "predicted_bytes": 1, "process_bytes": 1}

    monkeypatch.setattr(measuring.measure, "measure", of)
    config = parse(Config, ["--lengths=10", "--backends=manual", "--methods=plain", "--float64_up_to=0"])
    rows = measuring.measure_costs(config, tmp_path)
    number = len(measured)
    file = sorted((tmp_path / "gradients").iterdir())[0]
    if damage == "flipped":
        flip(file, -1)
    elif damage == "removed":
        file.unlink()
    elif damage == "a row":
        flip(tmp_path / "measurements.jsonl", 30)
    assert measuring.measure_costs(config, tmp_path) == rows
    assert len(measured) == number + (damage is not None)
