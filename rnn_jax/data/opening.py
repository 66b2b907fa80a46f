"""Files of any origin, opened so that none of them takes all memory or all time.

Only regular files are read: a named pipe may give nothing for ever, and a device gives zeros for ever. What is packed
is counted unpacked, as it is read: a gigabyte of zeros packs into a megabyte.
"""

import gzip
import io
import lzma
import os
import stat
import zlib
from os import PathLike
from typing import BinaryIO, cast

from rnn_jax.data.errors import DataError

MAX_BYTES = 2_000_000_000
"""The largest file that is read, unpacked, unless told."""

BUFFER = 1 << 18
"""Bytes that are read from a file at once."""

GZIP, XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"
"""What packed files begin with. No text in UTF-8 and no other file that is read here begins so."""


def check_regular(path: str | PathLike[str]) -> int:
    """The bytes of a file as it lies there.

    Raises:
        DataError: nothing there; a folder, a pipe, a socket or a device; a folder on the way that may not be read.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"no file {path}: check the path") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if stat.S_ISDIR(found.st_mode):
        raise DataError(f"{path} is a folder: name a file")
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"{path} is a pipe, a socket or a device: name a regular file")
    return found.st_size


def opened(
    path: str | PathLike[str], max_bytes: int = MAX_BYTES, advice: str = "this is not the file it should be"
) -> BinaryIO:
    """Opens a regular file, plain, gzipped or of xz, told apart by their first bytes; what is read is unpacked.

    Args:
        path: the file.
        max_bytes: how many are read, unpacked, before it counts as too large.
        advice: what a message then ends in.

    Returns:
        A file to be read from its beginning; it seeks, too.

    Raises:
        DataError: as `check_regular`; a file that may not be read; and in reading one that is too large, damaged or cut
            short.
    """
    file = _Bounded(path, max_bytes, advice)
    return cast(BinaryIO, io.BufferedReader(file, BUFFER))


def is_packed(file: BinaryIO) -> bool:
    """Whether a file of `opened` is unpacked as it is read."""
    return cast(_Bounded, cast(io.BufferedReader, file).raw).packed


class _Bounded(io.RawIOBase):
    """A file whose every error is a `DataError`, one beyond its limit among them."""

    def __init__(self, path: str | PathLike[str], max_bytes: int, advice: str):
        self._path, self._max, self._advice = path, max_bytes, advice
        if check_regular(path) > max_bytes:
            raise self._too_large()
        try:
            with open(path, "rb") as file:
                start = file.read(len(XZ))
            self.packed = start.startswith((GZIP, XZ))
            unpacker = gzip.open if start.startswith(GZIP) else lzma.open if start == XZ else open
            self._file = cast(BinaryIO, unpacker(path, "rb"))
        except OSError as error:
            raise self._damaged(error) from error

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            raise self._damaged(error) from error

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            content = self._file.read(len(buffer))
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            raise self._damaged(error) from error
        if self._file.tell() > self._max:
            raise self._too_large()
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        if not self.closed and hasattr(self, "_file"):
            self._file.close()
        super().close()

    def _too_large(self) -> DataError:
        return DataError(f"{self._path} holds more than {self._max:,} bytes: {self._advice}")

    def _damaged(self, error: Exception) -> DataError:
        if isinstance(error, OSError) and error.strerror:
            return DataError(f"cannot read {self._path}: {error.strerror}")
        reason = " ".join(str(error).split())
        return DataError(f"{self._path} is damaged or cut short ({reason}): fetch it again")
