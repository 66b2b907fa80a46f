"""IDX files: what was written is read, and a broken file is one line that names it."""

import gzip

import numpy as np
import pytest
from helpers.idx import idx_bytes

from rnn_jax.data.errors import DataError
from rnn_jax.data.images import idx


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 4, 5)).astype(np.uint8)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(3, 4, 5), (7,), (300, 1, 2)])
def test_round_trip(tmp_path, packed, shape):
    array = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    file = tmp_path / ("a.gz" if packed else "a")
    file.write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
    found = idx.read(file, len(shape))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, array)


def broken(content: bytes) -> dict[str, tuple[bytes, str]]:
    """Name to content, and a part of the message."""
    return {
        "empty": (b"", "begins with nothing"),
        "other": (b"\x89PNG" + content, "begins with 89504e47, not 00000803"),
        "floats": (content[:2] + b"\x0d" + content[3:], "begins with 00000d03"),
        "labels": (idx_bytes(np.zeros(60)), "begins with 00000801, not 00000803"),
        "header": (content[:10], "ends inside its header"),
        "huge": (content[:4] + b"\xff" * 12, "has 4294967295 x 4294967295 x 4294967295 entries in its header, more"),
        "short": (content[:-1], "has 59 bytes for 3 x 4 x 5 entries"),
        "long": (content + b"\0", "has more bytes than 3 x 4 x 5 entries"),
    }


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", broken(b""))
def test_broken(tmp_path, images, name, packed):
    content, message = broken(idx_bytes(images))[name]
    file = tmp_path / (f"{name}.gz" if packed else name)
    file.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataError) as found:
        idx.read(file, 3)
    assert message in str(found.value)
    assert str(file) in str(found.value)
    assert len(str(found.value).splitlines()) == 1


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_broken_gzip(tmp_path, images, damage):
    whole = bytearray(gzip.compress(idx_bytes(images)))
    whole[25] ^= 255
    content = {"cut": gzip.compress(idx_bytes(images))[:-9], "flipped": bytes(whole)}
    file = tmp_path / "images.gz"
    file.write_bytes(content[damage])
    with pytest.raises(DataError, match=r"images\.gz is damaged or cut short"):
        idx.read(file, 3)


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"^no file .*missing: check the path$"):
        idx.read(tmp_path / "missing", 3)
    with pytest.raises(
        DataError,
        match=r"no labels and no labels\.gz in .*: put the .* another data_dir$",
    ):
        idx.find(tmp_path, "labels")


def test_a_file_too_large(tmp_path, images, monkeypatch):
    monkeypatch.setattr(idx, "MAX_BYTES", 50)
    file = tmp_path / "bomb.gz"
    file.write_bytes(gzip.compress(idx_bytes(images)))
    with pytest.raises(DataError, match=r"bomb\.gz holds more than 50 bytes"):
        idx.read(file, 3)


def test_the_plain_file_comes_first(tmp_path):
    (tmp_path / "a.gz").touch()
    assert idx.find(tmp_path, "a").name == "a.gz"
    (tmp_path / "a").touch()
    assert idx.find(tmp_path, "a").name == "a"
