"""The log of a training run: JSON lines, and the same numbers as TensorBoard events."""

import json
import os
import socket
import struct
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnn_jax.extras import need
from rnn_jax.files import write_whole


class TrainingLog:
    """Appends one JSON object per logged step to `metrics.jsonl`, and the same scalars to TensorBoard.

    A run that continues from a checkpoint takes up the log at that step: what was logged after it is dropped, and the
    steps are logged again when they are run again.
    """

    def __init__(self, workdir: Path, first_step: int, tensorboard: bool = True):
        """Opens the log.

        Args:
            workdir: the run's folder; receives `metrics.jsonl`, and `events/` for TensorBoard.
            first_step: where the run stands; with 0 the log begins anew.
            tensorboard: whether to write events too.
        """
        self.path = workdir / "metrics.jsonl"
        self._keep_until(first_step)
        self.file = self.path.open("a", encoding="utf-8")
        self.events = Events(workdir / "events", first_step + 1) if tensorboard else None

    def _keep_until(self, step: int) -> None:
        kept = [record for record in read_log(self.path) if record["step"] <= step]
        write_whole(self.path, "".join(json.dumps(record) + "\n" for record in kept))

    def write(self, record: Mapping[str, Any]) -> None:
        """Logs a record, which has at least `step`: a line, which a reader finds when this returns.

        Numbers go to TensorBoard too; lists and the entries of a probe do not.
        """
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()
        if self.events is not None:
            self.events.write({name: value for name, value in record.items() if isinstance(value, int | float)})

    def close(self) -> None:
        """Closes the files."""
        self.file.close()
        if self.events is not None:
            self.events.close()


class Events:
    """TensorBoard events of numbers, written by the thread that logs them.

    tensorboardX would write them in a thread of its own: a full disk ends that one, with a traceback, and whoever logs
    waits for it for ever.
    """

    def __init__(self, folder: Path, first_step: int):
        """Begins a file.

        Args:
            folder: of the files, made if it is missing.
            first_step: the first one here; what other files have from it on is not shown.
        """
        tensorboard = _tensorboard()
        self.scalar, self.Event = tensorboard.summary.scalar, tensorboard.proto.event_pb2.Event
        self.checksum = tensorboard.record_writer.masked_crc32c
        folder.mkdir(parents=True, exist_ok=True)
        # By the names TensorBoard puts files in order.
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        self.file = (folder / name).open("wb")
        start = tensorboard.proto.event_pb2.SessionLog(status=1)  # START
        self._add(first_step, file_version="brain.Event:2")
        self._add(first_step, session_log=start)
        self.file.flush()

    def write(self, numbers: Mapping[str, float]) -> None:
        """Adds one event for each number but `step`, which says where they belong. Raises `OSError`."""
        for name, value in numbers.items():
            if name != "step":
                self._add(int(numbers["step"]), summary=self.scalar(name, value))
        self.file.flush()

    def _add(self, step: int, **content: Any) -> None:
        data = self.Event(wall_time=time.time(), step=step, **content).SerializeToString()
        for part in (struct.pack("<Q", len(data)), data):
            self.file.write(part + struct.pack("<I", self.checksum(part)))

    def close(self) -> None:
        """Closes the file."""
        self.file.close()


def _tensorboard() -> Any:
    """tensorboardX, which would import PyTorch where it is installed, seconds for the name of a type.

    It does without where that import fails, as it does in Python for a module that stands as None in `sys.modules`.
    """
    need(__name__, "tensorboardX")
    here = "torch" in sys.modules
    if not here:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        import tensorboardX.proto.event_pb2  # not everywhere where the library runs
        import tensorboardX.record_writer
        import tensorboardX.summary
    finally:
        if not here:
            del sys.modules["torch"]
    return tensorboardX


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a `metrics.jsonl`, in order; none where there is no file.

    The log is for people and plots, and nothing is computed from it. So what is damaged is left out: a line that was
    torn when the process was killed, or is no object with a `step`, or a number that is none.
    """
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [record for record in map(_record, lines) if record is not None]


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or type(record.get("step")) is not int:
        return None
    return {name: value for name, value in record.items() if isinstance(value, int | float | list | dict)}
