"""A state of which each process has a part: all of them write it, into one folder that all see.

What they leave is what Orbax leaves of any state, so that a single process, or any number of them, reads it. For its
digest nobody needs all of it: each process computes those of some of the files.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from etils import epath  # type: ignore[import-untyped]

from rnn_jax.training import digests

BESIDE = "checkpoints.partial"
"""The folder of what is being written, in that of the run."""


class Written(NamedTuple):
    """A state on its way to a checkpoint.

    Attributes:
        folder: where it lies, to be moved from there.
        files: the SHA-256 of each file, by its path in the folder.
        arrays: type and shape of each of its arrays.
    """

    folder: Path
    files: dict[str, str]
    arrays: list[str]


def lies_in_parts(tree: Any) -> bool:
    """Whether no process has all of a pytree of arrays on its devices."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]
    return not all(leaf.is_fully_addressable or leaf.is_fully_replicated for leaf in leaves)


def types_of(tree: Any) -> list[str]:
    """Type and shape of each of a pytree's arrays.

    >>> types_of({"w": jax.ShapeDtypeStruct((2, 3), "float32")})
    ['float32(2, 3)']
    """
    return [f"{leaf.dtype}{tuple(leaf.shape)}" for leaf in jax.tree.leaves(tree)]


def beside(workdir: Path, step: int) -> Path:
    """Where the state of a step is written before it is moved into its checkpoint.

    No two have the same name: to other machines of a network file system a name may for a while stand for the folder
    that has been moved, and they would write into a checkpoint.
    """
    return workdir / BESIDE / str(step)


def begin(folder: Path) -> None:
    """An empty folder, by one process, before all write. Raises `OSError`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def write(folder: Path, states: Any) -> None:
    """What this process has of a pytree of arrays of JAX; it waits for no other. Raises `OSError` or `ValueError`."""
    ocp.StandardCheckpointHandler().save(epath.Path(folder), args=ocp.args.StandardSave(states))


def finish(folder: Path) -> list[str]:
    """Puts together what all have written, by the first process; the files that are there then, by their paths.

    Raises: `OSError` or `ValueError`.
    """
    ocp.StandardCheckpointHandler().finalize(epath.Path(folder))
    return list(digests.files(folder))


def of_member(paths: list[str], member: int, members: int) -> list[str]:
    """The files, out of all, that one of several processes looks after."""
    return sorted(paths)[member::members]


def digests_of(folder: Path, paths: list[str], member: int, members: int) -> dict[str, str]:
    """The SHA-256 of the files that, out of all, one of several processes looks after. Raises `OSError`."""
    return {path: digests.of_file(folder / path) for path in of_member(paths, member, members)}


class _Mover(ocp.CheckpointHandler):
    """Moves what is written already to the place that Orbax has for it."""

    def save(self, directory: Any, args: "Move") -> None:
        os.replace(args.folder, directory)

    def restore(self, directory: Any, args: Any = None) -> Any:
        raise NotImplementedError("it is read as any state")


@ocp.args.register_with_handler(_Mover, for_save=True, for_restore=True)
@dataclass
class Move(ocp.args.CheckpointArgs):
    """Part of a checkpoint that is written already.

    Attributes:
        folder: where it lies.
    """

    folder: Path
