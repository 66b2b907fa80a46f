"""Who takes part in a contest, what each may take, and who is ranked. Nothing here hangs on how long anything took."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import contest, shapes
from benchmarks.child import Refused
from benchmarks.contest import Limits, hold, rank, too_much
from benchmarks.peers import PEERS

TINY = shapes.get("B2T3I2H3")
LIMITS = Limits(turns=2, seconds=1e6, memory_bytes=2**40, rate=1e12)
GIB = 2**30


class Fake:
    """A worker of a machine on which every call takes a second.

    Compiling has had 9 GiB for a while, of which 3 are held; a gradient takes 2 more for as long as it is computed.
    """

    process = SimpleNamespace(pid=7)
    planned_bytes = 4 * GIB

    def __init__(self):
        self.peak, self.closed = 9 * GIB, False

    def ask(self, name, limit, memory_bytes=None, **asked):
        if name == "values":
            np.savez(asked["file"], ys=np.ones(3))
        elif name == "time":
            if asked["what"] == "forward_backward":
                self.peak = max(self.peak, 5 * GIB)
            return [1.0] * asked["calls"]
        return None

    def close(self):
        self.closed = True


@pytest.fixture
def fakes(monkeypatch):
    """Workers that were started."""
    started = []

    def start(command, limit, memory_bytes):
        assert command[:2] == ["-m", "benchmarks.worker"]
        started.append(Fake())
        found = {"device": "cpu", "compile_seconds": {}, "planned_bytes": Fake.planned_bytes}
        return started[-1], found

    def forget_peak(process):
        started[-1].peak = 3 * GIB

    monkeypatch.setattr(contest, "start", start)
    monkeypatch.setattr(contest, "forget_peak", forget_peak)
    monkeypatch.setattr(contest, "peak_bytes", lambda process: started[-1].peak)
    monkeypatch.setattr(contest, "resident_bytes", lambda process: 3 * GIB)
    return started


def hold_tiny(names=("manual",), **limits):
    return hold("rnn", TINY, "float32", names, dataclasses.replace(LIMITS, **limits))


def test_what_is_found_of_a_peer(fakes):
    """The memory of its first calls counts, that of compiling does not."""
    (row,) = hold_tiny()
    assert (row["status"], row["agrees"], row["errors"]) == ("ran", True, {"ys": 0.0})
    assert row["first_call_seconds"] == row["call_seconds"] == {"forward": 1.0, "forward_backward": 1.0}
    assert (row["peak_bytes"], row["process_bytes"]) == (5 * GIB, 2 * GIB)
    assert fakes[0].closed


def test_a_plan_above_the_limit(fakes):
    """The compiler says so, and nothing is run."""
    (row,) = hold_tiny(memory_bytes=4 * GIB - 1)
    assert (row["status"], row["reason"]) == ("memory", "plans for 4.0 GiB")
    assert row["planned_bytes"] == 4 * GIB
    assert "first_call_seconds" not in row
    assert fakes[0].closed


def test_a_first_call_that_takes_too_long(fakes):
    (row,) = hold_tiny(seconds=1.9)
    assert (row["status"], row["reason"]) == ("time", "one call of each takes 2.0 s")
    assert row["first_call_seconds"] == {"forward": 1.0, "forward_backward": 1.0}
    assert "call_seconds" not in row


def test_peers_that_take_too_much_together(fakes):
    """One holds 3 GiB and takes 2 more for a while; there is no room for another that holds 3."""
    first, second = hold_tiny(["manual", "scan"], memory_bytes=8 * GIB - 1)
    assert first["status"] == "ran"
    assert (second["status"], second["reason"]) == ("memory", "with those before it 8.0 GiB: name fewer peers")
    assert all(each.closed for each in fakes)


def test_a_process_that_takes_too_much():
    (row,) = hold_tiny(memory_bytes=2**20)
    assert (row["status"], row["reason"]) == ("memory", "took more than 0.000977 GiB")


def test_a_whole_contest():
    """With processes: one that cannot run on a CPU, one that can."""
    first, second = hold("lstm", TINY, "float32", ["cudnn", "manual"], LIMITS)
    assert (first["status"], first["reason"]) == ("not_here", "needs an NVIDIA GPU, and this is cpu")
    assert (second["status"], second["compared_with"]) == ("ran", "manual")
    assert 0 <= second["process_bytes"] < second["peak_bytes"] > 2**20


def test_a_trace_that_cannot_be_written(fakes, monkeypatch, tmp_path, capsys):
    """Says so; the times are there."""

    def ask(self, name, *limits, **asked):
        if name == "profile":
            assert asked == {"folder": str(tmp_path / "rnn-B2T3I2H3-float32-manual")}
            raise Refused("failed", "the disk is full")
        return answer(self, name, *limits, **asked)

    answer = Fake.ask
    monkeypatch.setattr(Fake, "ask", ask)
    (row,) = hold("rnn", TINY, "float32", ["manual"], LIMITS, trace=tmp_path)
    assert row["status"] == "ran"
    assert capsys.readouterr().out == f"no trace in {tmp_path / 'rnn-B2T3I2H3-float32-manual'}: the disk is full\n"


def test_what_cannot_be_done_in_time():
    """A gradient has 3 times the forward pass's products, and there is one call of each: 4 times."""
    shape = shapes.get("B1T100I1H9")
    least = 4 * shape.multiply_adds(1) / 1000
    assert too_much("rnn", shape, dataclasses.replace(LIMITS, rate=1000.0, seconds=least * 1.01)) is None
    words = too_much("rnn", shape, dataclasses.replace(LIMITS, rate=1000.0, seconds=least * 0.99))
    assert words == "as matrix products alone a gradient takes 27 s"
    rows = hold("rnn", shape, "float32", ["scan", "torch"], dataclasses.replace(LIMITS, rate=1e-9))
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
    assert set(rows) <= set(PEERS)
    rank(rows)
    assert rows["torch"]["forward_backward"]["ratio"] == 3.0
    assert rows["scan"]["forward"]["ratio"] == 2.0
    assert rows["torch"]["ratio_to"] == "manual"
    assert "ratio_to" not in rows["keras"]
