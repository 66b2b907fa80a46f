"""Turns in their order, and processes that end before their time."""

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import shapes, turns
from benchmarks.contest import Limits, _rank, hold, too_much
from benchmarks.turns import Refused, Worker, calls_per_turn, closing_all, start, take_turns
from benchmarks.worker import Task, prepare

TINY = shapes.get("B2T3I2H3")
LIMITS = Limits(turns=2, seconds=30.0, memory_bytes=2**40, rate=1e12)
TASK = Task("manual", "rnn", TINY, "float32", 30.0, 2**40, "values.npz")


def run_python(code):
    root = Path(turns.__file__).parents[1]
    return subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)


def test_without_any_peer():
    """Nor what other experiments need."""
    absent = ["torch", "equinox", "haiku", "keras", "tensorflow_datasets", "tokenizers", "tensorboardX"]
    code = f"import sys\nfor name in {absent!r}:\n    sys.modules[name] = None\n"
    ended = run_python(f"{code}import benchmarks.contest, benchmarks.report, benchmarks.worker, benchmarks.layer")
    assert ended.returncode == 0, ended.stderr


def test_no_jax_beside_pytorch():
    """Its threads would slow PyTorch's."""
    pytest.importorskip("torch")
    code = "import sys, benchmarks.worker, benchmarks.peers.pytorch\nassert 'jax' not in sys.modules"
    ended = run_python(code)
    assert ended.returncode == 0, ended.stderr


class Fake:
    """Notes what it is asked; every call takes `seconds`, and the one after `last` ends it."""

    def __init__(self, name, log, seconds=1.0, last=10**9):
        self.name, self.log, self.seconds, self.last = name, log, seconds, last

    def ask(self, request, limit):
        if len([entry for entry in self.log if entry[0] == self.name]) >= self.last:
            raise Refused("failed", "gone")
        self.log.append((self.name, request["time"], request["calls"]))
        return [self.seconds] * request["calls"]


def test_everyone_in_turn():
    log = []
    workers = {name: Fake(name, log) for name in "ABC"}
    found, ended = take_turns(workers, {"A": 1, "B": 2, "C": 1}, turns=2, seconds=100)
    one_round = [
        ("A", "forward", 1), ("A", "forward_backward", 1), ("B", "forward", 2), ("B", "forward_backward", 2),
        ("C", "forward", 1), ("C", "forward_backward", 1),
    ]  # fmt: skip
    assert log == 2 * one_round
    assert found["B"] == {"forward": [[1.0, 1.0], [1.0, 1.0]], "forward_backward": [[1.0, 1.0], [1.0, 1.0]]}
    assert ended == {}


def test_a_budget_that_is_spent():
    """A takes 4 s a turn and may have 5: two turns. B goes on."""
    log = []
    found, _ = take_turns({"A": Fake("A", log, 2.0), "B": Fake("B", log, 0.1)}, {"A": 1, "B": 1}, turns=4, seconds=5)
    assert len(found["A"]["forward"]) == 2
    assert len(found["B"]["forward"]) == 4


def test_one_that_ends_on_the_way():
    log = []
    found, ended = take_turns({"A": Fake("A", log, last=2), "B": Fake("B", log)}, {"A": 1, "B": 1}, turns=3, seconds=99)
    assert (ended["A"].status, str(ended["A"])) == ("failed", "gone")
    assert len(found["B"]["forward"]) == 3


@pytest.mark.parametrize(("call_seconds", "calls"), [(1e-6, turns.MOST_CALLS), (0.25, 2), (60.0, 1)])
def test_calls_per_turn(call_seconds, calls):
    each = {"forward": call_seconds, "forward_backward": call_seconds}
    assert calls_per_turn(each, turns=10, seconds=10) == calls


def test_a_worker(tmp_path):
    """Sets up, answers as often as it is asked, and is gone when it is closed."""
    with closing_all() as workers:
        worker, found = start(dataclasses.replace(TASK, values=str(tmp_path / "values.npz")), 300)
        workers["manual"] = worker
        assert found["device"] == "cpu"
        assert set(found["compile_seconds"]) == set(found["first_call_seconds"]) == {"forward", "forward_backward"}
        assert found["planned_bytes"] > 0
        assert found["peak_bytes"] > 2**20
        assert (tmp_path / "values.npz").exists()
        for what, calls in (("forward", 3), ("forward_backward", 2)):
            seconds = worker.ask({"time": what, "calls": calls}, 300)
            assert len(seconds) == calls
            assert min(seconds) > 0
        with pytest.raises(Refused, match="AttributeError") as refused:
            worker.ask({"time": "backward", "calls": 1}, 300)
        assert refused.value.status == "failed"
    assert worker.process.poll() is not None


def test_processes_that_give_no_answer():
    silent = Worker("-")  # which is no task: ends with a traceback
    with pytest.raises(Refused, match=r"^JSONDecodeError: ") as refused:
        silent.hear(300)
    assert refused.value.status == "failed"
    silent.close()
    slow = Worker("64")
    started = time.monotonic()
    with pytest.raises(Refused, match=r"^no answer within 0 s$") as refused:
        slow.hear(0.01)
    assert refused.value.status == "time"
    assert slow.process.poll() is not None
    assert time.monotonic() - started < 60


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the memory of another process is not to be seen")
def test_a_process_that_takes_too_much():
    worker = Worker("64")
    with pytest.raises(Refused, match=r"^took more than 0\.00195 GiB$") as refused:
        worker.hear(300, memory_bytes=2**21)
    assert refused.value.status == "memory"
    assert worker.process.poll() is not None


def test_a_plan_above_the_limit(tmp_path):
    """The compiler says so, and nothing is run."""
    _, found = prepare(dataclasses.replace(TASK, memory_bytes=10, values=str(tmp_path / "values.npz")))
    assert found["skipped"].startswith("plans for ")
    assert "first_call_seconds" not in found
    assert not (tmp_path / "values.npz").exists()


def test_what_cannot_be_done_in_time():
    """A gradient has 3 times the forward pass's products, and there is one call of each: 4 times."""
    shape = shapes.get("B1T100I1H9")
    least = 4 * shape.multiply_adds(1) / 1000
    assert too_much("rnn", shape, dataclasses.replace(LIMITS, rate=1000.0, seconds=least * 1.01)) is None
    words = too_much("rnn", shape, dataclasses.replace(LIMITS, rate=1000.0, seconds=least * 0.99))
    assert words is not None
    assert words.startswith("as matrix products alone a gradient takes 27 s")
    rows = hold("rnn", shape, "float32", ["scan", "torch"], dataclasses.replace(LIMITS, rate=1.0))
    assert rows[0]["status"] == "time"


def test_ratios_are_of_turns():
    """Of each turn by itself: a slow second turn, which slows both, is no matter. Who does not agree has none."""

    def row(name, turns, agrees=True):
        times = {"median": sorted(turns)[1], "turns": turns}
        return {"status": "ran", "agrees": agrees, "forward": dict(times), "forward_backward": dict(times)}

    rows = {
        "scan": row("scan", [2.0, 20.0, 2.2]),
        "manual": row("manual", [1.0, 10.0, 1.0]),
        "torch": row("torch", [3.0, 30.0, 3.0]),
        "keras": row("keras", [0.5, 0.5, 0.5], agrees=False),
        "flax": {"status": "missing"},
    }
    _rank(rows)
    assert rows["torch"]["forward_backward"]["ratio"] == 3.0
    assert rows["scan"]["forward"]["ratio"] == 2.0
    assert rows["torch"]["ratio_to"] == "manual"
    assert "ratio_to" not in rows["keras"]
