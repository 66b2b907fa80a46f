"""MNIST as sequences: which image goes where, in which order its pixels are read."""

import hashlib

import numpy as np
import pytest
from helpers.idx import idx_bytes

from rnn_jax.data.errors import DataError
from rnn_jax.data.images import mnist


def write(folder, num_train=24, num_test=5, rows=3, columns=4, seed=0):
    """Random images in the four files; returns their pixels and labels."""
    rng, made = np.random.default_rng(seed), {}
    (folder / "mnist").mkdir(exist_ok=True)
    for name, count in (("train", num_train), ("t10k", num_test)):
        images = rng.integers(0, 256, (count, rows, columns)).astype(np.uint8)
        labels = rng.integers(0, 10, count).astype(np.uint8)
        (folder / "mnist" / f"{name}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (folder / "mnist" / f"{name}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
        made[name] = images, labels
    return made


def test_splits_and_order(tmp_path):
    made = write(tmp_path)
    train, validation, test = mnist.read(tmp_path)
    images, labels = made["train"]
    assert (len(train.labels), len(validation.labels), len(test.labels)) == (22, 2, 5)
    for i in range(24):
        split, place = (train, i) if i < 22 else (validation, i - 22)
        assert split.labels[place] == labels[i]
        assert split.pixels[place].tolist() == [images[i, row, column] for row in range(3) for column in range(4)]
    np.testing.assert_array_equal(test.pixels.reshape(5, 3, 4), made["t10k"][0])
    np.testing.assert_array_equal(test.labels, made["t10k"][1])


def test_permuted(tmp_path):
    """One order for every image of every split, and every pixel read once."""
    write(tmp_path)
    plain, permuted = mnist.read(tmp_path), mnist.read(tmp_path, permuted=True)
    order = mnist.permutation(12)
    assert sorted(order) == list(range(12))
    assert order.tolist() != list(range(12))
    for a, b in zip(plain, permuted, strict=True):
        np.testing.assert_array_equal(a.pixels[:, order], b.pixels)
        np.testing.assert_array_equal(a.labels, b.labels)
    assert plain.fingerprint() != permuted.fingerprint()


def test_the_fingerprint_sees_a_pixel_and_a_label(tmp_path):
    write(tmp_path)
    splits = mnist.read(tmp_path)
    seen = {splits.fingerprint()}
    for split in ("train", "validation", "test"):
        for name in ("pixels", "labels"):
            images = getattr(splits, split)
            array = getattr(images, name).copy()
            array.flat[-1] ^= 1
            seen.add(splits._replace(**{split: images._replace(**{name: array})}).fingerprint())
    assert len(seen) == 7


def test_the_fingerprint_as_it_was(tmp_path):
    """Run folders hold it: what it is made of may not change."""
    write(tmp_path)
    splits = mnist.read(tmp_path, permuted=True)
    content = b"".join(str(array.shape).encode() + array.tobytes() for split in splits for array in split)
    assert splits.fingerprint() == hashlib.sha256(content).hexdigest()


def test_files_that_do_not_belong_together(tmp_path):
    write(tmp_path)
    labels = tmp_path / "mnist" / "train-labels-idx1-ubyte"
    for array, message in ((np.zeros(23), "24 images in .*, 23 labels in"), (np.full(24, 10), "has a label 10")):
        labels.write_bytes(idx_bytes(array))
        with pytest.raises(DataError, match=message):
            mnist.read(tmp_path)


def test_other_sizes(tmp_path):
    other = write(tmp_path, columns=5)["t10k"][0]
    write(tmp_path)
    (tmp_path / "mnist" / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(other))
    with pytest.raises(DataError, match="images of 12 and of 15 pixels"):
        mnist.read(tmp_path)


def test_no_images(tmp_path):
    write(tmp_path, num_train=0)
    with pytest.raises(DataError, match="train-images-idx3-ubyte holds no images"):
        mnist.read(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    write(tmp_path)
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="no t10k-labels-idx1-ubyte and no"):
        mnist.read(tmp_path)


def test_too_few_images(tmp_path):
    """A validation split without an image was found out about in training."""
    write(tmp_path, num_train=11)
    with pytest.raises(DataError, match=r"^11 training images in .*mnist, at least 12 are needed$"):
        mnist.read(tmp_path)
