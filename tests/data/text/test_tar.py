"""The reader of archives: what `tarfile` writes is read, in every format, and what is hostile is refused at once."""

import gzip
import io
import re
import tarfile
import time
import tracemalloc

import pytest
from helpers.archives import packed
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_jax.data.errors import DataError
from rnn_jax.data.text import archive, tar

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def everything(content, wanted=lambda name, size: True):
    return dict(tar.contents(io.BytesIO(content), wanted))


def header(name="a/1.txt", kind=b"0", size=b"00000000000\0", **fields):
    """A block with a right sum."""
    block = bytearray(512)
    block[: len(name)] = name.encode()
    block[124:136], block[156:157], block[257:265] = size, kind, b"ustar\x0000"
    for place, value in fields.items():
        begin = int(place.removeprefix("at"))
        block[begin : begin + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def octal(number):
    return b"%011o\0" % number


@pytest.mark.parametrize("form", FORMATS)
def test_names_of_every_length(form):
    longest = 200 if form == "ustar" else 3000
    names = [("folder/" * 500)[: n - 5].rstrip("/") + "/xxxx"[:5] for n in (10, 99, 100, 101, 155, 250, longest)]
    files = {name: name.encode() * 30 for name in names}
    assert everything(packed(files, FORMATS[form])) == files


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_names_that_are_not_ascii(form):
    files = {"caf\u00e9/\u0111\u1ea3.txt": b"1", "x" * 120 + "\u00e9": b"2"}
    assert everything(packed(files, FORMATS[form])) == files


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    files=st.dictionaries(
        st.text(
            st.characters(codec="utf-8", categories=["L", "N", "P", "S"], exclude_characters="/"),
            min_size=1,
            max_size=200,
        ),
        st.binary(max_size=1500),
        max_size=6,
    ),
    form=st.sampled_from(["gnu", "pax"]),
)
def test_what_was_packed_is_read(files, form):
    assert everything(packed(files, FORMATS[form])) == files


def test_only_what_is_wanted_is_read():
    files = {f"{n}": b"x" * n for n in (0, 511, 512, 513, 3000)}
    asked = []

    def wanted(name, size):
        asked.append((name, size))
        return size > 512

    assert list(everything(packed(files), wanted)) == ["513", "3000"]
    assert asked == [(name, len(content)) for name, content in files.items()]


def test_old_archives():
    ended = bytes(1024)
    block = header(at257=bytes(8), size=b"         2 \0", kind=b"\0")
    assert everything(block + b"ab".ljust(512, b"\0") + ended) == {"a/1.txt": b"ab"}
    assert everything(header("a/", kind=b"\0") + ended) == {}
    signed = bytearray(header(at257=bytes(8), at300=b"\xe9"))
    signed[148:156] = b"%06o\0 " % (
        sum(header(at257=bytes(8), at300=b"\xe9")[:148] + b" " * 8) + sum(signed[156:]) - 256
    )
    assert everything(bytes(signed) + ended) == {"a/1.txt": b""}


def test_without_an_end():
    assert everything(header()) == {"a/1.txt": b""}
    assert everything(b"") == {}


def test_content_of_links_is_not_looked_for():
    content = b"".join(header(kind=b"%d" % kind, size=octal(10**6)) for kind in range(1, 7)) + header("a/2.txt")
    assert everything(content) == {"a/2.txt": b""}


def test_a_size_in_base_256_and_in_a_pax_record():
    content = b"x" * 512
    assert everything(header(size=b"\x80" + bytes(9) + b"\x02\x00") + content) == {"a/1.txt": content}
    record = b"12 size=512\n"
    extended = header("pax", b"x", octal(len(record))) + record.ljust(512, b"\0")
    assert everything(extended + header() + content) == {"a/1.txt": content}


