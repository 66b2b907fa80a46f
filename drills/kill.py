"""SIGKILL at random moments, every second one while a checkpoint is being written: the end is the same to the bit.

    python -m drills.kill --times=20

One run is left alone, the other killed and started again that many times. Compared: the last state, the model, the
results and the log, without clocks. Half a minute per kill on two busy cores.
"""

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

from drills import driver


def killed(folder: Path, flags: tuple[str, ...], records: int, within_save: bool) -> str:
    """Starts, or goes on with, the run, and kills it that many records later; says where that was."""
    process = driver.start(folder, *flags)
    begun = driver.wait(process, lambda: (folder / "data.txt").exists())
    until = driver.logged(folder) + records
    reached = begun and driver.wait(
        process, lambda: driver.logged(folder) >= until and (not within_save or driver.saving(folder))
    )
    process.kill()
    ended = driver.end(process)
    left = "half a checkpoint" if driver.saving(folder) else "no half of anything"
    place = f"after {driver.logged(folder)} records, leaving {left}"
    return place if reached else f"{place} (it had ended: {ended.status}, {ended.lines})"


def main() -> int:
    """Prints where each kill came and what differs in the end; returns 1 where anything does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=20, help="kills")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    moments = random.Random(given.seed)
    base = Path(tempfile.mkdtemp())
    flags = (f"--epochs={4 * given.times}",)  # three records each
    alone = driver.end(driver.start(base / "alone", *flags))
    if alone.status != 0:
        print(f"left alone it ended with {alone}")
        return 1
    for time in range(given.times):
        place = killed(base / "killed", flags, moments.randint(1, 9), within_save=time % 2 == 0)
        print(f"kill {time + 1}: {place}", flush=True)
    ended = driver.end(driver.start(base / "killed", *flags))
    expected, found = driver.bits(base / "alone"), driver.bits(base / "killed")
    different = [name for name in expected if found.get(name) != expected[name]]
    print(f"ended with status {ended.status}; {ended.lines or 'nothing'} on stderr; differs: {different or 'nothing'}")
    return int(ended.status != 0 or bool(different))


if __name__ == "__main__":
    os.nice(5)
    sys.exit(main())
