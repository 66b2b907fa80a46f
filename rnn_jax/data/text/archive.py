"""Many small files from a folder or from an archive, which is read and never unpacked.

Nothing that an archive says can write anywhere: its members are only ever read into memory, and only regular files
whose name matches what the caller asked for.
"""

import gzip
import lzma
import os
import posixpath
import re
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

from rnn_jax.data.errors import DataError

MAX_BYTES = 10_000_000
"""The largest file that is read."""

CHUNK = 1 << 20


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
    found = {}
    for parent, _, files in os.walk(folder):
        for file in files:
            path = Path(parent, file)
            name = path.relative_to(folder.parent).as_posix()
            if not pattern.fullmatch(name) or not path.is_file():
                continue
            try:
                _check_size(str(folder), name, path.stat().st_size)
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
        DataError: an archive that is damaged, cut short or of another kind; no file that matches; one too large.
    """
    found = {}
    try:
        with _decompressed(archive) as stream:
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                for member in tar:
                    name = posixpath.normpath(member.name)
                    outside = name.startswith("/") or ".." in member.name.split("/")
                    if not member.isreg() or outside or not pattern.fullmatch(name):
                        continue
                    _check_size(archive.name, name, member.size)
                    content = tar.extractfile(member)
                    assert content is not None  # a regular file has content
                    found[name] = content.read()
                    if len(found[name]) != member.size:
                        raise EOFError(f"{name} ends early")
            # The checksum stands at the very end, which nothing has read so far.
            while stream.read(CHUNK):
                pass
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{archive} is damaged or cut short ({reason}): fetch it again") from error
    return _in_order(found, archive)


def _decompressed(archive: Path) -> BinaryIO:
    with archive.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"\x1f\x8b"):
        return cast(BinaryIO, gzip.open(archive))
    if start == b"\xfd7zXZ\x00":
        return cast(BinaryIO, lzma.open(archive))
    raise DataError(f"{archive} is neither a .tar.gz nor a .tar.xz file: fetch it again")


def _check_size(source: str, name: str, size: int) -> None:
    if size > MAX_BYTES:
        raise DataError(
            f"{source}: {name} has {size:,} bytes, more than the {MAX_BYTES:,} that a text may have: take it out"
        )


def _in_order(found: dict[str, bytes], source: Path) -> dict[str, bytes]:
    if not found:
        raise DataError(f"{source} has none of the files looked for: fetch the data set again")
    return {name: found[name] for name in sorted(found)}
