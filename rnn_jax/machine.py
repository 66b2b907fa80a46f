"""The machine at hand: its device, the versions on it, and how much memory a process takes."""

import importlib.metadata
import os
import platform
import resource
import sys
from pathlib import Path

PACKAGES = ("rnn_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "torch")
"""Packages that figures depend on."""


VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "asimd": "NEON", "sse2": "SSE2"}
"""What a processor may have for vectors, the widest first: by Linux's name for it."""


def device_name() -> str:
    """The device that computes, in words: an accelerator's kind, or the processor's name, cores and widest vectors."""
    import jax  # the other functions serve processes that do without it

    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{device.platform} ({device.device_kind})"
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    entries = {key.strip(): value.strip() for key, colon, value in (line.partition(":") for line in lines) if colon}
    features = entries.get("flags", entries.get("Features", "")).split()
    vectors = [name for feature, name in VECTORS.items() if feature in features][:1]
    model = entries.get("model name") or platform.processor() or platform.machine()
    return f"cpu ({', '.join([model, f'{os.cpu_count()} cores', *vectors])})"


def versions() -> dict[str, str]:
    """The versions of Python and of `PACKAGES`, by name; those that are not installed are left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # an optional one, or rnn_jax itself from a bare checkout
            continue
    return found


def resident_bytes(process: int | None = None) -> int:
    """What a process holds in memory now.

    Where Linux's /proc is missing: the most that this one has held so far, and 0 for another.

    Args:
        process: its number; None: this process. One that has ended holds 0.
    """
    return _bytes("VmRSS", process)


def peak_bytes(process: int | None = None) -> int:
    """The most that a process has held in memory, or has held since `forget_peak`.

    Where Linux's /proc is missing: that of this one, and 0 for another.

    Args:
        process: its number; None: this process. One that has ended holds 0.
    """
    return _bytes("VmHWM", process)


def _bytes(name: str, process: int | None) -> int:
    found = _status(name, "self" if process is None else process)
    if found is None:
        return 0 if process is not None else _most()
    return found


def _status(name: str, process: int | str) -> int | None:
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # another system, or the process has ended
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)


def _most() -> int:
    """Second best: on Linux a child inherits that of its parent."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB elsewhere


def available_bytes() -> int | None:
    """Memory that a process may still take without swapping: of the system, or less where its control group says so.

    None where Linux's /proc is missing.
    """
    found = [_number(Path("/proc/meminfo"), "MemAvailable:", 1024)]
    for folder in _control_groups():
        for limit, usage in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            most, now = (_number(folder / name) for name in (limit, usage))
            if most is not None and now is not None:  # files that were read count as used, and make room when asked to
                files = _number(folder / "memory.stat", "inactive_file") or 0
                found.append(max(most - now + files, 0))
    return min((each for each in found if each is not None), default=None)


def _control_groups() -> list[Path]:
    """The folders that may hold this process's limits: of its own group, and of the one that stands at the top."""
    tops = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory")]
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    groups = {line.split(":", 2)[2].lstrip("/") for line in lines if line.split(":", 2)[1] in ("", "memory")}
    return [top / group for top in tops for group in {*groups, ""}]


def _number(file: Path, name: str = "", unit: int = 1) -> int | None:
    """The number in a file, or in its line that begins with `name`; None where there is none."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    words = next((line.split() for line in lines if line.split()[:1] == [name] or not name), [])
    value = words[1 if name else 0 :][:1]
    return int(value[0]) * unit if value and value[0].isdigit() else None  # "max": no limit


def forget_peak(process: int | None = None) -> None:
    """Lets the peak begin anew: compiling has one of its own. Without effect where the system has no such switch.

    Args:
        process: its number; None: this process.
    """
    try:
        Path(f"/proc/{'self' if process is None else process}/clear_refs").write_text("5")
    except OSError:
        return
