"""The log of a training run: JSON lines, and the same numbers as TensorBoard events."""

import json
import sys
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
        self.events = None
        if tensorboard:
            self.events = _summary_writer()(str(workdir / "events"), purge_step=first_step + 1)

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
            for name, value in record.items():
                if isinstance(value, int | float) and name != "step":
                    self.events.add_scalar(name, value, record["step"])

    def close(self) -> None:
        """Writes out what is pending."""
        self.file.close()
        if self.events is not None:
            self.events.close()


def _summary_writer() -> Any:
    """That of tensorboardX, which would import PyTorch where it is installed, seconds for the name of a type.

    It does without where that import fails, as it does in Python for a module that stands as None in `sys.modules`.
    """
    need(__name__, "tensorboardX")
    here = "torch" in sys.modules
    if not here:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        from tensorboardX import SummaryWriter  # not everywhere where the library runs
    finally:
        if not here:
            del sys.modules["torch"]
    return SummaryWriter


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
