"""A long training: memory of the host flat, no program compiled after the first epoch, logs in step with the steps.

    python -m drills.soak --minutes=60

Prints memory by the minute, then its slope over the second half by least squares, and what that is per checkpoint: this
run saves once a second. TensorStore 0.1.86 keeps 0.3 KiB for every array that Orbax saves (`KvStore.Spec.to_json`),
about 48 KiB per checkpoint here. Ends with status 1 above that, or where a program was compiled late.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from drills import driver
from rnn_jax.machine import resident_bytes

MIB = 2**20
MOST = 64.0
"""KiB per checkpoint: more is a leak of our own."""
RECORDS = 3
"""Of an epoch, after which it saves."""


def main() -> int:
    """Trains for that long, and says what became of memory, programs and logs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="of training, at least 2")
    minutes = parser.parse_args().minutes
    folder = Path(tempfile.mkdtemp()) / "run"
    compiled = folder.parent / "compiled.txt"
    environment = {**os.environ, "JAX_LOG_COMPILES": "1"}  # a line on stderr for each
    with compiled.open("w") as lines:
        process = driver.start(folder, "--epochs=1000000", env=environment, stderr=lines)
        if not driver.wait(process, lambda: driver.logged(folder) > 10):
            print(f"it ended with {driver.end(process)}")
            return 1
        begun, programs = time.monotonic(), count(compiled)
        seen: list[tuple[float, float]] = []
        while process.poll() is None and time.monotonic() < begun + minutes * 60:
            seen.append(((time.monotonic() - begun) / 60, resident_bytes(process.pid) / MIB))
            if len(seen) % 6 == 1:
                print(f"minute {seen[-1][0]:5.1f}: {seen[-1][1]:,.1f} MiB, {driver.logged(folder)} records", flush=True)
            time.sleep(10)
        process.terminate()
        status = driver.end(process).status
    late, records = count(compiled) - programs, driver.logged(folder)
    at, held = np.array(seen[len(seen) // 2 :]).T
    slope = float(np.polyfit(at, held, 1)[0])
    per_save = slope * seen[-1][0] / (records / RECORDS) * 1024
    per_record = {name: size(folder / name) / records for name in ("metrics.jsonl", "events")}
    print(f"status {status}; {slope:+.3f} MiB a minute in the second half, {per_save:+.0f} KiB a checkpoint")
    print(f"{late} programs compiled on the way")
    print(", ".join(f"{name}: {count:.0f} bytes a record" for name, count in per_record.items()))
    print(
        f"checkpoints: {size(folder / 'checkpoints') / MIB:.2f} MiB in {len(list((folder / 'checkpoints').iterdir()))}"
    )
    return int(status != 143 or per_save > MOST or late > 0)


def count(compiled: Path) -> int:
    """Programs that XLA has compiled."""
    return compiled.read_text(errors="replace").count("Finished XLA compilation")


def size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


if __name__ == "__main__":
    os.nice(5)
    sys.exit(main())
