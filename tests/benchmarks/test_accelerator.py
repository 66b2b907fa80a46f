"""A preset: what it measures in which order, within its time, whatever goes wrong. No test looks at times."""

import importlib.util
import itertools
import json
import os
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from helpers.running import run

from benchmarks import accelerator, compile_for_hopper, layer, presets, shapes
from benchmarks.child import Refused
from benchmarks.contest import Limits
from benchmarks.host import Host
from benchmarks.peers import PEERS
from benchmarks.presets import Trial
from experiments.common.flags import parse
from experiments.common.results import KEYS

MAIN = layer.EXPERIMENT.main
LIMITS = Limits(turns=2, seconds=1.0, memory_bytes=2**40, rate=1e12)
TINY = shapes.get("B2T3I2H4rx")
CHOSEN = ("--cells=gru,rnn", "--shapes=S1", "--dtypes=bfloat16", "--peers=scan,manual")
FLAGS = ("--preset=gpu", "--rehearsal=true", *CHOSEN)


class InThisProcess:
    """A process of `benchmarks.host` without the process; `broken` maps a peer to the question at which it fails."""

    started: ClassVar[list] = []
    broken: ClassVar[dict] = {}

    def __init__(self, *command):
        assert command == ("-m", "benchmarks.host")
        self.answers, self.closed = Host().answers(), False
        self.started.append(self)

    def hear(self, limit):
        return "ready"

    def ask(self, question, limit, **asked):
        assert not self.closed
        assert limit > 0
        if self.broken.get(asked.get("peer")) == question:
            return {"refused": {"status": "failed", "message": "XlaRuntimeError: an illegal memory access"}}
        return self.answers[question](**asked)

    def close(self):
        self.closed = True


@pytest.fixture
def hosts(monkeypatch):
    monkeypatch.setattr(accelerator, "Child", InThisProcess)
    monkeypatch.setattr(InThisProcess, "started", [])
    monkeypatch.setattr(InThisProcess, "broken", {})
    return accelerator.Hosts(deadline=float("inf"))


def trial(*peers, dtype="tf32", cell="rnn"):
    return Trial("", cell, TINY, dtype, peers)


def test_the_order():
    """Values first, then what is worth most; each contest once, and all that there is."""
    due = presets.trials(parse(layer.Config, ["--preset=gpu"]))
    assert {each.shape.name for each in due[:6]} == {presets.CHECK}
    assert [each.key for each in due[6:9]] == ["lstm S2 tf32", "lstm S2 bfloat16", "lstm S1 tf32"]
    keys = [each.key for each in due]
    assert len(keys) == len(set(keys))
    names = [*shapes.SHAPES, "S2x", "S7x", presets.CHECK]
    every = {" ".join(each) for each in itertools.product(presets.CELLS, names, ("float32", "tf32", "bfloat16"))}
    others = {key for key in every if " S6 " in key and "bfloat16" not in key}
    assert {key for key in keys if "(" not in key} == every - others
    assert {key for key in keys if "(" in key} == {
        "lstm S1 tf32 (loop options)", "lstm S2 tf32 (loop options)", "lstm S1 tf32 (unrolled)",
    }  # fmt: skip


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_a_preset_names_what_there_is(preset):
    for part in presets.PRESETS[preset]:
        assert set(part.peers) <= set(PEERS)
        for name in part.shapes:
            assert shapes.get(name).name == name
    ours = {name for name, peer in PEERS.items() if peer.ours and not peer.options} - {"native"}
    config = parse(layer.Config, [f"--preset={preset}"])
    assert all(ours <= set(each.peers) for each in presets.trials(config) if not each.title)
    assert ("tf32" in config.dtypes) == (preset == "gpu")


def test_flags_choose_from_a_preset():
    config = parse(
        layer.Config, ["--preset=gpu", "--cells=lstm", "--shapes=S1", "--dtypes=tf32", "--peers=scan,scan_graphs"]
    )
    assert [(each.key, each.peers) for each in presets.trials(config)] == [
        ("lstm S1 tf32", ("scan",)),
        ("lstm S1 tf32 (loop options)", ("scan", "scan_graphs")),
        ("lstm S1 tf32 (unrolled)", ("scan",)),
    ]


