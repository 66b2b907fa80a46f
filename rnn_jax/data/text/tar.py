"""The regular files of a tar archive, in time and memory proportional to what they hold.

Python's `tarfile` keeps a record of every member, follows extended headers by recursion, and reads them by regular
expressions whose time grows with the square of a header that is as long as its author likes. Of a header this reads

    bytes 0 to 99       the name, up to the first NUL
    124 to 135          the size, in octal digits, or in base 256 where the first bit is set
    148 to 155          the sum of all bytes of the header, in octal digits; these eight count as blanks
    156                 the type: 0, 7 or NUL is a regular file
    257 to 261          "ustar": then 345 to 499 are what the name begins with, in archives of POSIX

and of extended ones the name and the size. A header is a block of 512 bytes; its content follows, with zeros up to the
end of a block. A block of zeros ends the archive.

Source: IEEE Std 1003.1-2017, "pax - portable archive interchange"; the manual of GNU tar, "Basic tar format".
"""

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

BLOCK = 512
CHUNK = 1 << 20
"""Bytes that are passed over at once."""

LONGEST_HEADER = 1 << 16
"""Bytes of an extended header, at most: a path has 4,096."""

REGULAR = (b"0", b"7", b"\0")
WITHOUT_CONTENT = (b"1", b"2", b"3", b"4", b"5", b"6")
"""Links, devices, folders and pipes: nothing follows their header, whatever size it has."""

GNU_NAME, GNU_SPARSE, PAX = b"L", b"S", b"x"
SPARSE = "a file with holes: pack it anew, without --sparse"


class TarError(Exception):
    """No tar archive, or one that is damaged or of a kind that is not read here."""


def contents(file: BinaryIO, wanted: Callable[[str, int], bool]) -> Iterator[tuple[str, bytes]]:
    """Name and content of those regular files that are wanted; folders, links, devices and the like are passed over.

    Args:
        file: the archive, unpacked, which is read from where it stands and need not seek.
        wanted: whether a file of this name and size is to be read. Names are as the archive has them, perhaps absolute
            or with `..` in it; a byte that is no UTF-8 is written as `\\xe9`.

    Raises:
        TarError: a header that is damaged, or an extended one of more than `LONGEST_HEADER` bytes; a file with holes;
            an archive that ends inside a header or a content.
    """
    long_name, long_size = b"", b""  # of the extended headers before a member
    while (header := file.read(BLOCK)) and header != bytes(BLOCK):
        kind, size = header[156:157], _size(header)
        if kind in (GNU_NAME, PAX):
            if size > LONGEST_HEADER:
                raise TarError(f"an extended header of {size:,} bytes")
            extended = _read(file, size)
            if kind == GNU_NAME:
                long_name = extended.partition(b"\0")[0]
            else:
                records = _records(extended)
                long_name, long_size = records.get(b"path", long_name), records.get(b"size", long_size)
            continue
        if kind == GNU_SPARSE:
            raise TarError(SPARSE)
        name = (long_name or _name(header)).decode("utf-8", "backslashreplace")
        if long_size:
            size = _whole(long_size, rb"[0-9]{1,20}", 10)
        long_name, long_size = b"", b""
        if kind in WITHOUT_CONTENT:
            continue
        if kind in REGULAR and not name.endswith("/") and wanted(name, size):
            yield name, _read(file, size)
        else:
            _pass_over(file, size + -size % BLOCK)


def _size(header: bytes) -> int:
    """The size in a header, whose sum is right."""
    if len(header) < BLOCK:
        raise TarError("it ends inside a header")
    rest = header[:148] + b" " * 8 + header[156:]
    more = _octal(header[148:156]) - sum(rest)
    if more and more != -256 * sum(byte > 127 for byte in rest):  # some old programs add signed bytes
        raise TarError("a header with a wrong sum")
    field = header[124:136]
    if field[0] < 128:
        return _octal(field)
    if field[0] > 128 or any(field[1:5]):  # negative, or more than there can be
        raise TarError("a header with a damaged number")
    return int.from_bytes(field[5:], "big")


def _octal(field: bytes) -> int:
    return _whole(field.partition(b"\0")[0].strip() or b"0", rb"[0-7]+", 8)


def _whole(digits: bytes, pattern: bytes, base: int) -> int:
    if not re.fullmatch(pattern, digits):
        raise TarError("a header with a damaged number")
    return int(digits, base)


def _name(header: bytes) -> bytes:
    name, prefix = header[:100].partition(b"\0")[0], header[345:500].partition(b"\0")[0]
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name


def _records(extended: bytes) -> dict[bytes, bytes]:
    """Those of a header of pax, each `length key=value` and a line end; the length counts all of it."""
    found = {}
    place = 0
    while place < len(extended) and extended[place]:
        digits = extended[place : place + 6].partition(b" ")[0]
        end = place + _whole(digits, rb"[1-9][0-9]{0,4}", 10)
        key, equals, value = extended[place + len(digits) + 1 : end].partition(b"=")
        if not (equals and value.endswith(b"\n")):
            raise TarError("an extended header that is damaged")
        if key.startswith(b"GNU.sparse."):
            raise TarError(SPARSE)
        found[key], place = value[:-1], end
    return found


def _read(file: BinaryIO, size: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise TarError("it ends inside a file")
    _pass_over(file, -size % BLOCK)
    return content


def _pass_over(file: BinaryIO, left: int) -> None:
    while left:
        passed = len(file.read(min(left, CHUNK)))
        if not passed:
            raise TarError("it ends inside a file")
        left -= passed
