"""One peer in a process of its own."""

import dataclasses

import numpy as np
import pytest

from benchmarks import shapes
from benchmarks.child import Refused
from benchmarks.turns import closing_all, start
from benchmarks.worker import Task, set_up

TASK = Task("manual", "rnn", shapes.get("B2T3I2H3r"), "float32")
PASSES = {"forward", "forward_backward"}


def test_on_the_command_line():
    assert Task.from_json(TASK.to_json()) == TASK


def test_a_worker(tmp_path):
    file = tmp_path / "values.npz"
    with closing_all() as children:
        worker, found = start(["-m", "benchmarks.worker", TASK.to_json()])
        children["manual"] = worker
        assert found["device"] == "cpu"
        assert set(found["compile_seconds"]) == PASSES
        assert found["planned_bytes"] > 0
        for what, calls in (("forward", 3), ("forward_backward", 2)):
            seconds = worker.ask("time", what=what, calls=calls, untimed=1)
            assert len(seconds) == calls
            assert min(seconds) > 0
        worker.ask("values", file=str(file))
        values = dict(np.load(file))
        assert set(values) == {"ys", "dxs", "w_ih", "w_hh", "b"}
        assert values["dxs"].shape == (3 * 2 * 2,)
        with pytest.raises(Refused, match=r"^KeyError: 'backward'$") as refused:
            worker.ask("time", what="backward", calls=1)
        assert refused.value.status == "failed"


def test_in_float64(tmp_path):
    """Values that float32 cannot hold; these tests have 64-bit types in any case, a new process has not."""
    file = tmp_path / "values.npz"
    with closing_all() as children:
        task = dataclasses.replace(TASK, dtype="float64")
        children["manual"], _ = start(["-m", "benchmarks.worker", task.to_json()])
        children["manual"].ask("values", file=str(file))
    ys = np.load(file)["ys"]
    assert (ys != ys.astype(np.float32)).any()


def test_a_trace(tmp_path):
    _, answers = set_up(TASK)
    answers["profile"](str(tmp_path / "trace"))
    assert list((tmp_path / "trace").rglob("*.xplane.pb"))