def test_a_rehearsal_is_small():
    config = parse(layer.Config, ["--preset=gpu", "--rehearsal=true"])
    sizes = {each.shape.name: each.shape.describe() for each in presets.trials(config)}
    assert sizes["S6"] == "B1T128I32H32"
    assert sizes["S7x"] == "B2T13I4H2rx"
    assert sizes[presets.CHECK] == presets.CHECK
    assert (config.turns, config.matmul_size) == (2, 64)


def test_a_contest(hosts):
    without_torch = "missing" if accelerator.missing(PEERS["torch"]) else None
    rows = accelerator.hold(trial("scan", "manual", "cudnn", "torch", "manual_graphs"), hosts, LIMITS)
    found = {row["peer"]: row for row in rows}
    assert [(name, row["status"]) for name, row in found.items()] == [
        ("scan", "ran"), ("manual", "ran"), ("cudnn", "not_asked"), ("torch", without_torch or "not_asked"),
        ("manual_graphs", "ran"),
    ]  # fmt: skip
    for name in ("scan", "manual", "manual_graphs"):
        row = found[name]
        assert (row["dtype"], row["sizes"], row["compared_with"]) == ("tf32", "B2T3I2H4rx", "scan float32")
        assert row["agrees"]
        assert set(row["errors"]) == {"ys", "dxs", "w_ih", "w_hh", "b"}
        assert row["peak_bytes"] == row["planned_bytes"] > 0
        assert len(row["forward"]["turns"]) == 2
    assert len(hosts.running) == 1


def test_bfloat16_is_compared_with_float32(hosts):
    row, _ = accelerator.hold(trial("scan", "manual", dtype="bfloat16"), hosts, LIMITS)
    assert 1e-4 < max(row["errors"].values()) < 0.1
    assert row["agrees"]


@pytest.mark.parametrize("question", ["first", "time"])
def test_a_peer_that_fails_takes_its_process_with_it(hosts, question):
    """Those in it that have not been timed say so; the next contest starts another process and is whole."""
    InThisProcess.broken = {"manual": question}
    scan, manual, graphs = accelerator.hold(trial("scan", "manual", "scan_graphs"), hosts, LIMITS)
    assert (manual["status"], manual["reason"]) == ("failed", "XlaRuntimeError: an illegal memory access")
    for row in (scan, graphs):
        assert (row["status"], row["reason"]) == ("failed", "its process ended with another peer")
    assert [each.closed for each in InThisProcess.started] == [True]
    assert hosts.failures == {"manual": 1}
    InThisProcess.broken = {}
    assert all(row["status"] == "ran" for row in accelerator.hold(trial("scan", "manual"), hosts, LIMITS))
    assert [each.closed for each in InThisProcess.started] == [True, False]


def test_a_peer_that_fails_again_and_again(hosts):
    """Is not asked the third time, and the others in its process have their turns."""
    hosts.failures["manual"] = accelerator.MOST_FAILURES
    scan, manual = accelerator.hold(trial("scan", "manual"), hosts, LIMITS)
    assert (scan["status"], manual["status"]) == ("ran", "failed")
    assert manual["reason"] == "took its process with it twice, and is not asked any more"


def test_kernels_have_processes_of_their_own():
    found = {name: accelerator.process_of(name) for name in ("scan", "cudnn", "pallas", "mosaic", "torch_padded")}
    assert found == {"scan": "jax", "cudnn": "jax", "pallas": "pallas", "mosaic": "mosaic", "torch_padded": "torch"}


def test_an_option_that_the_compiler_does_not_know(hosts, monkeypatch):
    """A row that says so, and the others run."""
    monkeypatch.setitem(PEERS["scan_graphs"].options, "xla_gpu_no_such_option", True)
    scan, graphs = accelerator.hold(trial("scan", "scan_graphs"), hosts, LIMITS)
    assert scan["status"] == "ran"
    assert graphs["status"] == "failed"
    assert "xla_gpu_no_such_option" in graphs["reason"]


