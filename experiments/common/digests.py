"""`digests.txt`: the SHA-256 of all that a run leaves and reads back, in the form that `sha256sum -c` checks.

A byte that changed on a disk or on the way from another machine would otherwise be another answer, without a word. What
training itself goes on with is not among them: checkpoints have digests inside, the log and the plots are read by
people.
"""

import functools
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from experiments.common.flags import UsageError
from rnn_jax.files import write_whole

FILE = "digests.txt"
LEFT_OUT = frozenset(
    {"checkpoints", "damaged", "events", "plots", "gradients", "tokens.bin", "metrics.jsonl", "lock", FILE}
)
"""Names of files and folders, wherever they are in a run's folder."""
REPAIR = "put it back, or delete results.json there and give the run's command again, which makes its files anew"
LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


def finish(folder: Path, name: str, content: str) -> None:
    """Writes the file that says that a run is finished, and before it the digests of it and of all else that is there.

    Raises: `OSError` where one of them cannot be written: the run is not finished then.
    """
    found = {path: _of(folder / path) for path in _files(folder)}
    found[name] = hashlib.sha256(content.encode()).hexdigest()
    write_whole(folder / FILE, "".join(f"{found[path]}  {path}\n" for path in sorted(found)))
    write_whole(folder / name, content)


def check(folder: Path, *names: str, where: str | None = None) -> None:
    """Compares files, or folders with all that is in them, with what the run left.

    A run of an older version has no digests: it is read all the same, with a remark.

    Args:
        folder: of the run.
        names: what is about to be read.
        where: the flag that names the folder, for messages; without it --workdir.

    Raises: `UsageError` for what is missing, or was added to one of the folders, or has changed.
    """
    where = where or f"--workdir={folder}"
    noted = _read(folder, where)
    if noted is None:
        _remark(f"{where}: no {FILE} there, as of an older version: what is read there is not checked")
        return
    for name in names:
        due = {path for path in noted if path == name or path.startswith(f"{name}/")}
        there = {f"{name}/{path}" for path in _files(folder / name)} if (folder / name).is_dir() else {name}
        for path in sorted(due | there):
            try:
                right = path in noted and _of(folder / path) == noted[path]
            except OSError as error:
                text = f"{path} there cannot be read ({error.strerror or error}); {REPAIR}"
                raise UsageError(f"{where}: {text}") from error
            if not right:
                text = f"{path} there is not what the run left (see {FILE}); {REPAIR}"
                raise UsageError(f"{where}: {text}")


@functools.cache
def _remark(text: str) -> None:
    print(text, file=sys.stderr)


def _read(folder: Path, where: str) -> dict[str, str] | None:
    file = folder / FILE
    try:
        if not os.path.lexists(file):
            return None
        lines = [LINE.fullmatch(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{where}: {FILE} there cannot be read ({error}); {REPAIR}") from error
    whole = [line for line in lines if line is not None]
    if not lines or len(whole) < len(lines):
        raise UsageError(f"{where}: {FILE} there is damaged; {REPAIR}")
    return {line[2]: line[1] for line in whole}


def _of(file: Path) -> str:
    if not file.is_file():  # a pipe would have one wait for ever
        raise FileNotFoundError(2, "no such file", str(file))
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[str]:
    """What counts, as paths in the folder. Names that would need an escape in `digests.txt` are none of ours."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - LEFT_OUT)
        for name in sorted(set(files) - LEFT_OUT):
            path = Path(parent, name).relative_to(folder).as_posix()
            if not path.endswith(".partial") and path.isprintable() and "\\" not in path:
                yield path
