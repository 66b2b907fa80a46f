"""What a checkpoint says of itself, and how it is read: after a look at its digests, the newest first."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import numpy as np

from rnn_jax.files import fingerprint
from rnn_jax.training import digests
from rnn_jax.training.orbax_calls import as_arrays, reader
from rnn_jax.training.parts import of_member, types_of
from rnn_jax.training.processes import is_of_all

State = TypeVar("State")
"""A pytree of arrays."""

WHOLE, PARTS = "state", "parts"
"""The folder of a state in its checkpoint: written by one process, or in parts."""

OF_OLD = {"digest", "clocks"}
"""What a checkpoint of an older version says of itself: its digest is of the arrays alone."""


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


def first_whole(
    newest: Callable[[], int | None],
    read: Callable[[int], Restored[State]],
    set_aside: Callable[[int, Exception], None],
) -> Restored[State] | None:
    """The newest checkpoint that can be read, None where there is none; what cannot be read is set aside."""
    while (step := newest()) is not None:
        try:
            return read(step)
        except MemoryError:  # says nothing about the file
            raise
        except Exception as error:  # a damaged file may surface as almost any error of Orbax or TensorStore
            if not is_of_all(error):  # nor does a process that has gone
                raise
            set_aside(step, error)
    return None


def check_files(folder: Path, member: int = 0, members: int = 1) -> None:
    """Compares the files of a checkpoint with their digests, before they are read.

    Else damage would come to light in threads of TensorStore, each with a traceback.

    Args:
        folder: of the checkpoint.
        member, members: of so many processes, this one looks at its share of the files.

    Raises: almost any error, where it is damaged.
    """
    of_parts = files_in_parts(_about(folder))
    noted = digests.read(folder)  # None: killed before it was written, or of an older version
    if noted is not None and not of_parts.items() <= noted.items():
        raise ValueError(f"{digests.FILE} is not what was saved")
    there = [] if noted is None else digests.files(folder, (digests.FILE,))
    known = (noted or {}) | of_parts
    for path in of_member([*known, *(set(there) - known.keys())], member, members):
        if known.get(path) != digests.of_file(folder / path):
            raise ValueError(f"{path} is not what was saved")


def read_checkpoint(folder: Path, like: State, shardings: Any = None) -> Restored[State]:
    """A checkpoint whose files are as they were.

    Args:
        folder: of the checkpoint, named after its step.
        like: a pytree of shapes to expect.
        shardings: a pytree like it: arrays that were written in parts are read by each process for its devices alone.
            None: whole, as arrays of NumPy; so are all others.

    Raises: almost any error, where it is damaged.
    """
    about, step = _about(folder), int(folder.name)
    in_parts = bool(files_in_parts(about))
    wanted = as_arrays(like)
    if in_parts and about["arrays"] != types_of(like):  # Orbax would cut or fill up the arrays without a word
        raise ValueError("the arrays there have other shapes")
    if in_parts and shardings is not None:
        wanted = jax.tree.map(_at, like, shardings)
    with reader() as opened:
        state = opened.restore(folder / (PARTS if in_parts else WHOLE), wanted)
    if about["digest"] != digest_of(() if in_parts else state, about) or about.get("step", step) != step:
        raise ValueError("what is there is not what was saved")
    return Restored(step, state, about["clocks"])


def _at(leaf: Any, sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _about(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "about" / "metadata").read_text(encoding="utf-8"))
    return found


def files_in_parts(about: Mapping[str, Any]) -> dict[str, str]:
    """The digests of the files of a state that was written in parts, by their paths in the checkpoint."""
    return {f"{PARTS}/{path}": digest for path, digest in about.get("files", {}).items()}


def digest_of(state: Any, about: Mapping[str, Any]) -> str:
    """Of all that a checkpoint says: its arrays, or the digests of their files; its step, its clocks and its loss."""
    arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
    words = json.dumps({name: about[name] for name in sorted(about) if name != "digest"})
    return fingerprint(*arrays) if set(about) == OF_OLD else fingerprint(*arrays, words)
