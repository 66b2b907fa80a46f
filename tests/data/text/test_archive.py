"""Files read from folders and archives, none of which can write anywhere."""

import io
import re
import tarfile

import pytest

from rnn_jax.data.errors import DataError
from rnn_jax.data.text import archive

PATTERN = re.compile(r"data/[^/]+/\w+\.txt")
ARCHIVES = ("data.tar.gz", "data.tar.xz")
FILES = {"data/a/1.txt": b"one", "data/a/2.txt": b"", "data/b/1.txt": b"three" * 1000}


def pack(path, files, mode, extra=()):
    with tarfile.open(path, mode) as tar:
        for member in extra:
            tar.addfile(member, io.BytesIO(b"x" * member.size) if member.size else None)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def unpack(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)


def read(path):
    return archive.read_members(path, "data", ARCHIVES, PATTERN)


@pytest.mark.parametrize(("file", "mode"), [("data.tar.gz", "w:gz"), ("data.tar.xz", "w:xz")])
def test_archive(tmp_path, file, mode):
    others = {"data/a/3.md": b"-", "other/a/1.txt": b"-", "data/a/deep/1.txt": b"-"}
    pack(tmp_path / file, dict(reversed((FILES | others).items())), mode)
    assert list(read(tmp_path).items()) == list(FILES.items())
    assert [path.name for path in tmp_path.iterdir()] == [file]


def test_folder(tmp_path):
    unpack(tmp_path, dict(reversed(FILES.items())) | {"data/a/3.md": b"-", "data/top.txt": b"-"})
    assert list(read(tmp_path).items()) == list(FILES.items())


def test_order_of_sources(tmp_path):
    assert archive.find(tmp_path, "data", ARCHIVES) is None
    assert read(tmp_path) is None
    for number, (file, mode) in enumerate([("data.tar.xz", "w:xz"), ("data.tar.gz", "w:gz")]):
        pack(tmp_path / file, {"data/a/1.txt": b"%d" % number}, mode)
        assert archive.find(tmp_path, "data", ARCHIVES) == tmp_path / file
        assert read(tmp_path) == {"data/a/1.txt": b"%d" % number}
    unpack(tmp_path, {"data/a/1.txt": b"2"})
    assert archive.find(tmp_path, "data", ARCHIVES) == tmp_path / "data"
    assert read(tmp_path) == {"data/a/1.txt": b"2"}


def test_members_that_are_passed_over(tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_bytes(b"secret")
    extra = []
    for kind, name, link in [
        (tarfile.SYMTYPE, "data/a/link.txt", str(outside)),
        (tarfile.LNKTYPE, "data/a/hard.txt", str(outside)),
        (tarfile.FIFOTYPE, "data/a/pipe.txt", ""),
        (tarfile.CHRTYPE, "data/a/device.txt", ""),
        (tarfile.DIRTYPE, "data/a/dir.txt", ""),
        (tarfile.REGTYPE, "../data/a/up.txt", ""),
        (tarfile.REGTYPE, "data/../data/a/updown.txt", ""),
        (tarfile.REGTYPE, "/data/a/absolute.txt", ""),
    ]:
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.size = kind, link, 1 if kind == tarfile.REGTYPE else 0
        extra.append(member)
    folder = tmp_path / "in"
    folder.mkdir()
    pack(folder / "data.tar.gz", {"./data/a/1.txt": b"one"}, "w:gz", extra)
    assert read(folder) == {"data/a/1.txt": b"one"}
    assert {path.name for path in tmp_path.rglob("*")} == {"outside.txt", "in", "data.tar.gz"}


def test_last_of_two_members_with_one_name(tmp_path):
    pack(tmp_path / "data.tar.gz", {"data/a/1.txt": b"old", "./data/a/1.txt": b"new"}, "w:gz")
    assert read(tmp_path) == {"data/a/1.txt": b"new"}


@pytest.mark.parametrize(("file", "mode"), [("data.tar.gz", "w:gz"), ("data.tar.xz", "w:xz")])
def test_every_cut_is_noticed(tmp_path, file, mode):
    pack(tmp_path / file, FILES, mode)
    whole = (tmp_path / file).read_bytes()
    for length in range(6, len(whole), 7):
        (tmp_path / file).write_bytes(whole[:length])
        with pytest.raises(DataError, match=rf"^\S*{re.escape(file)} is damaged or cut short \(.+\): fetch it again$"):
            read(tmp_path)


@pytest.mark.parametrize(("file", "mode"), [("data.tar.gz", "w:gz"), ("data.tar.xz", "w:xz")])
def test_a_changed_byte_is_noticed(tmp_path, file, mode):
    pack(tmp_path / file, FILES, mode)
    whole = bytearray((tmp_path / file).read_bytes())
    whole[len(whole) // 2] ^= 0x40
    (tmp_path / file).write_bytes(bytes(whole))
    with pytest.raises(DataError, match=r"fetch it again$"):
        read(tmp_path)


def test_of_another_kind(tmp_path):
    (tmp_path / "data.tar.xz").write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match=r"data.tar.xz is neither a .tar.gz nor a .tar.xz file: fetch it again$"):
        read(tmp_path)


def test_nothing_that_matches(tmp_path):
    pack(tmp_path / "data.tar.gz", {"elsewhere/a/1.txt": b"x"}, "w:gz")
    with pytest.raises(DataError, match=r"data.tar.gz has none of the files looked for: fetch the data set again$"):
        read(tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match=r"/data has none of the files looked for"):
        read(tmp_path)


@pytest.mark.parametrize("source", ["folder", "archive"])
def test_too_large(tmp_path, monkeypatch, source):
    monkeypatch.setattr(archive, "MAX_BYTES", 4_999)
    if source == "folder":
        unpack(tmp_path, FILES)
    else:
        pack(tmp_path / "data.tar.gz", FILES, "w:gz")
    with pytest.raises(DataError, match=r"'data/b/1.txt' has 5,000 bytes, more than the 4,999 that a text may have"):
        read(tmp_path)
