"""Run folders as an experiment leaves them, without running one."""

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.common.results import KEYS, spread

FLAGS = {"cell": "lstm", "hidden_size": "8", "learning_rate": "0.01", "seed": "0", "num_seeds": "1", "csv": ""}


def png(width: int = 4, height: int = 3) -> bytes:
    """A small grey picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def leave(
    folder: Path,
    mse: Sequence[float | None] | None = None,
    *,
    seeds: Sequence[int] | None = None,
    baselines: Mapping[str, Sequence[float]] | None = None,
    steps: int = 5,
    pictures: bool = False,
    results: Mapping[str, Any] | None = None,
    **flags: Any,
) -> Path:
    """Makes the folder of a run, and returns it.

    Args:
        folder: where.
        mse: one for each seed; None: the run is not finished.
        seeds: from 0 on where they are not given.
        baselines: name to mean squared errors.
        steps: of its log.
        pictures: whether it has one.
        results: what else is in its results, or instead.
        flags: other than `FLAGS`.
    """
    folder.mkdir(parents=True)
    lines = [f"--{name}={value}\n" for name, value in {**FLAGS, **flags}.items()]
    (folder / "flags.txt").write_text("".join(lines), encoding="utf-8")
    records = [{"step": 10 * at, "loss": 1 / (at + 1), "validation_loss": 2 / (at + 1)} for at in range(1, steps + 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    if pictures:
        (folder / "plots").mkdir()
        (folder / "plots" / "loss.png").write_bytes(png())
    if mse is not None:
        known = [value for value in mse if value is not None]
        entry = {"mse": {**spread(known), "values": list(mse)}, "r2": spread([1 - value for value in known])}
        found = {
            **dict.fromkeys(KEYS, 1),
            "experiment": "forecast",
            "dataset": "synthetic",
            "protocol": "clean",
            "cell": {**FLAGS, **flags}["cell"],
            "seeds": list(range(len(mse)) if seeds is None else seeds),
            "metrics": entry,
            "baselines": {name: {"mse": spread(values)} for name, values in (baselines or {}).items()},
            **(results or {}),
        }
        (folder / "results.json").write_text(json.dumps(found), encoding="utf-8")
    return folder
