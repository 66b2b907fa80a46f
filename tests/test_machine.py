"""The machine at hand: its device in words, versions, and memory measured on blocks of a known size."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from rnn_jax import machine

ROOT = Path(__file__).resolve().parent.parent
MIB = 2**20
BLOCK = 200
SLACK = 5 * MIB  # the kernel counts pages in batches

on_linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measured where Linux's /proc is")


class TestDeviceName:
    def test_of_a_processor(self, monkeypatch):
        monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(platform="cpu", device_kind="cpu")])
        model, cores, *vectors = machine.device_name().removeprefix("cpu (").removesuffix(")").split(", ")
        assert cores == f"{os.cpu_count()} cores"
        info = Path("/proc/cpuinfo")
        assert model
        if info.exists() and "model name" in info.read_text():
            assert f": {model}\n" in info.read_text()
        if info.exists():
            assert vectors[0] in machine.VECTORS.values()
            assert (vectors == ["AVX-512"]) == ("avx512f" in info.read_text())

    @pytest.mark.parametrize(
        ("entries", "words"),
        [
            ("model name\t: A\nflags\t\t: sse2 avx2 avx512f\n", "A, 3 cores, AVX-512"),
            ("model name\t: A\nflags\t\t: sse2 avx2 bmi2\n", "A, 3 cores, AVX2"),
            ("processor\t: 0\nFeatures\t: fp asimd crc32\n", "chip, 3 cores, NEON"),
            ("model name\t: A\nflags\t\t: fpu\n", "A, 3 cores"),
        ],
    )
    def test_of_other_processors(self, monkeypatch, entries, words):
        monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(platform="cpu", device_kind="cpu")])
        monkeypatch.setattr(os, "cpu_count", lambda: 3)
        monkeypatch.setattr(platform, "processor", lambda: "chip")
        monkeypatch.setattr(Path, "exists", lambda self: True)
        monkeypatch.setattr(Path, "read_text", lambda self, **options: entries)
        assert machine.device_name() == f"cpu ({words})"

    def test_of_an_accelerator(self, monkeypatch):
        monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(platform="gpu", device_kind="NVIDIA H100")])
        assert machine.device_name() == "gpu (NVIDIA H100)"


def test_versions(monkeypatch):
    monkeypatch.setattr(machine, "PACKAGES", ("jax", "a-package-that-is-nowhere"))
    assert machine.versions() == {"python": platform.python_version(), "jax": jax.__version__}


ALLOCATES = f"""
import json, sys
from rnn_jax.machine import forget_peak, peak_bytes, resident_bytes

def say():
    print(json.dumps(dict(resident=resident_bytes(), peak=peak_bytes())), flush=True)
    sys.stdin.readline()

say()
block = b"x" * ({BLOCK} * {MIB})
say()
del block
say()
forget_peak()
say()
block = b"x" * ({BLOCK} * {MIB})
del block
say()
"""


@on_linux
def test_memory_of_a_process():
    """From within and from without: before a block of 200 MiB, with it, without it, and with the peak forgotten."""
    process = subprocess.Popen(
        [sys.executable, "-c", ALLOCATES], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    within, without = [], []
    with process:
        for _ in range(5):
            within.append(json.loads(process.stdout.readline()))
            without.append({"resident": machine.resident_bytes(process.pid), "peak": machine.peak_bytes(process.pid)})
            if len(within) == 5:
                machine.forget_peak(process.pid)
                forgotten_from_without = machine.peak_bytes(process.pid)
            process.stdin.write("\n")
            process.stdin.flush()
    before, full, freed, forgotten, again = within
    grown = {name: (full[name] - before[name]) / MIB for name in before}
    assert grown["resident"] == pytest.approx(BLOCK, abs=SLACK / MIB), grown
    assert grown["peak"] == pytest.approx(BLOCK, abs=20), grown  # the peak may have been above what is held now
    assert freed["resident"] == pytest.approx(before["resident"], abs=SLACK)
    assert freed["peak"] == pytest.approx(full["peak"], abs=SLACK)
    assert again["peak"] == pytest.approx(again["resident"] + BLOCK * MIB, abs=SLACK)
    if os.access("/proc/self/clear_refs", os.W_OK):
        assert forgotten["peak"] == pytest.approx(forgotten["resident"], abs=SLACK)
        assert forgotten_from_without == pytest.approx(again["resident"], abs=SLACK)
    for inside, outside in zip(within, without, strict=True):
        assert outside == pytest.approx(inside, abs=SLACK)
    assert machine.resident_bytes(process.pid) == machine.peak_bytes(process.pid) == 0, "it has ended"


@on_linux
def test_a_process_that_has_ended_and_was_not_waited_for_holds_nothing():
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert machine.resident_bytes(process.pid) == 0
    process.wait()


def test_elsewhere_the_peak_stands_for_what_is_held(monkeypatch):
    """Without /proc: this process's peak, which is above 10 MiB for any that has imported JAX; of others nothing."""
    monkeypatch.setattr(machine, "_status", lambda name, process: None)
    assert machine.resident_bytes() == machine.peak_bytes() > 10 * MIB
    assert machine.resident_bytes(os.getppid()) == machine.peak_bytes(os.getppid()) == 0


class TestAvailable:
    def test_of_the_system(self):
        assert 0 < machine.available_bytes() < 2**50

    @pytest.mark.parametrize(
        ("limit", "usage"), [("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")]
    )
    def test_a_control_group_may_say_less(self, tmp_path, monkeypatch, limit, usage):
        monkeypatch.setattr(machine, "_control_groups", lambda: [tmp_path / "none", tmp_path])
        whole = machine.available_bytes()
        (tmp_path / usage).write_text("700\n")
        (tmp_path / limit).write_text("max\n")
        assert machine.available_bytes() == pytest.approx(whole, rel=0.5)
        (tmp_path / limit).write_text("1000\n")
        assert machine.available_bytes() == 300
        (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 50\n")
        assert machine.available_bytes() == 350
        (tmp_path / usage).write_text("2000\n")
        assert machine.available_bytes() == 0

    def test_its_own_group_is_looked_at(self):
        folders = machine._control_groups()
        assert machine.Path("/sys/fs/cgroup") in folders
