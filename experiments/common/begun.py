"""What a run began with and has to find again when it goes on: its data (`data.txt`), its back end (`backend.txt`)."""

import os
import sys
from pathlib import Path

import jax

from experiments.common.flags import UsageError
from rnn_jax.files import write_whole
from rnn_jax.training.processes import by_first

DATA, BACKEND = "data.txt", "backend.txt"


def check_data(folder: Path, fingerprint: str) -> None:
    """`check_data_alone` by the first of all processes.

    Raises: `UsageError` in all of them; and in one that has other data than the first.
    """
    if by_first(lambda: check_data_alone(folder, fingerprint)) != fingerprint:
        raise UsageError(f"--data_dir: process {jax.process_index()} has other data than the first; give all the same")


def check_data_alone(folder: Path, fingerprint: str) -> str:
    """The fingerprint. Raises `UsageError` if the run began with data of another, or does not say with which."""
    found = _noted(folder, DATA)
    if found is None and has_checkpoints(folder):
        text = f"{DATA} is missing there, though checkpoints are not; put it back or name another folder"
        raise UsageError(f"--workdir={folder}: {text}")
    if found not in (None, fingerprint):
        raise UsageError(f"--workdir={folder} was made with other data ({DATA}); put it back or name another folder")
    return fingerprint


def check_backend(folder: Path, backend: str) -> None:
    """Raises `UsageError` if the run began on another back end: it would end with other roundings, without a word.

    Which one `auto` stands for depends on the machine: on whether there is a GPU, or a compiler for `native`. Of
    several processes the first looks, and all raise what it raises; so does one on another back end than the first.
    """
    of_first = by_first(lambda: _check_backend(folder, backend))
    if of_first != backend:
        text = f"process {jax.process_index()} would compute on {backend}, the first on {of_first}"
        raise UsageError(f"--backend: {text}; name one that all have")


def _check_backend(folder: Path, backend: str) -> str:
    found = _noted(folder, BACKEND)
    if found is None and has_checkpoints(folder):
        print(
            f"--workdir={folder}: no {BACKEND} there, as of an older version: it goes on on {backend}", file=sys.stderr
        )
    if found not in (None, backend):
        wanted = (
            "put its C++ compiler back, take RNN_JAX_NATIVE=0 away"
            if found == "native"
            else f"go on on a machine with {found}"
        )
        raise UsageError(
            f"--workdir={folder} was begun on the back end {found} ({BACKEND}), here it would go on on {backend}; "
            f"{wanted}, or begin anew in another folder with --backend={backend}"
        )
    return backend


def note(folder: Path, fingerprint: str, backend: str | None = None) -> None:
    """Writes down what the run begins with; no effect when it goes on.

    Args:
        folder: of the run, made if need be.
        fingerprint: of its data.
        backend: that computes its layers; None where none trains in this folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in ((DATA, fingerprint), (BACKEND, backend)):
        if value is not None and not os.path.lexists(folder / name):
            write_whole(folder / name, f"{value}\n")


def has_checkpoints(folder: Path) -> bool:
    """Whether a training has saved something there."""
    return (folder / "checkpoints").is_dir() and any((folder / "checkpoints").iterdir())


def _noted(folder: Path, name: str) -> str | None:
    """What a file of one line says; None where there is no such file. Raises `UsageError` for one that says nothing."""
    file = folder / name
    if not os.path.lexists(file):
        return None
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    except (OSError, UnicodeDecodeError):
        lines = []
    if len(lines) != 1 or not lines[0].strip():
        raise UsageError(f"--workdir={folder}: {name} there is damaged; put it back or name another folder")
    return lines[0].strip()
