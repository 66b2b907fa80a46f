"""The IDX format, written down a second time."""

import struct

import numpy as np


def idx_bytes(array: np.ndarray, magic: bytes | None = None) -> bytes:
    """An array as an IDX file has it."""
    start = bytes((0, 0, 8, array.ndim)) if magic is None else magic
    return start + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()


def write_mnist(folder):
    """72 images of 3 x 4 pixels: the digit is the first pixel's brightness, in tens."""
    rng = np.random.default_rng(0)
    (folder / "mnist").mkdir(parents=True)
    for name, count in (("train", 60), ("t10k", 12)):
        labels = rng.integers(0, 10, count)
        images = rng.integers(0, 256, (count, 3, 4))
        images[:, 0, 0] = 10 * labels
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            (folder / "mnist" / f"{name}-{kind}-ubyte").write_bytes(idx_bytes(array))
    return f"--data_dir={folder}"
