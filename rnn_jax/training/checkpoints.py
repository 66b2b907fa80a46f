"""Checkpoints with Orbax: atomic, the last few and the best, damage noticed and stepped over."""

import hashlib
import json
import logging
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from rnn_jax.training.errors import TrainingError

logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax reports every save; what matters we say ourselves


class Restored(NamedTuple):
    """A checkpoint as it was saved: the step, the state and the clocks (seconds by name)."""

    step: int
    state: Any
    clocks: dict[str, float]


def digest(state: Any) -> str:
    """SHA-256 over the bytes of every array: what was saved is what is restored, or the checkpoint is damaged."""
    sha = hashlib.sha256()
    for leaf in jax.tree.leaves(state):
        array = np.asarray(leaf)
        sha.update(f"{array.dtype}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def save_params(folder: Path, params: Any) -> None:
    """Writes the parameters of a trained model, whole or not at all, in place of those that are there."""
    with ocp.StandardCheckpointer() as writer:
        writer.save(folder.resolve(), jax.tree.map(np.asarray, params), force=True)


def load_params(folder: Path, like: Any) -> Any:
    """What `save_params` wrote, in the structure of `like`; changes nothing in the folder.

    Raises: `TrainingError` where it is not there, or damaged, or of another model.
    """
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), like)
    try:
        with ocp.StandardCheckpointer() as reader:
            there = dict(reader.metadata(folder.resolve()).item_metadata.tree)
            if _shapes(there) != _shapes(like):  # Orbax would cut or fill up the arrays without a word
                raise ValueError("the arrays there have other names or shapes")
            return jax.tree.map(np.asarray, reader.restore(folder.resolve(), shapes))
    except Exception as error:  # a damaged file may surface as almost any error of Orbax or TensorStore
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise TrainingError(f"no parameters of this model can be read from {folder}: {reason}") from error


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape for path, leaf in leaves}


class Checkpoints:
    """The checkpoints of one run, by step. Orbax writes each beside its place and moves it there when it is whole."""

    def __init__(self, workdir: Path, keep: int = 3):
        """Opens `workdir/checkpoints`; keeps the last `keep` and the one of the lowest validation loss."""
        self.folder = workdir.resolve() / "checkpoints"
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
        )
        return ocp.CheckpointManager(self.folder, options=options)

    def save(self, step: int, state: Any, clocks: dict[str, float], loss: float) -> None:
        """Saves the state after `step` steps; `loss` decides which checkpoint is the best. No effect if it is there.

        Raises: `TrainingError` when the disk does not take it; what was saved before stays.
        """
        if step in self.manager.all_steps():
            return
        state = jax.tree.map(np.asarray, state)
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            about=ocp.args.JsonSave({"digest": digest(state), "clocks": clocks}),
        )
        try:
            self.manager.save(step, args=items, metrics={"loss": loss})
            self.manager.wait_until_finished()
        except OSError as error:
            raise TrainingError(f"cannot save step {step} in {self.folder}: {error}") from error

    def restore_latest(self, like: Any) -> Restored | None:
        """The newest checkpoint that is whole, in the structure of `like`; None where there is none.

        A damaged one is reported on stderr and set aside under `damaged/`, and the one before it is taken.

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

    def _restore(self, step: int, like: Any) -> Restored:
        shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), like)
        items = ocp.args.Composite(state=ocp.args.StandardRestore(shapes), about=ocp.args.JsonRestore())
        restored = self.manager.restore(step, args=items)
        if digest(restored.state) != restored.about["digest"]:
            raise ValueError("the arrays are not those that were saved")
        return Restored(step, restored.state, restored.about["clocks"])

    def _set_aside_without_loss(self) -> None:
        """Orbax reads the loss of every checkpoint as it opens; one that it cannot read would end the run."""
        for file in sorted(self.folder.glob("*/metrics/metrics")):
            step = file.parts[-3]
            if step.isdigit():  # another name: what a killed save has left, which Orbax removes
                try:
                    float(json.loads(file.read_text(encoding="utf-8"))["loss"])
                except Exception as error:
                    self._set_aside(int(step), error)

    @property
    def _aside(self) -> Path:
        return self.folder.parent / "damaged"

    def _set_aside(self, step: int, error: Exception) -> None:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        print(f"checkpoint {step} is damaged and set aside: {reason}", file=sys.stderr)
        self._aside.mkdir(exist_ok=True)
        shutil.rmtree(self._aside / str(step), ignore_errors=True)
        shutil.move(self.folder / str(step), self._aside / str(step))
        self.damaged.append(step)

    def close(self) -> None:
        """Ends Orbax's threads."""
        self.manager.close()
