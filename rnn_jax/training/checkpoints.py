"""Checkpoints with Orbax: atomic, the last few and the best, damage noticed and stepped over.

Each has two digests: of its files (`digests.txt`), and inside of what it says: arrays, step, clocks and loss.

A state comes back as it was saved, to the bit. What follows from it is the same to the bit only where the computation
is: `rnn_jax.training.loop.train` says what that takes.
"""

import errno
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from rnn_jax.files import fingerprint
from rnn_jax.training import digests
from rnn_jax.training.errors import TrainingError
from rnn_jax.training.plain_path import PlainPath

State = TypeVar("State")
"""A pytree of arrays."""

OF_OLD = {"digest", "clocks"}
"""What a checkpoint of an older version says of itself: its digest is of the arrays alone."""

# Orbax reports every save, and every thread and future that fails in one; what matters we say ourselves.
for name in ("absl", "asyncio"):
    logging.getLogger(name).setLevel(logging.CRITICAL)


class Restored(NamedTuple, Generic[State]):
    """A checkpoint as it was saved.

    Attributes:
        step: after which it was saved.
        state: a pytree of arrays.
        clocks: seconds by name.
    """

    step: int
    state: State
    clocks: dict[str, float]


def save_params(folder: Path, params: Any) -> None:
    """Writes the parameters of a trained model, whole or not at all, in place of those that are there.

    Args:
        folder: of the parameters alone; made if it is missing.
        params: a pytree of arrays.

    Raises: `TrainingError` when the disk does not take them.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        plain = PlainPath(folder.parent)
        with _others_silent(), ocp.StandardCheckpointer(multiprocessing_options=_alone()) as writer:
            writer.save(plain.path / folder.name, jax.tree.map(np.asarray, params), force=True)
    except (OSError, ValueError) as error:  # ValueError: what TensorStore makes of an error of the system
        raise TrainingError(f"cannot save parameters in {folder}: {_of_system(error)}") from error


def load_params(folder: Path, like: State) -> State:
    """What `save_params` wrote; changes nothing in the folder.

    Args:
        folder: that of `save_params`.
        like: a pytree of arrays, or of their shapes (`jax.eval_shape`): the structure and the shapes to expect.

    Returns: the parameters, NumPy arrays in the structure and of the types of `like`.

    Raises: `TrainingError` where they are not there, or damaged, or of another model.
    """
    shapes = _shapes_of(like)
    try:
        plain = PlainPath(folder)
        with ocp.StandardCheckpointer(multiprocessing_options=_alone()) as reader:
            there = dict(reader.metadata(plain.path).item_metadata.tree)
            if _by_name(there) != _by_name(like):  # Orbax would cut or fill up the arrays without a word
                raise ValueError("the arrays there have other names or shapes")
            found = jax.tree.map(np.asarray, reader.restore(plain.path, shapes))
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found)):
            raise ValueError("there are numbers that are not finite")
        return found
    except Exception as error:  # a damaged file may surface as almost any error of Orbax or TensorStore
        raise TrainingError(f"no parameters of this model can be read from {folder}: {_reason(error)}") from error


def _alone() -> ocp.options.MultiprocessingOptions:
    """Of several processes this one reads and writes by itself, and Orbax waits for no other."""
    own = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process{own}"
    )


def _shapes_of(tree: State) -> State:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)


def _by_name(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape for path, leaf in leaves}


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _digest(state: Any, about: Mapping[str, Any]) -> str:
    """Of all that a checkpoint says, the number of its step, its clocks and its loss included."""
    words = json.dumps({name: about[name] for name in sorted(about) if name != "digest"})
    return fingerprint(*(np.asarray(leaf) for leaf in jax.tree.leaves(state)), words)


def _digest_of_old(state: Any) -> str:
    """As it was before: of the arrays alone."""
    return fingerprint(*(np.asarray(leaf) for leaf in jax.tree.leaves(state)))


def _of_system(error: Exception) -> str:
    """What the system said, which TensorStore has somewhere in a long line."""
    known = (os.strerror(number) for number in errno.errorcode)
    return next((words for words in known if words in str(error)), _reason(error))


@contextmanager
def _others_silent() -> Iterator[None]:
    """While this thread saves. A save that fails leaves TensorStore's threads with a closed loop to report to.

    They print that as tracebacks, the last of them after the save has ended, so that after one that failed it stays so.
    """
    before = sys.unraisablehook

    def but_for_those(report: Any) -> None:
        if str(report.exc_value) != "Event loop is closed":
            before(report)

    sys.unraisablehook = but_for_those
    yield
    sys.unraisablehook = before


class Checkpoints:
    """The checkpoints of one run, by step. Orbax writes each beside its place and moves it there when it is whole."""

    def __init__(self, workdir: Path, keep: int = 3):
        """Opens the checkpoints of a run. What a killed save has left goes, and what cannot be opened is set aside.

        Args:
            workdir: the run's folder; they are in `checkpoints/`, damaged ones in `damaged/`.
            keep: how many of the newest to keep, beside the one of the lowest validation loss.
        """
        workdir.mkdir(parents=True, exist_ok=True)
        self._plain = PlainPath(workdir)
        self.folder = self._plain.folder / "checkpoints"
        self.keep = keep
        self.damaged: list[int] = []
        self._set_aside_without_loss()
        self.manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        policy = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(self.keep),
                checkpoint_managers.BestN(get_metric_fn=lambda m: m["loss"], reverse=True, n=1),
            ]
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policy,
            best_fn=lambda m: m["loss"],
            best_mode="min",
            enable_async_checkpointing=False,
            cleanup_tmp_directories=True,
            create=False,
            multiprocessing_options=_alone(),
        )
        self.folder.mkdir(exist_ok=True)
        return ocp.CheckpointManager(self._plain.path / "checkpoints", options=options)

    def save(self, step: int, state: Any, clocks: dict[str, float], loss: float) -> None:
        """Saves a state, on the disk when this returns. Without effect where that step has been saved.

        Args:
            step: how many steps have been made.
            state: a pytree of arrays.
            clocks: seconds by name.
            loss: the lowest decides which checkpoint is the best; inf for a state that was not evaluated.

        Raises: `TrainingError` when the disk does not take it; what was saved before stays, and half a checkpoint may,
            until that step is saved.
        """
        if step in self.manager.all_steps():
            return
        if not self.folder.is_dir():  # Orbax would make it again, and with it a run that lacks all else
            raise TrainingError(f"cannot save step {step} in {self.folder}: it is no longer there")
        state = jax.tree.map(np.asarray, state)
        about = {"step": step, "clocks": clocks, "loss": loss}
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            about=ocp.args.JsonSave({**about, "digest": _digest(state, about)}),
        )
        try:
            with _others_silent():
                self.manager.save(step, args=items, metrics={"loss": loss})
                self.manager.wait_until_finished()
            digests.write(self.folder / str(step), digests.of_folder(self.folder / str(step)))
        except (OSError, ValueError) as error:  # as in `save_params`
            reason = self._plain.named(_of_system(error))
            raise TrainingError(f"cannot save step {step} in {self.folder}: {reason}") from error

    def restore_latest(self, like: State) -> Restored[State] | None:
        """The newest checkpoint that is whole; None where there is none.

        A damaged one is reported on stderr and set aside under `damaged/`, and the one before it is taken.

        Args:
            like: a pytree of arrays, or of their shapes (`jax.eval_shape`): the structure, shapes and types to expect.

        Raises: `TrainingError` when there are checkpoints but all are damaged.
        """
        steps = sorted(self.manager.all_steps(), reverse=True)
        for step in steps:
            try:
                return self._restore(step, like)
            except MemoryError:  # says nothing about the file
                raise
            except Exception as error:  # a damaged file may surface as almost any error of Orbax or TensorStore
                self.manager.close()
                self._set_aside(step, error)
                self.manager = self._open()
        if self.damaged:
            raise TrainingError(
                f"every checkpoint in {self.folder} was damaged and is now in {self._aside}; the same command starts "
                "again from the beginning"
            )
        return None

    def _restore(self, step: int, like: State) -> Restored[State]:
        folder = self.folder / str(step)
        noted = digests.read(folder)  # None: killed before it was written, or of an older version
        if noted is not None:  # else damage would come to light in threads of TensorStore, each with a traceback
            for path in sorted(noted | dict.fromkeys(digests.files(folder, (digests.FILE,)), "")):
                if noted.get(path) != digests.of_file(folder / path):
                    raise ValueError(f"{path} is not what was saved")
        items = ocp.args.Composite(state=ocp.args.StandardRestore(_shapes_of(like)), about=ocp.args.JsonRestore())
        restored = self.manager.restore(step, args=items)
        about = restored.about
        if set(about) == OF_OLD:
            right = about["digest"] == _digest_of_old(restored.state)
        else:
            right = about["digest"] == _digest(restored.state, about) and about["step"] == step
        if not right:
            raise ValueError("what is there is not what was saved")
        return Restored(step, restored.state, about["clocks"])

    def _set_aside_without_loss(self) -> None:
        """Orbax reads the loss of every checkpoint as it opens; one that it cannot read would end the run.

        By the loss it chooses which one is the best and stays, so it has to be that of the digest.
        """
        for file in sorted(self.folder.glob("*/metrics/metrics")):
            step = file.parts[-3]
            if step.isdigit():  # another name: what a killed save has left, which Orbax removes
                try:
                    loss = float(json.loads(file.read_text(encoding="utf-8"))["loss"])
                    about = json.loads((file.parents[1] / "about" / "metadata").read_text(encoding="utf-8"))
                    if set(about) != OF_OLD and about["loss"] != loss:
                        raise ValueError("its loss is not that which was saved")
                except Exception as error:
                    self._set_aside(int(step), error)

    @property
    def _aside(self) -> Path:
        return self.folder.parent / "damaged"

    def _set_aside(self, step: int, error: Exception) -> None:
        reason = self._plain.named(_reason(error))
        print(f"checkpoint {step} is damaged and set aside: {reason}", file=sys.stderr)
        self._aside.mkdir(exist_ok=True)
        shutil.rmtree(self._aside / str(step), ignore_errors=True)
        shutil.move(self.folder / str(step), self._aside / str(step))
        self.damaged.append(step)

    def close(self) -> None:
        """Ends Orbax's threads."""
        self.manager.close()
