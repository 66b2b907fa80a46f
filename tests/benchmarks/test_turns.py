"""Turns in their order, and processes that end before their time: no outcome here hangs on how busy the machine is."""

import os
import re
import subprocess
import sys

import pytest

from benchmarks import turns
from benchmarks.child import Refused, seconds_of
from benchmarks.turns import Child, calls_per_turn, closing_all, start, take_turns

ECHO = """
from benchmarks.child import Refused, serve, stopwatch
def refuse(status, message):
    raise Refused(status, message)
serve(lambda: ({"device": "cpu"}, {"echo": lambda **words: words, "refuse": refuse, "time": stopwatch({"none": int})}))
"""
SILENT = "import sys; sys.stdin.read()"
"""Never answers, however fast or slow the machine is."""


def test_a_child():
    """Says what it found, answers as often as it is asked, and is gone when it is closed."""
    with closing_all() as children:
        children["echo"], found = start(["-c", ECHO])
        assert found == {"device": "cpu"}
        for words in ({}, {"what": "forward", "calls": 2}):
            assert children["echo"].ask("echo", **words) == words
        assert len(children["echo"].ask("time", what="none", calls=3, untimed=1)) == 3
        assert children["echo"].process.poll() is None
    assert children["echo"].process.poll() is not None


def test_what_libraries_print_is_no_answer():
    code = """
from benchmarks.child import serve
def set_up():
    print("what a library prints")
    return "found", {}
serve(set_up)
"""
    with closing_all() as children:
        children["loud"], found = start(["-c", code])
    assert found == "found"


def test_a_child_that_refuses():
    with closing_all() as children:
        child, _ = start(["-c", ECHO])
        children["echo"] = child
        with pytest.raises(Refused, match=r"^runs on a GPU only$") as refused:
            child.ask("refuse", status="not_here", message="runs on a GPU only")
        assert refused.value.status == "not_here"
        assert child.process.poll() is not None
        with pytest.raises(ValueError, match="closed file"):
            child.ask("echo")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("from benchmarks.child import serve\nserve(lambda: 1 / 0)", "ZeroDivisionError: division by zero"),
        ("raise SystemExit('no such shape')", "ended with status 1: no such shape"),
        ("print('half an answer', end='')", "ended with status 0"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "ended with status -9"),
    ],
    ids=["error", "end", "half", "killed"],
)
def test_a_child_that_fails(code, message):
    with pytest.raises(Refused, match=f"^{re.escape(message)}$") as refused:
        start(["-c", code])
    assert refused.value.status == "failed"


def test_an_answer_that_fails():
    child, _ = start(["-c", "from benchmarks.child import serve\nserve(lambda: (1, {'end': lambda: int('x')}))"])
    with pytest.raises(Refused, match=r"^ValueError: invalid literal"):
        child.ask("end")


def test_no_answer_in_time():
    child = Child("-c", SILENT)
    with pytest.raises(Refused, match=r"^no answer within 0 s$") as refused:
        child.hear(limit=0)
    assert refused.value.status == "time"
    assert child.process.poll() is not None


def test_the_limit_may_be_longer_than_a_system_can_wait(monkeypatch):
    """It waits a while, again and again, until the time is up; here at the third look."""
    waits = []

    class Selector:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def register(self, *given):
            return None

        def select(self, timeout):
            waits.append(timeout)
            return len(waits) == 3

    with closing_all() as children:
        children["echo"] = Child("-c", "from benchmarks.child import serve\nserve(lambda: (1, {}))")
        monkeypatch.setattr(turns.selectors, "DefaultSelector", Selector)
        assert children["echo"].hear(limit=1e9) == 1
    assert waits == [turns.WAIT_SECONDS] * 3


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the memory of another process is not to be seen")
def test_a_child_that_takes_too_much():
    child = Child("-c", SILENT)
    with pytest.raises(Refused, match=r"^took more than 0\.000977 GiB$") as refused:
        child.hear(memory_bytes=2**20)
    assert refused.value.status == "memory"
    assert child.process.poll() is not None


