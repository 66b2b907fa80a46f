"""The cost of long sequences: a whole run at tiny lengths, its parts, and how compiled memory grows."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers.running import as_in_a_new_process, once, run

from experiments.long_sequences import main as long_sequences
from experiments.long_sequences import measure as long_measure
from experiments.long_sequences.measure import Task
from rnn_jax import cells

TINY = ("--hidden_size=4", "--bias_length=6", "--bias_batch_size=2", "--bias_cells=rnn", "--num_seeds=2")
TASK = Task(21, "scan", "plain", "float64", "lstm", 4, "mean", seed=0, limit_gib=1.0)


@pytest.fixture
def in_this_process(monkeypatch):
    """Measures without starting processes, which takes seconds each; the tasks are noted down."""
    measured = []

    def measure(task, gradient_file):
        measured.append(task)
        with as_in_a_new_process():
            return long_measure.measure_here(task, gradient_file)

    monkeypatch.setattr(long_measure, "measure", measure)
    return measured


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with processes of their own, as users start it."""
    flags = ("--lengths=21", "--backends=manual", "--methods=plain", "--float64_up_to=0", *TINY)
    return once(tmp_path_factory, "long", lambda folder: run(long_sequences.main, f"--workdir={folder}", *flags))


def test_a_run(finished):
    folder, ran = finished
    assert (ran.status, ran.err) == (0, ""), ran
    results = json.loads((folder / "results.json").read_text())
    assert set(results) >= {
        "experiment", "dataset", "protocol", "cell", "num_params", "seeds", "metrics", "baselines", "steps",
        "compile_seconds", "train_seconds", "device", "versions",
    }  # fmt: skip
    assert (results["cell"], results["steps"], results["seeds"]) == ("lstm", 21, [0, 1])
    assert results["num_params"] == 4 * 4 * (1 + 4 + 1)
    rows = [(row["length"], row["method"], row["dtype"]) for row in results["costs"]]
    assert rows == [(21, "segmented", "float64"), (21, "plain", "float32")]
    for row in results["costs"]:
        assert row["ran"]
        assert row["predicted_bytes"] >= row["temp_bytes"] > 0
        assert row["process_bytes"] >= 0
        assert row["seconds"] > 0
        assert row["gradient_error"] < (1e-12 if row["dtype"] == "float64" else 1e-5)
    assert results["costs"][1]["gradient_error"] > 0  # one in float32, the other in float64
    bias = results["truncation"]["rnn"]
    assert bias["lengths"] == [1, 2, 4, 6]
    assert np.shape(bias["relative_error"]) == np.shape(bias["cosine"]) == (4, 2)
    assert min(bias["relative_error"][0]) > 1e-3
    assert max(bias["relative_error"][-1]) < 1e-6
    for name in ("costs", "bias"):
        assert (folder / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert str(folder) not in (folder / "results.json").read_text()


def test_the_same_command_again(finished):
    folder, ran = finished
    flags = (folder / "flags.txt").read_text().split()
    again = run(long_sequences.main, f"--workdir={folder}", *flags)
    tables = ran.out[ran.out.index("\n\n| T ") :]
    assert again.out.endswith(f"this run is finished; its results:{tables}")


def test_what_is_measured():
    """Of each length the reference first, each task once; float64 for short lengths alone."""
    config = long_sequences.Config(lengths="21,10,21", backends="manual", methods="plain,segmented", float64_up_to=10)
    assert [(task.length, task.method, task.dtype) for task in long_sequences.tasks(config)] == [
        (10, "segmented", "float64"),
        (10, "plain", "float32"),
        (10, "segmented", "float32"),
        (10, "plain", "float64"),
        (21, "segmented", "float64"),
        (21, "plain", "float32"),
        (21, "segmented", "float32"),
    ]


def test_a_limit(tmp_path, in_this_process):
    """Of T = 400 the plain scan plans 130 KiB, the others less than 20: with 60 KiB it alone is not run."""
    flags = ("--lengths=400", "--backends=scan", "--loss=final", "--float64_up_to=0", *TINY)
    limit = f"--memory_limit_gib={60 / 2**20}"
    ran = run(long_sequences.main, f"--workdir={tmp_path}", "--methods=plain,checkpointed", limit, *flags)
    assert ran.status == 0, ran
    plain = [line for line in ran.out.splitlines() if line.startswith("| 400 ") and "| plain " in line]
    assert len(plain) == 1
    assert "not run: 0.0 GiB" in plain[0]
    rows = json.loads((tmp_path / "results.json").read_text())["costs"]
    assert [row["ran"] for row in rows] == ["seconds" in row for row in rows] == [True, False, True]
    assert rows[1]["predicted_bytes"] > 60 * 1024


def test_an_interrupted_run_goes_on(tmp_path, in_this_process, monkeypatch):
    flags = [f"--workdir={tmp_path}", "--lengths=10", "--backends=manual", "--methods=plain", *TINY]
    measure = long_measure.measure

    def stop_at_the_third(task, gradient_file):
        if len(in_this_process) == 2:
            raise KeyboardInterrupt
        return measure(task, gradient_file)

    monkeypatch.setattr(long_measure, "measure", stop_at_the_third)
    assert run(long_sequences.main, *flags).status == 130
    monkeypatch.setattr(long_measure, "measure", measure)
    assert run(long_sequences.main, *flags).status == 0
    assert len(in_this_process) == 3
    assert len(set(in_this_process)) == 3


def test_a_wrong_gradient_fails_the_run(tmp_path, in_this_process, monkeypatch):
    make_loss = long_measure.make_loss

    def wrong(task):
        loss = make_loss(task)
        return loss if task.method == "segmented" else lambda *arguments: 1.001 * loss(*arguments)

    monkeypatch.setattr(long_measure, "make_loss", wrong)
    flags = [f"--workdir={tmp_path}", "--lengths=10", "--backends=manual", "--methods=plain", *TINY]
    ran = run(long_sequences.main, *flags)
    assert ran.status == 1
    assert ran.out.splitlines()[-1].startswith("2 of 3 rows failed")


def test_a_process_that_ends_before_its_time(tmp_path):
    found = long_measure.measure(replace(TASK, cell="none"), tmp_path / "g.npy")
    assert found == {"ran": False, "error": "ended with status 1"}


@pytest.mark.parametrize("loss", ["mean", "final"])
@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_all_methods_have_the_loss_of_a_loop_over_steps(cell, loss):
    """T = 21 in segments of 5: a remainder of one step."""
    task = replace(TASK, cell=cell, loss=loss)
    params, readout, xs, targets = arguments = long_measure.make_arguments(task)
    carry, losses = cells.get(cell).init_carry((1,), 4, xs.dtype), []
    for x, target in zip(xs, targets, strict=True):
        carry, y = cells.get(cell).step(params, carry, x)
        losses.append(float(((y @ readout - target) ** 2).sum() / 2))
    expected = np.mean(losses) if loss == "mean" else losses[-1]
    for method in long_measure.METHODS:
        got = jax.jit(long_measure.make_loss(replace(task, method=method)))(*arguments)
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def planned_bytes(task):
    shapes = jax.eval_shape(lambda: long_measure.make_arguments(task))
    return jax.jit(jax.grad(long_measure.make_loss(task))).lower(*shapes).compile().memory_analysis().temp_size_in_bytes


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


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--lengths=1000,1e6", "--lengths: '1e6' is no whole number from 1 to 100000000; write --lengths=1000,10000"),
        ("--lengths=", "--lengths: '' is no whole number from 1 to 100000000; write --lengths=1000,10000"),
        ("--lengths=0", "--lengths: '0' is no whole number from 1 to 100000000; write --lengths=1000,10000"),
        ("--backends=scan,cuda", "--backends: unknown 'cuda': take some of scan,manual"),
        ("--methods=slow", "--methods: unknown 'slow': take some of plain,checkpointed,segmented"),
        ("--memory_limit_gib=0", "--memory_limit_gib=0.0: must be above 0.0"),
        ("--num_seeds=1025", "--num_seeds=1025: must be at most 1024"),
    ],
)
def test_errors(tmp_path, argument, message):
    assert run(long_sequences.main, f"--workdir={tmp_path}", argument).one_error() == message


def test_an_unknown_cell_of_the_bias(tmp_path):
    """Refused at once, not after the measurements."""
    message = run(long_sequences.main, f"--workdir={tmp_path}", "--bias_cells=lstmm").one_error()
    assert message.startswith("--bias_cells: unknown 'lstmm': take some of rnn,rnn_orthogonal,gru,lstm,")


def test_a_peak_is_seen():
    """64 MiB that are held and let go show in the peak, and no longer after it is forgotten."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak cannot be set back here")
    long_measure.forget_peak()
    before = long_measure.resident_bytes()
    np.ones(2**23).sum()
    assert long_measure.peak_bytes() - before > 60 * 2**20
    long_measure.forget_peak()
    assert long_measure.peak_bytes() - before < 30 * 2**20
