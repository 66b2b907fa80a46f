"""SIGINT, SIGTERM and SIGHUP at every kind of moment: one line, exit status 128 + n, and the run goes on afterwards.

    python -m drills.signals [--only=training]

Prints a line per try; ends with status 1 where one came out otherwise. About five minutes on two busy cores.
"""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from drills import driver

NEVER = 100_000
"""Epochs of a run that a signal has to end."""

MOMENTS: dict[str, Callable[[Path], bool]] = {
    "imports": lambda folder: True,
    "reading": lambda folder: (folder / "flags.txt").exists(),
    "compiling": lambda folder: (folder / "data.txt").exists(),
    "training": lambda folder: driver.logged(folder) > 5,
    "saving": lambda folder: driver.logged(folder) > 5 and driver.saving(folder),
}
"""By name what shows that it has come."""


def attempt(moment: str, number: int, twice: bool) -> tuple[bool, str]:
    """One signal, or two in a row, after that moment: whether it ended as it should, and how it ended."""
    folder = Path(tempfile.mkdtemp())
    process = driver.start(folder / "run", f"--epochs={NEVER}")
    if not driver.wait(process, lambda: MOMENTS[moment](folder / "run")):
        return False, f"never came to {moment}: {driver.end(process)}"
    time.sleep(random.uniform(0.5, 1.5) if moment in ("imports", "reading", "compiling") else 0)
    asked = time.monotonic()
    process.send_signal(number)
    if twice:
        time.sleep(random.uniform(0, 0.05))
        process.send_signal(number)
    ended = driver.end(process)
    seconds = time.monotonic() - asked
    shutil.rmtree(folder)
    good = ended.status == 128 + number and len(ended.lines) == 1 and "Traceback" not in ended.err
    if moment in ("training", "saving") and not twice:
        good &= "and saved" in ended.err
    said = ended.lines[0] if len(ended.lines) == 1 else f"{len(ended.lines)} lines, the last {ended.lines[-1:]}"
    return good, f"status {ended.status} after {seconds:.2f} s: {said}"


def main() -> int:
    """All moments, all signals, once and twice."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=tuple(MOMENTS), help="this moment alone")
    only = parser.parse_args().only
    failed = 0
    for moment in MOMENTS if only is None else (only,):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            for twice in (False, True):
                good, how = attempt(moment, number, twice)
                failed += not good
                print(
                    f"{'ok    ' if good else 'FAILED'} {moment:<9} {number.name}{' twice' * twice}: {how}", flush=True
                )
    print(f"{failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
