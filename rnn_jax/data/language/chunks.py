"""Text files of any size, read as a stream of chunks: plain UTF-8 or gzipped.

A text is cut where cutting changes neither its words nor its subwords: before a blank or a line end that follows
something else.
"""

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import BinaryIO, cast

from rnn_jax.data.errors import DataError

CHUNK = 2**20
"""Bytes of a file that are held at once."""

LOOK_BACK = 2**12
"""Characters in which a place to cut is looked for; text without one is cut anywhere."""

BORDER = re.compile(r"(?<=\S)[ \n]")


def pieces(text: str, size: int) -> Iterator[str]:
    """The text in pieces of at most `size` characters, cut as above.

    >>> list(pieces("to be or not", 7)), list(pieces("banana", 4))
    (['to be', ' or not'], ['bana', 'na'])
    """
    begin = 0
    while len(text) - begin > size:
        end = _border(text, begin + 1, begin + size + 1)
        yield text[begin:end]
        begin = end
    if begin < len(text):
        yield text[begin:]


def _border(text: str, begin: int, end: int) -> int:
    """The last place in `[begin, end)` to cut the text at; `end - 1` where no place is good."""
    found = end - 1
    for match in BORDER.finditer(text, max(begin, end - LOOK_BACK), end):
        found = match.start()
    return found


def size_of(path: str | PathLike[str]) -> int:
    """The bytes of a text file, decompressed.

    Raises:
        DataError: no file, a folder, an empty file, one that cannot be read, one that is damaged.
    """
    with _opened(path) as file:
        size = 0
        if isinstance(file, gzip.GzipFile):
            while block := _read(file, CHUNK, path):
                size += len(block)
        else:
            size = Path(path).stat().st_size
    if not size:
        raise DataError(f"{path} is empty: take a file with text in it")
    return size


def ends_of_parts(path: str | PathLike[str], shares: Sequence[float]) -> list[int]:
    """Where to cut a file into parts: at a line end if one is near, else at a blank, else between two characters.

    Args:
        path: the file.
        shares: how much of the file's bytes each part has, in order; they sum to 1.

    Returns: the byte that each part ends before; the last is the size of the file.

    Raises:
        DataError: as `size_of`.
    """
    size = size_of(path)
    ends: list[int] = []
    with _opened(path) as file:
        for number in range(len(shares) - 1):
            at = int(sum(shares[: number + 1]) * size)
            near = min(LOOK_BACK, int(shares[number + 1] * size) // 2)
            file.seek(at)
            ends.append(at + _cut(_read(file, max(near, 4), path)))  # a character has up to 4 bytes
    return [*ends, size]


def _cut(block: bytes) -> int:
    for mark in (b"\n", b" "):
        if mark in block:
            return block.index(mark) + 1
    beginnings = (place for place, byte in enumerate(block) if byte & 0xC0 != 0x80)  # 10xxxxxx continues a character
    return next(beginnings, len(block))


def chunks(path: str | PathLike[str], ends: Sequence[int], size: int = CHUNK) -> Iterator[tuple[int, str]]:
    """The text of the parts of a file, in one pass.

    Args:
        path: the file.
        ends: the byte that each part ends before.
        size: bytes that are read at once.

    Yields: the number of a part, and text of it: all of it together is the part.

    Raises:
        DataError: a file that is not UTF-8, with the byte; else as `size_of`.
    """
    with _opened(path) as file:
        begin = 0
        for part, end in enumerate(ends):
            decoder, text = codecs.getincrementaldecoder("utf-8")(), ""
            while begin < end:
                block = _read(file, min(size, end - begin), path)
                if not block:
                    raise DataError(f"{path} became shorter while it was read: leave it as it is until it is read")
                pending = len(decoder.getstate()[0])
                try:
                    text += decoder.decode(block, final=begin + len(block) == end)
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"{path} is not UTF-8 (byte {begin - pending + error.start}): save it as UTF-8"
                    ) from error
                begin += len(block)
                cut = len(text) if begin == end else _border(text, 1, len(text) + 1)
                yield part, text[:cut]
                text = text[cut:]


def _opened(path: str | PathLike[str]) -> BinaryIO:
    if not Path(path).exists():
        raise DataError(f"no file {path}: name a text file")
    if not Path(path).is_file():
        raise DataError(f"{path} is {'a folder' if Path(path).is_dir() else 'no file'}: name a text file")
    try:
        with Path(path).open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"  # no text in UTF-8 begins so
        return cast(BinaryIO, gzip.open(path)) if zipped else Path(path).open("rb")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def _read(file: BinaryIO, size: int, path: str | PathLike[str]) -> bytes:
    try:
        return file.read(size)
    except (EOFError, OSError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is damaged or cut short ({reason}): fetch it again") from error