def test_memory_and_time(hosts):
    tight = Limits(turns=1, seconds=0.001, memory_bytes=1, rate=1e12)
    (row,) = accelerator.hold(trial("manual"), hosts, tight)
    assert (row["status"], row["reason"]) == ("memory", "plans for 0.0 GiB")
    slow = Limits(turns=1, seconds=1e-9, memory_bytes=2**40, rate=1e20)
    (row,) = accelerator.hold(trial("manual"), hosts, slow)
    assert (row["status"], row["reason"]) == ("time", "one call of each takes 0.0 s")


def test_a_wrong_peer_is_not_ranked(hosts, monkeypatch):
    answer = Host.first

    def first(self, peer, file):
        found = answer(self, peer, file)
        if peer == "manual":
            with np.load(file) as values:
                np.savez(file, **{name: 1.1 * array for name, array in values.items()})
        return found

    monkeypatch.setattr(Host, "first", first)
    scan, manual = accelerator.hold(trial("scan", "manual"), hosts, LIMITS)
    assert (scan["agrees"], manual["agrees"]) == (True, False)
    assert manual["remark"].startswith("does not agree: relative error of ")
    assert "ratio" not in manual["forward"]


def test_time_that_is_up(tmp_path, hosts, monkeypatch):
    """After the first contest, here; the rest are rows that say so, and the same command measures them."""
    hold, held = accelerator.hold, []

    def hold_one(due, *others):
        if len(held) == 1:
            raise accelerator.TimeIsUp
        held.append(due.key)
        return hold(due, *others)

    monkeypatch.setattr(accelerator, "hold", hold_one)
    first = run(MAIN, f"--workdir={tmp_path}", *FLAGS)
    assert (first.status, first.err) == (0, "")
    results = json.loads((tmp_path / "results.json").read_text())
    assert [(row["cell"], row["status"]) for row in results["rows"]] == [
        ("gru", "ran"), ("gru", "ran"), ("rnn", "left_out"), ("rnn", "left_out"),
    ]  # fmt: skip
    assert (
        "- scan, manual: time was up: the same command goes on with it (rnn S1)" in (tmp_path / "table.md").read_text()
    )
    assert all(each.closed for each in InThisProcess.started)
    monkeypatch.setattr(accelerator, "hold", hold)
    again = run(MAIN, f"--workdir={tmp_path}", *FLAGS, "--time_limit_minutes=3")
    assert (again.status, again.err) == (0, "")
    lines = [json.loads(line)["key"] for line in (tmp_path / "measurements.jsonl").read_text().splitlines()]
    assert lines == ["machine", "gru S1 bfloat16", "rnn S1 bfloat16"]
    assert {row["status"] for row in json.loads((tmp_path / "results.json").read_text())["rows"]} == {"ran"}


def test_a_reference_that_does_not_answer(tmp_path, hosts, monkeypatch):
    """Says so, and the same command asks it once more."""
    hold = accelerator.hold

    def hold_others(due, *others):
        if due.cell == "gru":
            raise Refused("time", "no answer within 90 s")
        return hold(due, *others)

    monkeypatch.setattr(accelerator, "hold", hold_others)
    assert run(MAIN, f"--workdir={tmp_path}", *FLAGS).status == 0
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert {(row["cell"], row["status"]) for row in rows} == {("gru", "left_out"), ("rnn", "ran")}
    said = "- scan, manual: the reference: no answer within 90 s: the same command asks again (gru S1)"
    assert said in (tmp_path / "table.md").read_text()
    monkeypatch.setattr(accelerator, "hold", hold)
    assert run(MAIN, f"--workdir={tmp_path}", *FLAGS).status == 0
    assert {row["status"] for row in json.loads((tmp_path / "results.json").read_text())["rows"]} == {"ran"}


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_another_device(tmp_path, hosts, preset):
    """Is refused before anything large is computed on it."""
    ran = run(MAIN, f"--workdir={tmp_path}", f"--preset={preset}")
    expected = f"--preset={preset}: JAX computes on cpu (cpu) here; --rehearsal=true runs it there with tiny sizes"
    assert ran.one_error() == expected
    assert all(each.closed for each in InThisProcess.started)


