"""The checkpoints of a run in one process or several: the first keeps them, and hands on what it reads.

So there is one file of each array, wherever it lay, and a run goes on with any number of processes and devices.
"""

from pathlib import Path
from typing import Any

from rnn_jax.training.checkpoints import Checkpoints, Restored, State
from rnn_jax.training.devices import fetch
from rnn_jax.training.processes import by_first


class SharedCheckpoints:
    """`Checkpoints` of which all processes call each method at the same time; an error of the first is one of all."""

    def __init__(self, workdir: Path, keep: int = 3):
        """Opens the checkpoints of the first process; `workdir` and `keep` as for `Checkpoints`."""
        self._opened: list[Checkpoints] = []
        by_first(lambda: self._opened.append(Checkpoints(workdir, keep)))

    def save(self, step: int, states: Any, clocks: dict[str, float], loss: float) -> None:
        """`Checkpoints.save` of states wherever they are; on the disk when this returns in any process."""
        whole = fetch(states)
        by_first(lambda: self._opened[0].save(step, whole, clocks, loss))

    def restore_latest(self, like: State) -> Restored[State] | None:
        """`Checkpoints.restore_latest` of the first process, in all."""
        return by_first(lambda: self._opened[0].restore_latest(like))

    def last_step(self) -> int | None:
        """The step of the newest one."""
        return by_first(lambda: max(self._opened[0].manager.all_steps(), default=None))

    def close(self) -> None:
        """Ends Orbax's threads, where there are any."""
        for checkpoints in self._opened:
            checkpoints.close()