DIGITS = b"1" * tar.LONGEST_HEADER


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header()[:100], "it ends inside a header"),
        (header()[:-1] + b"x", "a header with a wrong sum"),
        (header(size=octal(513)) + bytes(512), "it ends inside a file"),
        (header(size=octal(510)) + bytes(511), "it ends inside a file"),
        (header(size=b"7" * 12) + bytes(512), "it ends inside a file"),
        (header(size=b"\x80" + b"\xff" * 11) + bytes(512), "a header with a damaged number"),
        (header(size=b"\xff" * 12), "a header with a damaged number"),
        (header(size=b"-0000000001\0"), "a header with a damaged number"),
        (header(size=b"0o000000001\0"), "a header with a damaged number"),
        (header(kind=b"S"), r"a file with holes: pack it anew, without --sparse"),
        (header("p", b"x", octal(25)) + b"25 GNU.sparse.map=0,0,0,0\n".ljust(512, b"\0"), "damaged"),
        (header("p", b"x", octal(26)) + b"26 GNU.sparse.map=0,0,0,0\n".ljust(512, b"\0"), "a file with holes"),
        (header("p", b"x", octal(1 << 33)), "an extended header of 8,589,934,592 bytes"),
        (header("p", b"L", octal(tar.LONGEST_HEADER + 1)), "an extended header of 65,537 bytes"),
        (header("p", b"x", octal(len(DIGITS))) + DIGITS, "a header with a damaged number"),
        (header("p", b"x", octal(9)) + b"0 path=a\n".ljust(512, b"\0"), "a header with a damaged number"),
        (header("p", b"x", octal(9)) + b"5 path=a\n".ljust(512, b"\0"), "an extended header that is damaged"),
        (header("p", b"x", octal(14)) + b"14 size=-1024\n".ljust(512, b"\0") + header(), "with a damaged number"),
    ],
)  # fmt: skip
def test_hostile_headers_are_refused_at_once(content, message):
    begun = time.process_time()
    with pytest.raises(tar.TarError, match=message):
        everything(content)
    assert time.process_time() - begun < 1


def test_a_chain_of_extended_headers():
    record = b"11 path=ab\n".ljust(512, b"\0")
    chain = (header("p", b"x", octal(11)) + record) * 5000
    assert everything(chain + header()) == {"ab": b""}


def test_a_digit_after_another(tmp_path):
    """`tarfile` took 45 seconds for such an archive of 244 bytes."""
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(header("p", b"x", octal(200_000)) + b"1" * 200_192))
    assert path.stat().st_size < 1000
    begun = time.process_time()
    with pytest.raises(
        DataError, match=r"a.tar.gz is damaged or cut short \(an extended header of 200,000 bytes\): fetch"
    ):
        archive.read_archive(path, re.compile("a"))
    assert time.process_time() - begun < 1


def test_many_members_take_no_memory():
    content = header("other") * 20_000 + header()
    tracemalloc.start()
    found = everything(content, lambda name, size: name.startswith("a/"))
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    assert found == {"a/1.txt": b""}


@pytest.mark.parametrize("source", ["archive", "folder"])
def test_all_that_is_read_is_bounded(tmp_path, monkeypatch, source):
    monkeypatch.setattr(archive, "MAX_UNPACKED", 50_000)
    files = {f"data/{n}.txt": b"\0" * 9000 for n in range(10)}
    if source == "archive":
        (tmp_path / "data.tar.gz").write_bytes(gzip.compress(packed(files)))
        assert (tmp_path / "data.tar.gz").stat().st_size < 2000
    else:
        (tmp_path / "data").mkdir()
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"data(\.tar\.gz)? holds more than 50,000 bytes: "):
        archive.read_members(tmp_path, "data", ["data.tar.gz"], re.compile(r"data/\d\.txt"))


def test_an_archive_inside_an_archive_is_a_file(tmp_path):
    inner = gzip.compress(packed({"data/1.txt": b"inner"}))
    (tmp_path / "data.tar.gz").write_bytes(gzip.compress(packed({"data/in.tar.gz": inner, "data/2.txt": b"outer"})))
    assert archive.read_members(tmp_path, "data", ["data.tar.gz"], re.compile(r"data/\d\.txt")) == {
        "data/2.txt": b"outer"
    }
