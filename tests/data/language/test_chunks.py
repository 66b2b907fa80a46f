"""Cutting texts and files into pieces that encode as the whole does."""

import gzip
import os

import numpy as np
import pytest

from rnn_jax.data.errors import DataError
from rnn_jax.data.language.chunks import chunks, ends_of_parts, size_of
from rnn_jax.data.pieces import pieces

MIXED = "Über  allen\tGipfeln\r\nist Ruh\u2019,\n\n  in\u3000allen \U0001f332 Wipfeln\x1c spürest du \n" * 3
TEXTS = {
    "nothing": "",
    "one": "a",
    "a blank": " ",
    "mixed": MIXED,
    "no blank": "\u65e5\u672c\u8a9e" * 20,
    "blanks alone": " \n" * 25,
    "lines": "a b\nc\n\n" * 9,
}
SHARES = (0.9, 0.05, 0.05)


def good_places(text):
    """Where a cut changes nothing: before a blank or line end after something that is no blank of any kind."""
    return [i for i in range(1, len(text)) if text[i] in " \n" and text[i - 1].strip()]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 19, 1000])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_pieces(text, size):
    found = list(pieces(text, size))
    assert "".join(found) == text
    assert all(0 < len(piece) <= size for piece in found)
    places, end = good_places(text), 0
    for piece in found[:-1]:  # as long as it can be, else as long as it may be
        within = [place for place in places if end < place <= end + size]
        end += len(piece)
        assert end == (within[-1] if within else end - len(piece) + size)


def test_a_place_far_back_is_not_looked_for():
    text = "a " + "b" * 10_000
    assert [len(piece) for piece in pieces(text, 9_000)] == [9_000, 1_002]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 10_000])
def test_chunks_of_parts(tmp_path, size, zipped):
    content = MIXED.encode()
    path = tmp_path / "text"
    path.write_bytes(gzip.compress(content) if zipped else content)
    ends = ends_of_parts(path, (0.5, 0.3, 0.2))
    found = ["", "", ""]
    numbers = []
    for part, text in chunks(path, ends, size):
        found[part] += text
        numbers.append(part)
    assert numbers == sorted(numbers)
    first, second, third = ends
    assert third == size_of(path) == len(content)
    assert [each.encode() for each in found] == [content[:first], content[first:second], content[second:]]


def test_chunks_are_cut_where_nothing_changes(tmp_path):
    text = "der Wald\n ist dunkel " * 40
    (tmp_path / "text").write_text(text, encoding="utf-8")
    found = [chunk for _, chunk in chunks(tmp_path / "text", [len(text)], 50)]
    borders = np.cumsum([len(chunk) for chunk in found])[:-1]
    assert len(borders) > 10
    assert set(borders.tolist()) <= set(good_places(text))


PARTS = {
    # 0.9 of the bytes, then the next line end within half of the next part, else the next blank, else a character
    "a line end": (b"x" * 905 + b"\n" + b"y" * 94, 906),
    "a line end before a blank": (b"x" * 901 + b" x\n" + b"y" * 96, 904),
    "a blank": (b"x" * 910 + b" " + b"y" * 89, 911),
    "a blank too far away": (b"x" * 930 + b" " + b"y" * 69, 900),
    "exactly there": (b"x" * 900 + b"\n" + b"y" * 99, 901),
    "within a character": ("\u00e9".join(["x" * 899, "y" * 99]).encode(), 901),
    "no character": (b"\x80" * 1000, 925),  # `chunks` will say so
}


@pytest.mark.parametrize(("content", "end"), PARTS.values(), ids=PARTS.keys())
def test_where_the_training_part_ends(tmp_path, content, end):
    (tmp_path / "text").write_bytes(content)
    assert len(content) == 1000
    assert ends_of_parts(tmp_path / "text", SHARES)[0] == end


@pytest.mark.parametrize("size", [1, 2, 5, 17, 40, 1001])
def test_short_files_have_ends_in_order(tmp_path, size):
    content = "\u65e5".encode() * size
    (tmp_path / "text").write_bytes(content)
    ends = ends_of_parts(tmp_path / "text", SHARES)
    assert len(ends) == 3
    assert sorted(ends) == ends
    assert ends[-1] == len(content)
    assert "".join(text for _, text in chunks(tmp_path / "text", ends)) == "\u65e5" * size


@pytest.mark.parametrize("size", [1, 3, 100, 10_000])
@pytest.mark.parametrize("bad", [b"\xff", b"\xc3(", b"\xe2\x82", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"])
@pytest.mark.parametrize("before", ["", "gr\u00fc\u00dfe ", "a" * 99])
def test_no_utf_8(tmp_path, before, bad, size):
    (tmp_path / "text").write_bytes(before.encode() + bad)
    where = len(before.encode())
    with pytest.raises(DataError, match=rf"text is not UTF-8 \(byte {where}\): save it as UTF-8"):
        list(chunks(tmp_path / "text", [where + len(bad)], size))


def missing(path):
    pass


def folder(path):
    path.mkdir()


def empty(path):
    path.write_bytes(b"")


def empty_archive(path):
    path.write_bytes(gzip.compress(b""))


def cut_short(path):
    path.write_bytes(gzip.compress(os.urandom(9_000))[:-2_000])


def changed(path):
    content = bytearray(gzip.compress(os.urandom(9_000)))
    content[5_000] ^= 1
    path.write_bytes(content)


def pipe(path):
    os.mkfifo(path)


HOSTILE = {
    missing: "no file .*text: check the path",
    folder: "text is a folder: name a file",
    empty: "text is empty",
    empty_archive: "text is empty",
    cut_short: r"text is damaged or cut short \(.*\): fetch it again",
    changed: r"text is damaged or cut short \(.*\): fetch it again",
    pipe: "text is a pipe, a socket or a device: name a regular file",
}


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_hostile_files(tmp_path, make):
    make(tmp_path / "text")
    with pytest.raises(DataError, match=HOSTILE[make]) as caught:
        ends_of_parts(tmp_path / "text", SHARES)
    assert "\n" not in str(caught.value)


def test_a_file_that_became_shorter(tmp_path):
    (tmp_path / "text").write_bytes(b"abc")
    with pytest.raises(DataError, match="became shorter"):
        list(chunks(tmp_path / "text", [4]))
