"""The IDX format, written down a second time."""

import struct

import numpy as np


def idx_bytes(array: np.ndarray, magic: bytes | None = None) -> bytes:
    """An array as an IDX file has it."""
    start = bytes((0, 0, 8, array.ndim)) if magic is None else magic
    return start + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()
