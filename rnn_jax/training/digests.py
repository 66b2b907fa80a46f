"""`digests.txt`: the SHA-256 of the files of a folder, in the form that `sha256sum -c` checks."""

import hashlib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from rnn_jax.files import write_whole

FILE = "digests.txt"
LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


def of_file(file: Path) -> str:
    """Of what a file holds. Raises `OSError` where it cannot be read, or is no file: a pipe would never end."""
    if not file.is_file():
        raise FileNotFoundError(2, "no such file", str(file))
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def of_folder(folder: Path, left_out: Collection[str] = ()) -> dict[str, str]:
    """Of every file below a folder, by its path there.

    Args:
        folder: to look through.
        left_out: names of files and folders, at any depth.

    Raises: `OSError` where one cannot be read.
    """
    return {path: of_file(folder / path) for path in files(folder, left_out)}


def files(folder: Path, left_out: Collection[str] = ()) -> Iterator[str]:
    """The paths of the files below a folder, but for what is half written, and names that would need an escape."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - set(left_out))
        for name in sorted(set(names) - set(left_out)):
            path = Path(parent, name).relative_to(folder).as_posix()
            if not path.endswith(".partial") and path.isprintable() and "\\" not in path:
                yield path


def write(folder: Path, found: Mapping[str, str]) -> None:
    """Writes the file, whole or not at all. Raises `OSError` where it cannot be written."""
    write_whole(folder / FILE, "".join(f"{found[path]}  {path}\n" for path in sorted(found)))


def read(folder: Path) -> dict[str, str] | None:
    """Digests by path; None where there are none. Raises `ValueError` where they are damaged, or `OSError`."""
    if not os.path.lexists(folder / FILE):
        return None
    return parse((folder / FILE).read_bytes())


def parse(content: bytes) -> dict[str, str]:
    """Digests by path, of the content of the file. Raises `ValueError` where it is damaged."""
    lines = [LINE.fullmatch(line) for line in content.decode("utf-8").split("\n")[:-1]]
    whole = [line for line in lines if line is not None]
    if not lines or len(whole) < len(lines):
        raise ValueError(f"{FILE} is damaged")
    return {line[2]: line[1] for line in whole}