def test_no_time_at_all(tmp_path, hosts):
    """The reserve is more than was given: nothing ran, and the folder says so."""
    ran = run(MAIN, f"--workdir={tmp_path}", *FLAGS, "--time_limit_minutes=0.01")
    assert (ran.status, ran.err) == (1, "")
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results) >= set(KEYS)
    assert {row["status"] for row in results["rows"]} == {"left_out"}


def test_an_answer_that_does_not_come(hosts, monkeypatch):
    """A process that hangs is ended; where the whole time is over with it, the contest does not count."""

    def hang(self, question, limit, **asked):
        raise Refused("time", f"no answer within {limit:.0f} s")

    monkeypatch.setattr(InThisProcess, "ask", hang)
    with pytest.raises(Refused, match="no answer within 90 s"):
        hosts.ask("jax", "clear")
    assert not hosts.running
    hosts.deadline = accelerator.time.monotonic() + 50
    with pytest.raises(accelerator.TimeIsUp):
        hosts.ask("jax", "clear")
    hosts.deadline = 0
    with pytest.raises(accelerator.TimeIsUp):
        hosts.ask("jax", "clear")


def test_a_host_says_what_memory_is_short_of():
    host = Host()
    host.runners["full"] = SimpleNamespace(
        forward=lambda: (_ for _ in ()).throw(RuntimeError("RESOURCE_EXHAUSTED: 1 GiB"))
    )
    answer = host.answers()["first"](peer="full", file=os.devnull)
    assert answer == {"refused": {"status": "memory", "message": "RuntimeError: RESOURCE_EXHAUSTED: 1 GiB"}}


def test_a_rehearsal_with_processes(tmp_path):
    """As one starts it, among them the kernels' process, PyTorch's, and a contest of loop options."""
    flags = ("--preset=gpu", "--rehearsal=true", "--cells=lstm", "--shapes=S1", "--dtypes=tf32")
    ran = run(MAIN, f"--workdir={tmp_path}", *flags, "--peers=scan,pallas,torch,scan_graphs")
    assert (ran.status, ran.err) == (0, ""), ran
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["machine"]["jax"]["rates"]["tf32"] > 0
    assert results["machine"]["jax"]["empty_call_seconds"] > 0
    rows = {(row["title"], row["peer"]): row for row in results["rows"]}
    assert rows["", "scan"]["status"] == rows["loop options", "scan_graphs"]["status"] == "ran"
    assert rows["", "pallas"]["reason"] == "is interpreted on a CPU, which says nothing about its speed"
    if "torch" in results["peer_versions"] and results["peer_versions"]["torch"]:
        assert rows["", "torch"].get("agrees"), rows["", "torch"]
        assert results["machine"]["torch"]["torch"] == results["peer_versions"]["torch"]
    assert ran.out.count("\ntf32") == 3  # tables: of the back ends, of the options, of the loop that is none


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--preset=gpu", "--sweep=T", "--shapes=S1"), "--preset=gpu: has no --sweep"),
        (("--preset=tpu", "--profile=traces"), "--preset=tpu: has no --profile"),
        (("--rehearsal=true",), "--rehearsal: is of a --preset, name one"),
        (("--preset=gpu", "--shapes=B2T3I4H5"), "--preset=gpu: the flags leave nothing of it; give fewer"),
        (("--preset=gpu", "--time_limit_minutes=0"), "--time_limit_minutes=0.0: must be above 0.0"),
    ],
)
def test_errors(tmp_path, arguments, message):
    folder = tmp_path / "run"
    assert run(MAIN, f"--workdir={folder}", *arguments).one_error() == message
    assert not folder.exists()


@pytest.mark.skipif(importlib.util.find_spec("jax_cuda13_plugin") is not None, reason="here it compiles")
def test_to_compile_for_a_hopper_takes_its_compiler(capsys):
    assert compile_for_hopper.main(["lstm,S1,tf32,mosaic"]) == 2
    needed = "jax-cuda13-plugin, jax-cuda13-pjrt, nvidia-cuda-nvcc and nvidia-nvvm"
    assert capsys.readouterr() == ("", f"error: needs {needed}\n")
