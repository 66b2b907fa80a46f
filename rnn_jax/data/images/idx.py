"""The IDX format: one array of bytes behind a short header, as MNIST was published.

    bytes 0, 1      zero
    byte 2          type of the entries, 8: unsigned byte
    byte 3          number of axes N
    4 N bytes       their lengths, big-endian
    the rest        the entries, last axis fastest

Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", 1998.
"""

import math
from pathlib import Path

import numpy as np

from rnn_jax.data.errors import DataError
from rnn_jax.data.opening import opened

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
    """Reads an IDX file of unsigned bytes, plain or gzipped.

    Args:
        path: the file.
        num_axes: how many axes it must have: 3 for images, 1 for labels.

    Returns:
        uint8, of the shape in the header.

    Raises:
        DataError: a file that is missing or damaged, of another format, type or number of axes, or with fewer or more
            bytes than its header says.
    """
    with opened(path, MAX_BYTES) as file:
        start = 4 * (1 + num_axes)
        header = file.read(start)
        if header[:4] != bytes((0, 0, UNSIGNED_BYTE, num_axes)):
            found, wanted = header[:4].hex() or "nothing", bytes((0, 0, UNSIGNED_BYTE, num_axes)).hex()
            raise DataError(f"{path} begins with {found}, not {wanted}: no IDX file of bytes with {num_axes} axes")
        if len(header) < start:
            raise DataError(f"{path} ends inside its header: fetch it again")
        shape = tuple(np.frombuffer(header, ">u4", num_axes, offset=4).tolist())
        size = " x ".join(map(str, shape))
        if math.prod(shape) > MAX_BYTES:
            raise DataError(f"{path} has {size} entries in its header, more than {MAX_BYTES:,}: fetch it again")
        content = file.read(math.prod(shape) + 1)  # one more than there may be
    if len(content) != math.prod(shape):
        have = f"{len(content)} bytes for" if len(content) < math.prod(shape) else "more bytes than"
        raise DataError(f"{path} has {have} {size} entries: fetch it again")
    return np.frombuffer(content, np.uint8).reshape(shape)
