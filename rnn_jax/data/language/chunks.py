"""Text files of any size, read as a stream of chunks: UTF-8, plain or packed, cut as `rnn_jax.data.pieces` says."""

import codecs
from collections.abc import Iterator, Sequence
from os import PathLike, stat
from typing import BinaryIO

from rnn_jax.data.errors import DataError
from rnn_jax.data.language import MAX_FILE_BYTES
from rnn_jax.data.opening import is_packed, opened
from rnn_jax.data.pieces import LOOK_BACK, border

CHUNK = 2**20
"""Bytes of a file that are held at once."""


def size_of(path: str | PathLike[str], max_file_bytes: int = MAX_FILE_BYTES) -> int:
    """The bytes of a text file, unpacked.

    Raises:
        DataError: no file, a folder, an empty file, one that cannot be read, one that is damaged or too large.
    """
    with _opened(path, max_file_bytes) as file:
        size = 0
        if is_packed(file):
            while block := file.read(CHUNK):
                size += len(block)
        else:
            size = stat(path).st_size
    if not size:
        raise DataError(f"{path} is empty: take a file with text in it")
    return size


def ends_of_parts(
    path: str | PathLike[str], shares: Sequence[float], max_file_bytes: int = MAX_FILE_BYTES
) -> list[int]:
    """Where to cut a file into parts: at a line end if one is near, else at a blank, else between two characters.

    Args:
        path: the file.
        shares: how much of the file's bytes each part has, in order; they sum to 1.
        max_file_bytes: how many there may be.

    Returns: the byte that each part ends before; the last is the size of the file.

    Raises:
        DataError: as `size_of`.
    """
    size = size_of(path, max_file_bytes)
    ends: list[int] = []
    with _opened(path, max_file_bytes) as file:
        for number in range(len(shares) - 1):
            at = int(sum(shares[: number + 1]) * size)
            near = min(LOOK_BACK, int(shares[number + 1] * size) // 2)
            file.seek(at)
            ends.append(at + _cut(file.read(max(near, 4))))  # a character has up to 4 bytes
    return [*ends, size]


def _cut(block: bytes) -> int:
    for mark in (b"\n", b" "):
        if mark in block:
            return block.index(mark) + 1
    beginnings = (place for place, byte in enumerate(block) if byte & 0xC0 != 0x80)  # 10xxxxxx continues a character
    return next(beginnings, len(block))


def chunks(
    path: str | PathLike[str], ends: Sequence[int], size: int = CHUNK, max_file_bytes: int = MAX_FILE_BYTES
) -> Iterator[tuple[int, str]]:
    """The text of the parts of a file, in one pass.

    Args:
        path: the file.
        ends: the byte that each part ends before.
        size: bytes that are read at once.
        max_file_bytes: how many there may be.

    Yields: the number of a part, and text of it: all of it together is the part.

    Raises:
        DataError: a file that is not UTF-8, with the byte; else as `size_of`.
    """
    with _opened(path, max_file_bytes) as file:
        begin = 0
        for part, end in enumerate(ends):
            decoder, text = codecs.getincrementaldecoder("utf-8")(), ""
            while begin < end:
                block = file.read(min(size, end - begin))
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
                cut = len(text) if begin == end else border(text, 1, len(text) + 1)
                yield part, text[:cut]
                text = text[cut:]


def _opened(path: str | PathLike[str], max_file_bytes: int) -> BinaryIO:
    return opened(path, max_file_bytes, f"take a smaller file, or set a larger max_file_bytes={max_file_bytes}")
