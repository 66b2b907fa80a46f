"""Checkpoints with Orbax: atomic, the last few and the best, damage noticed and stepped over.

Each has two digests: of its files (`digests.txt`), and inside of what it says: arrays, step, clocks and loss.

A state comes back as it was saved, to the bit. What follows from it is the same to the bit only where the computation
is: `rnn_jax.training.loop.train` says what that takes.
"""

import json
import shutil
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from rnn_jax.training import digests
from rnn_jax.training.errors import TrainingError
from rnn_jax.training.orbax_calls import alone, as_arrays, reader, reason, saving
from rnn_jax.training.parts import BESIDE, Move, Written
from rnn_jax.training.plain_path import PlainPath
from rnn_jax.training.restoring import (
    OF_OLD,
    PARTS,
    WHOLE,
    Restored,
    State,
    check_files,
    digest_of,
    files_in_parts,
    first_whole,
    read_checkpoint,
)


def save_params(folder: Path, params: Any) -> None:
    """Writes the parameters of a trained model, whole or not at all, in place of those that are there.

    Args:
        folder: of the parameters alone; made if it is missing.
        params: a pytree of arrays.

    Raises: `TrainingError` when the disk does not take them.
    """
    with saving(f"parameters in {folder}"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        plain = PlainPath(folder.parent)
        with ocp.StandardCheckpointer(multiprocessing_options=alone()) as writer:
            writer.save(plain.path / folder.name, jax.tree.map(np.asarray, params), force=True)


def load_params(folder: Path, like: State) -> State:
    """What `save_params` wrote; changes nothing in the folder.

    Args:
        folder: that of `save_params`.
        like: a pytree of arrays, or of their shapes (`jax.eval_shape`): the structure and the shapes to expect.

    Returns: the parameters, NumPy arrays in the structure and of the types of `like`.

    Raises: `TrainingError` where they are not there, or damaged, or of another model.
    """
    try:
        plain = PlainPath(folder)
        with reader() as opened:
            there = dict(opened.metadata(plain.path).item_metadata.tree)
            if _by_name(there) != _by_name(like):  # Orbax would cut or fill up the arrays without a word
                raise ValueError("the arrays there have other names or shapes")
            found = jax.tree.map(np.asarray, opened.restore(plain.path, as_arrays(like)))
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found)):
            raise ValueError("there are numbers that are not finite")
        return found
    except Exception as error:  # a damaged file may surface as almost any error of Orbax or TensorStore
        raise TrainingError(f"no parameters of this model can be read from {folder}: {reason(error)}") from error


def _by_name(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape for path, leaf in leaves}


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
        shutil.rmtree(self._plain.path / BESIDE, ignore_errors=True)
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
            multiprocessing_options=alone(),
        )
        self.folder.mkdir(exist_ok=True)
        return ocp.CheckpointManager(self._plain.path / "checkpoints", options=options)

    def save(self, step: int, state: Any, clocks: dict[str, float], loss: float) -> None:
        """Saves a state, on the disk when this returns. Without effect where that step has been saved.

        Args:
            step: how many steps have been made.
            state: a pytree of arrays; or `Written`, which is moved.
            clocks: seconds by name.
            loss: the lowest decides which checkpoint is the best; inf for a state that was not evaluated.

        Raises: `TrainingError` when the disk does not take it; what was saved before stays, and half a checkpoint may,
            until that step is saved.
        """
        if not self.lacks(step):
            return
        about: dict[str, Any] = {"step": step, "clocks": clocks, "loss": loss}
        if isinstance(state, Written):
            about |= {"files": state.files, "arrays": state.arrays}
            items, digest = {PARTS: Move(state.folder)}, digest_of((), about)
        else:
            state = jax.tree.map(np.asarray, state)
            items, digest = {WHOLE: ocp.args.StandardSave(state)}, digest_of(state, about)
        folder = self.folder / str(step)
        with self.saving(step):
            all_items = ocp.args.Composite(**items, about=ocp.args.JsonSave({**about, "digest": digest}))
            self.manager.save(step, args=all_items, metrics={"loss": loss})
            self.manager.wait_until_finished()
            known = files_in_parts(about)
            digests.write(folder, {f: known.get(f) or digests.of_file(folder / f) for f in digests.files(folder)})

    def lacks(self, step: int) -> bool:
        """Whether a step is still to be saved. Raises `TrainingError` where the folder has gone."""
        if step in self.manager.all_steps():
            return False
        if not self.folder.is_dir():  # Orbax would make it again, and with it a run that lacks all else
            raise TrainingError(f"cannot save step {step} in {self.folder}: it is no longer there")
        return True

    def saving(self, step: int) -> AbstractContextManager[None]:
        """Around what saves a step, see `rnn_jax.training.orbax_calls.saving`."""
        return saving(f"step {step} in {self.folder}", self._plain.named)

    def restore_latest(self, like: State) -> Restored[State] | None:
        """The newest checkpoint that is whole, as arrays of NumPy; None where there is none.

        A damaged one is reported on stderr and set aside under `damaged/`, and the one before it is taken.

        Args:
            like: a pytree of arrays, or of their shapes (`jax.eval_shape`): the structure, shapes and types to expect.

        Raises: `TrainingError` when there are checkpoints but all are damaged.
        """
        return first_whole(self.newest, lambda step: self.read(step, like), self.set_aside)

    def newest(self) -> int | None:
        """The step of the newest that is not set aside, None where there never was one.

        Raises: `TrainingError` where all were damaged.
        """
        steps = self.manager.all_steps()
        if self.damaged and not steps:
            raise TrainingError(
                f"every checkpoint in {self.folder} was damaged and is now in {self._aside}; the same command starts "
                "again from the beginning"
            )
        return max(steps, default=None)

    def read(self, step: int, like: State) -> Restored[State]:
        """That of a step, whole. Raises almost any error where it is damaged."""
        folder = self._plain.path / "checkpoints" / str(step)
        check_files(folder)
        return read_checkpoint(folder, like)

    def set_aside(self, step: int, error: Exception) -> None:
        """Says that one is damaged, and moves it to `damaged/`."""
        self.manager.close()
        self._set_aside(step, error)
        self.manager = self._open()

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
        print(f"checkpoint {step} is damaged and set aside: {self._plain.named(reason(error))}", file=sys.stderr)
        self._aside.mkdir(exist_ok=True)
        shutil.rmtree(self._aside / str(step), ignore_errors=True)
        shutil.move(self.folder / str(step), self._aside / str(step))
        self.damaged.append(step)

    def close(self) -> None:
        """Ends Orbax's threads."""
        self.manager.close()
