"""A disk that fills up while a run saves: one line, exit status 2, the checkpoint before intact, and it goes on later.

    python -m drills.disk_full [--mib=4]

As root a small file system in memory is filled; else a limit on the size of a file stands for it. Compares the end with
that of a run that had room. A minute on two idle cores.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from drills import driver

WIDE = ("--hidden_size=96", "--epochs=6")
"""So that a checkpoint has half a MiB."""


def main() -> int:
    """Prints what happened; returns 1 where it was not what it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=4, help="of the small disk")
    mib = parser.parse_args().mib
    base = Path(tempfile.mkdtemp())
    disk, roomy = base / "disk", base / "roomy"
    disk.mkdir()
    alone = driver.end(driver.start(roomy, *WIDE))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "none", disk], check=False).returncode == 0
    try:
        limit = None if mounted else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, -1))
        full = driver.end(driver.start(disk / "run", *WIDE, preexec_fn=limit))
        kept = sorted(path.name for path in (disk / "run" / "checkpoints").iterdir() if path.name.isdigit())
        print(f"full: status {full.status}; {full.lines}; checkpoints {kept}")
        good = alone.status == 0 and full.status == 2 and len(full.lines) == 1 and bool(kept)
        if mounted:
            subprocess.run(["mount", "-o", "remount,size=256m", disk], check=True)
        again = driver.end(driver.start(disk / "run", *WIDE))
        same = again.status == 0 and driver.bits(disk / "run") == driver.bits(roomy)
        print(f"with room: status {again.status}; {again.lines}; the same bits as a run that had room: {same}")
    finally:
        if mounted:
            subprocess.run(["umount", disk], check=True)
    return int(not (good and same))


if __name__ == "__main__":
    os.nice(5)
    sys.exit(main())
