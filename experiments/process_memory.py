"""How much memory this process, or another, holds and has held. Python alone: no JAX is imported here."""

import resource
import sys
from pathlib import Path


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
