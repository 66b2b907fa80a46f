"""Many small files from a folder or from an archive, which is read and never unpacked.

Nothing that an archive says can write anywhere: its members are only ever read into memory, and only regular files
whose name matches what the caller asked for.
"""

import os
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path

from rnn_jax.data.errors import DataError, shown
from rnn_jax.data.opening import is_packed, opened
from rnn_jax.data.text import tar

MAX_BYTES = 10_000_000
"""The largest file in a folder or an archive that is read."""

MAX_UNPACKED = 2_000_000_000
"""The largest archive, unpacked, or folder: four times that of IMDB with all its reviews."""


def find(data_dir: str | os.PathLike[str], folder: str, archives: Sequence[str]) -> Path | None:
    """The unpacked folder if there is one, else the first archive that there is, else None.

    Args:
        data_dir: where to look.
        folder: its name.
        archives: their names.
    """
    root = Path(data_dir)
    if (root / folder).is_dir():
        return root / folder
    return next((root / name for name in archives if (root / name).is_file()), None)


def read_members(
    data_dir: str | os.PathLike[str], folder: str, archives: Sequence[str], pattern: re.Pattern[str]
) -> dict[str, bytes] | None:
    """The files that match, from a folder or an archive of `data_dir`.

    Args:
        data_dir: where to look.
        folder: the unpacked folder, taken if present.
        archives: names of archives (.tar.gz or .tar.xz) with that folder inside; the first one present is read.
        pattern: has to match the whole of a name, such as `aclImdb/test/pos/0_10.txt`.

    Returns:
        Content by name, ordered by name; None if there is neither the folder nor an archive.

    Raises:
        DataError: an archive that is damaged, cut short or of another kind; no file that matches; a file above
            `MAX_BYTES`; a file that cannot be read.
    """
    source = find(data_dir, folder, archives)
    if source is None:
        return None
    return read_folder(source, pattern) if source.is_dir() else read_archive(source, pattern)


def read_folder(folder: Path, pattern: re.Pattern[str]) -> dict[str, bytes]:
    """As `read_members`, from a folder; names begin with the name of the folder itself.

    Args:
        folder: the unpacked folder.
        pattern: has to match the whole of a name.

    Raises:
        DataError: no file that matches; a file that is too large or cannot be read.
    """
    found: dict[str, bytes] = {}
    total = 0
    for parent, _, files in os.walk(folder):
        for file in files:
            path = Path(parent, file)
            name = path.relative_to(folder.parent).as_posix()
            if not pattern.fullmatch(name) or not path.is_file():
                continue
            try:
                size = path.stat().st_size
                _check_size(str(folder), name, size)
                total += size
                if total > MAX_UNPACKED:
                    raise DataError(f"{folder} holds more than {MAX_UNPACKED:,} bytes: fetch the data set again")
                found[name] = path.read_bytes()
            except OSError as error:
                raise DataError(f"cannot read {path}: {error.strerror}") from error
    return _in_order(found, folder)


def read_archive(archive: Path, pattern: re.Pattern[str]) -> dict[str, bytes]:
    """As `read_members`, from a .tar.gz or .tar.xz file, told apart by their first bytes.

    Links, devices, absolute names and names that lead out of the archive's own folder are passed over. Of members
    with the same name the last one counts, as in unpacking.

    Args:
        archive: the file.
        pattern: has to match the whole of a name.

    Raises:
        DataError: an archive that is damaged, cut short, of another kind or above `MAX_UNPACKED`; no file that matches;
            a file above `MAX_BYTES`.
    """

    def wanted(name: str, size: int) -> bool:
        plain = posixpath.normpath(name)
        if plain.startswith("/") or ".." in name.split("/") or not pattern.fullmatch(plain):
            return False
        _check_size(archive.name, plain, size)
        return True

    found = {}
    with opened(archive, MAX_UNPACKED) as file:
        if not is_packed(file):
            raise DataError(f"{archive} is neither a .tar.gz nor a .tar.xz file: fetch it again")
        try:
            for name, content in tar.contents(file, wanted):
                found[posixpath.normpath(name)] = content
        except tar.TarError as error:
            raise DataError(f"{archive} is damaged or cut short ({error}): fetch it again") from error
        while file.read(tar.CHUNK):  # the checksum stands at the very end
            pass
    return _in_order(found, archive)


def _check_size(source: str, name: str, size: int) -> None:
    if size > MAX_BYTES:
        raise DataError(
            f"{source}: {shown(name)} has {size:,} bytes, more than the {MAX_BYTES:,} that a text may have: take it out"
        )


def _in_order(found: dict[str, bytes], source: Path) -> dict[str, bytes]:
    if not found:
        raise DataError(f"{source} has none of the files looked for: fetch the data set again")
    return {name: found[name] for name in sorted(found)}
