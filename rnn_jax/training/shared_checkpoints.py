"""The checkpoints of a run in one process or several: the first keeps them.

A state that lies in parts is written by all processes, each its own, and read by all, each what its devices keep: where
they all see the run's folder. Where they do not, or each has all of it, the first writes, and hands on what it reads.
Either way a run goes on with any number of processes and devices.
"""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from rnn_jax.training import parts
from rnn_jax.training.checkpoints import Checkpoints
from rnn_jax.training.devices import fetch, put
from rnn_jax.training.orbax_calls import saving
from rnn_jax.training.plain_path import PlainPath
from rnn_jax.training.processes import Value, by_all, by_first, several
from rnn_jax.training.restoring import Restored, State, check_files, first_whole, read_checkpoint


class SharedCheckpoints:
    """`Checkpoints` of which all processes call each method at the same time; an error of one is one of all."""

    def __init__(self, workdir: Path, keep: int = 3):
        """Opens the checkpoints of the first process; `workdir` and `keep` as for `Checkpoints`."""
        self._opened: list[Checkpoints] = []
        by_first(lambda: self._opened.append(Checkpoints(workdir, keep)))
        folder = by_first(lambda: self._opened[0].folder)
        self._plain = PlainPath(folder.parent) if several() and _in_sight(folder.parent) else None

    def save(self, step: int, states: Any, clocks: dict[str, float], loss: float) -> None:
        """`Checkpoints.save` of states wherever they are; on the disk when this returns in any process."""
        if self._plain is None or not parts.lies_in_parts(states):
            whole = fetch(states)
            by_first(lambda: self._opened[0].save(step, whole, clocks, loss))
        elif by_first(lambda: self._opened[0].lacks(step)):
            written = self._write(self._plain, step, states)
            by_first(lambda: self._opened[0].save(step, written, clocks, loss))

    def _write(self, plain: PlainPath, step: int, states: Any) -> parts.Written:
        folder = parts.beside(plain.path, step)

        def of_save(function: Callable[[], Value]) -> Value:
            with saving(f"step {step} in {plain.folder / 'checkpoints'}", plain.named):
                return function()

        by_first(lambda: of_save(lambda: parts.begin(folder)))
        by_all(lambda: of_save(lambda: parts.write(folder, states)))
        # One list for all: on a network file system that of another may be old.
        paths = by_first(lambda: of_save(lambda: parts.finish(folder)))
        own, count = jax.process_index(), jax.process_count()
        found = by_all(lambda: of_save(lambda: parts.digests_of(folder, paths, own, count)))
        files = {path: digest for each in found for path, digest in each.items()}
        return parts.Written(folder, files, parts.types_of(states))

    def restore_latest(self, like: State, shardings: State) -> Restored[State] | None:
        """`Checkpoints.restore_latest`, in all processes, the arrays where they shall lie."""
        plain = self._plain

        def read(step: int) -> Restored[State]:
            if plain is None:
                return by_first(lambda: self._opened[0].read(step, like))
            folder, found = plain.path / "checkpoints" / str(step), []
            by_all(lambda: check_files(folder, jax.process_index(), jax.process_count()))
            by_all(lambda: found.append(read_checkpoint(folder, like, shardings)))
            return found[0]

        def set_aside(step: int, error: Exception) -> None:
            by_first(lambda: self._opened[0].set_aside(step, error))

        restored = first_whole(lambda: by_first(lambda: self._opened[0].newest()), read, set_aside)
        return None if restored is None else restored._replace(state=put(restored.state, shardings))

    def last_step(self) -> int | None:
        """The step of the newest one."""
        return by_first(lambda: max(self._opened[0].manager.all_steps(), default=None))

    def close(self) -> None:
        """Ends Orbax's threads, where there are any."""
        for checkpoints in self._opened:
            checkpoints.close()


def _in_sight(folder: Path) -> bool:
    """Whether all processes see this folder of the first: they are on one machine, or have a common file system."""
    mark = folder / "in_sight.partial"
    word = by_first(lambda: _note(mark, secrets.token_hex()))
    seen = by_all(lambda: _holds(mark, word))
    by_first(lambda: mark.unlink(missing_ok=True))
    return all(seen)


def _note(file: Path, word: str) -> str:
    file.write_text(word)
    return word


def _holds(file: Path, word: str) -> bool:
    try:
        return file.read_text() == word
    except (OSError, ValueError):  # not there, or other than text
        return False
