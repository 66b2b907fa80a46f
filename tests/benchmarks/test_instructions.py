"""Contenders are held to a set of instructions while they start, and the environment is as it was afterwards."""

import os
import platform

import pytest

from benchmarks import shapes
from benchmarks.instructions import HELD_TO, held_to
from benchmarks.turns import start
from benchmarks.worker import Task
from rnn_jax.backends.native import library


def test_the_environment_comes_back(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=somewhere")
    monkeypatch.delenv("RNN_JAX_NATIVE_ISA", raising=False)
    before = dict(os.environ)
    with held_to("avx2"):
        assert os.environ["XLA_FLAGS"] == "--xla_dump_to=somewhere --xla_cpu_max_isa=AVX2"
        assert {os.environ[variable] for variable in HELD_TO["avx2"] if variable != "XLA_FLAGS"} == {"avx2", "AVX2"}
    assert dict(os.environ) == before
    with held_to("native"):
        assert dict(os.environ) == before


@pytest.mark.skipif(platform.machine() != "x86_64", reason="instructions of x86-64")
@pytest.mark.skipif(library.instruction_set() not in ("AVX-512", "AVX2"), reason="no AVX2, or no compiler")
@pytest.mark.parametrize("peer", ["native", "torch"])
def test_who_starts_then_is_held_to_it(peer):
    if peer == "torch":
        pytest.importorskip("torch")
    with held_to("avx2"):
        worker, found = start(
            ["-m", "benchmarks.worker", Task(peer, "rnn", shapes.get("B2T3I2H3"), "float32").to_json()]
        )
        worker.close()
    assert found["instruction_set"] == "AVX2"
