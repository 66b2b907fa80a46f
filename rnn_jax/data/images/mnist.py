"""MNIST, a pixel at a time: handwritten digits as sequences of 784 brightness values.

Sequential MNIST reads an image row by row. Permuted MNIST reads the same pixels in one random order, fixed for all
images, so that neighbours on paper lie far apart in time.

Sources: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", 1998; as sequences: Le, Jaitly and
Hinton, "A simple way to initialize recurrent networks of rectified linear units", 2015.
"""

from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnn_jax.data.errors import DataError
from rnn_jax.data.images import idx
from rnn_jax.files import fingerprint

FOLDER = "mnist"
NUM_CLASSES = 10
PERMUTATION_SEED = 0
VALIDATION_SHARE = 12
"""One in so many training images, the last ones of the file, is for validation: 5,000 of 60,000."""


class Images(NamedTuple):
    """Images and what they show.

    Attributes:
        pixels: `[N, T]` uint8, 0 is paper and 255 ink, in reading order.
        labels: `[N]` uint8, the digits.
    """

    pixels: np.ndarray
    labels: np.ndarray


class MNIST(NamedTuple):
    """The three splits."""

    train: Images
    validation: Images
    test: Images

    def fingerprint(self) -> str:
        """SHA-256 of the shapes and the bytes of all arrays: the same for the same data."""
        return fingerprint(*(part for split in self for array in split for part in (str(array.shape), array.tobytes())))


def permutation(num_pixels: int) -> np.ndarray:
    """The order in which permuted MNIST reads `num_pixels` = T of them, `[T]`: that of NumPy's generator with seed 0.

    >>> permutation(784)[:4].tolist(), sorted(permutation(784)) == list(range(784))
    ([318, 2, 606, 446], True)
    """
    return np.random.default_rng(PERMUTATION_SEED).permutation(num_pixels)


def read(data_dir: str | PathLike[str], permuted: bool = False) -> MNIST:
    """Reads the four IDX files, plain or gzipped, of the folder `mnist` in `data_dir`.

    Args:
        data_dir: the folder of data files.
        permuted: read the pixels in the order of `permutation`.

    Returns:
        55,000 images for training, 5,000 for validation, the official 10,000 for test.

    Raises:
        DataError: files that are missing, damaged, or do not belong together.
    """
    folder = Path(data_dir) / FOLDER
    train, test = _read_split(folder, "train"), _read_split(folder, "t10k")
    if train.pixels.shape[1] != test.pixels.shape[1]:
        raise DataError(f"images of {train.pixels.shape[1]} and of {test.pixels.shape[1]} pixels in {folder}")
    if len(train.labels) < VALIDATION_SHARE:
        raise DataError(f"{len(train.labels)} training images in {folder}, at least {VALIDATION_SHARE} are needed")
    first = len(train.labels) - len(train.labels) // VALIDATION_SHARE
    splits = Images(*(a[:first] for a in train)), Images(*(a[first:] for a in train)), test
    if not permuted:
        return MNIST(*splits)
    order = permutation(train.pixels.shape[1])
    return MNIST(*(split._replace(pixels=split.pixels[:, order]) for split in splits))


def _read_split(folder: Path, name: str) -> Images:
    images, labels = idx.find(folder, f"{name}-images-idx3-ubyte"), idx.find(folder, f"{name}-labels-idx1-ubyte")
    pixels, digits = idx.read(images, 3), idx.read(labels, 1)
    if len(pixels) != len(digits):
        raise DataError(f"{len(pixels)} images in {images}, {len(digits)} labels in {labels}: fetch both again")
    if not pixels.size:
        raise DataError(f"{images} holds no images: fetch it again")
    if digits.max() >= NUM_CLASSES:
        raise DataError(f"{labels} has a label {digits.max()}, digits end at 9: fetch it again")
    return Images(pixels.reshape(len(pixels), -1), digits)
