"""The IDX format: one array of bytes behind a short header, as MNIST was published.

    bytes 0, 1      zero
    byte 2          type of the entries, 8: unsigned byte
    byte 3          number of axes N
    4 N bytes       their lengths, big-endian
    the rest        the entries, last axis fastest

Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", 1998.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from rnn_jax.data.errors import DataError

UNSIGNED_BYTE = 8
MAX_BYTES = 1_000_000_000
"""The largest file that is read, unpacked."""


def find(folder: Path, name: str) -> Path:
    """The file of a folder, plain or gzipped.

    Args:
        folder: where to look.
        name: without `.gz`.

    Raises:
        DataError: there is neither.
    """
    for file in (folder / name, folder / f"{name}.gz"):
        if file.is_file():
            return file
    raise DataError(
        f"no {name} and no {name}.gz in {folder}: put the original IDX file there, or name another data_dir"
    )


def read(path: Path, num_axes: int) -> np.ndarray:
    """Reads an IDX file of unsigned bytes, gzipped if its name ends in `.gz`.

    Args:
        path: the file.
        num_axes: how many axes it must have: 3 for images, 1 for labels.

    Returns:
        uint8, of the shape in the header.

    Raises:
        DataError: a file that is missing or damaged, of another format, type or number of axes, or with fewer or more
            bytes than its header says.
    """
    content = _content(path)
    start = 4 * (1 + num_axes)
    if content[:4] != bytes((0, 0, UNSIGNED_BYTE, num_axes)):
        found, wanted = content[:4].hex() or "nothing", bytes((0, 0, UNSIGNED_BYTE, num_axes)).hex()
        raise DataError(f"{path} begins with {found}, not {wanted}: no IDX file of bytes with {num_axes} axes")
    if len(content) < start:
        raise DataError(f"{path} ends inside its header: fetch it again")
    shape = tuple(np.frombuffer(content, ">u4", num_axes, offset=4).tolist())
    if len(content) - start != math.prod(shape):
        size = " x ".join(map(str, shape))
        raise DataError(f"{path} has {len(content) - start} bytes for {size} entries: fetch it again")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _content(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path} cannot be read ({error}): fetch it again") from error
    if len(content) > MAX_BYTES:
        raise DataError(f"{path} holds more than {MAX_BYTES:,} bytes: this is no file of MNIST")
    return content
