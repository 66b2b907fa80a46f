"""The machine at hand: its device, the versions on it, and how much memory a process takes."""

import importlib.metadata
import os
import platform
import resource
import sys
from pathlib import Path

PACKAGES = ("rnn_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "torch")
"""Packages that figures depend on."""


def device_name() -> str:
    """The device that computes, in words: an accelerator's kind, or the processor's name and its cores."""
    import jax  # the other functions serve processes that do without it

    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{device.platform} ({device.device_kind})"
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return f"cpu ({model}, {os.cpu_count()} cores)"


def versions() -> dict[str, str]:
    """The versions of Python and of `PACKAGES`, those that are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # an optional one, or rnn_jax itself from a bare checkout
            continue
    return found


def resident_bytes(process: int | str = "self") -> int:
    """What the process holds in memory now; where Linux's /proc is missing, the most this one has held so far."""
    return _status("VmRSS", process)


def peak_bytes() -> int:
    """The most that this process has held. `ru_maxrss` is second best: a child inherits its parent's on Linux."""
    return _status("VmHWM", "self")


def _status(name: str, process: int | str) -> int:
    status = Path(f"/proc/{process}/status")
    if status.exists():
        found = [line.split()[1] for line in status.read_text().splitlines() if line.startswith(f"{name}:")]
        if found:
            return int(found[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB elsewhere


def forget_peak() -> None:
    """Lets the peak begin anew: compiling has one of its own. Without effect where the system has no such switch."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return