class Fake:
    """Notes what it is asked; every call takes `seconds`, and the one after `last` ends it."""

    def __init__(self, name, log, seconds=1.0, last=10**9):
        self.name, self.log, self.seconds, self.last = name, log, seconds, last

    def ask(self, question, limit, what, calls, untimed):
        assert question == "time"
        assert limit > self.seconds
        if len([entry for entry in self.log if entry[0] == self.name]) >= self.last:
            raise Refused("failed", "gone")
        self.log.append((self.name, what, calls, untimed))
        return [self.seconds] * calls


TIMED = ("forward", "forward_backward")


def test_everyone_in_turn():
    log = []
    children = {name: Fake(name, log) for name in "ABC"}
    found, ended = take_turns(children, TIMED, {"A": 1, "B": 2, "C": 1}, turns=2, untimed=1, seconds=100)
    one_round = [(name, what, calls, 1) for name, calls in (("A", 1), ("B", 2), ("C", 1)) for what in TIMED]
    assert log == 2 * one_round
    assert found["B"] == {"forward": [[1.0, 1.0], [1.0, 1.0]], "forward_backward": [[1.0, 1.0], [1.0, 1.0]]}
    assert ended == {}


def test_a_budget_that_is_spent():
    """A takes 4 s a turn and may have 5: two turns. B goes on."""
    log = []
    children = {"A": Fake("A", log, 2.0), "B": Fake("B", log, 0.1)}
    found, _ = take_turns(children, TIMED, {"A": 1, "B": 1}, turns=4, seconds=5)
    assert len(found["A"]["forward"]) == 2
    assert len(found["B"]["forward"]) == 4


def test_one_that_ends_on_the_way():
    log = []
    children = {"A": Fake("A", log, last=2), "B": Fake("B", log)}
    found, ended = take_turns(children, TIMED, {"A": 1, "B": 1}, turns=3)
    assert (ended["A"].status, str(ended["A"])) == ("failed", "gone")
    assert len(found["B"]["forward"]) == 3


@pytest.mark.parametrize(("call_seconds", "calls"), [(1e-6, turns.MOST_CALLS), (0.25, 2), (60.0, 1)])
def test_calls_per_turn(call_seconds, calls):
    each = {"forward": call_seconds, "forward_backward": call_seconds}
    assert calls_per_turn(each, turns=10, seconds=10) == calls


def test_seconds_of_calls(monkeypatch):
    """By a clock that is one second on at every look."""
    clock = iter(range(100))
    called = []
    monkeypatch.setattr("benchmarks.child.time.perf_counter", lambda: next(clock))
    assert seconds_of(lambda: called.append(next(clock)), 2) == [2, 2]
    assert called == [1, 4]


@pytest.mark.parametrize(
    ("absent", "imported"),
    [
        # Nor what other experiments need.
        (
            ["torch", "equinox", "haiku", "keras", "tensorflow_datasets", "tokenizers", "tensorboardX"],
            "benchmarks.contest, benchmarks.report, benchmarks.worker, benchmarks.layer, benchmarks.matmul, "
            "benchmarks.forecast_epoch, benchmarks.seeds",
        ),
        # JAX's threads would slow PyTorch's.
        (
            ["jax", "jaxlib"],
            "benchmarks.worker, benchmarks.peers.pytorch, benchmarks.forecast_pytorch, benchmarks.imdb_pytorch",
        ),
    ],
    ids=["any_peer", "jax_beside_pytorch"],
)
def test_without(absent, imported):
    if "pytorch" in imported:
        pytest.importorskip("torch")
    code = f"import sys\nfor name in {absent!r}:\n    sys.modules[name] = None\nimport {imported}"
    ended = subprocess.run([sys.executable, "-c", code], cwd=turns.ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
