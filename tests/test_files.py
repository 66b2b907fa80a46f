"""Files are whole at every moment; a fingerprint tells apart what differs."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from rnn_jax.files import append_line, fingerprint, write_whole

FULL = OSError(28, "No space left on device")


def write_half(monkeypatch):
    """The disk is full in the middle of the next file."""
    write_bytes = Path.write_bytes

    def half(path, content):
        write_bytes(path, content[: len(content) // 2])
        raise FULL

    monkeypatch.setattr(Path, "write_bytes", half)


def refuse_to_move(monkeypatch):
    """A file is written, and then nothing more can be done."""

    def refuse(source, target):
        raise FULL

    monkeypatch.setattr(os, "replace", refuse)


FAILURES = pytest.mark.parametrize("fail", [write_half, refuse_to_move], ids=["half", "not moved"])


class TestWriteWhole:
    @pytest.mark.parametrize("content", ["a\r\nárvíztűrő\n", b"\x00\xff\r\n", ""])
    def test_text_and_bytes_in_place_of_what_was_there(self, tmp_path, content):
        file = tmp_path / "results.json"
        for before in (None, b"of before"):
            if before is not None:
                file.write_bytes(before)
            write_whole(file, content)
            assert file.read_bytes() == (content.encode("utf-8") if isinstance(content, str) else content)
        assert [path.name for path in tmp_path.iterdir()] == ["results.json"]

    @FAILURES
    def test_what_was_there_stays_when_it_fails(self, tmp_path, monkeypatch, fail):
        file = tmp_path / "results.json"
        write_whole(file, "of before")
        fail(monkeypatch)
        with pytest.raises(OSError, match="No space left"):
            write_whole(file, "a longer text than that of before")
        assert file.read_text() == "of before"

    @FAILURES
    def test_nothing_is_there_when_the_first_fails(self, tmp_path, monkeypatch, fail):
        fail(monkeypatch)
        with pytest.raises(OSError, match="No space left"):
            write_whole(tmp_path / "results.json", "text")
        assert not (tmp_path / "results.json").exists()

    def test_what_a_failure_has_left_is_no_hindrance(self, tmp_path):
        with pytest.MonkeyPatch.context() as monkeypatch:
            write_half(monkeypatch)
            with pytest.raises(OSError, match="No space left"):
                write_whole(tmp_path / "results.json", "a text that breaks off")
        write_whole(tmp_path / "results.json", "short")
        assert [path.read_text() for path in tmp_path.iterdir()] == ["short"]

    def test_a_missing_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            write_whole(tmp_path / "missing" / "results.json", "text")


class TestAppendLine:
    def test_line_after_line(self, tmp_path):
        for line in ("{}", "ű", ""):
            append_line(tmp_path / "rows.jsonl", line)
        assert (tmp_path / "rows.jsonl").read_bytes() == "{}\nű\n\n".encode()

    @FAILURES
    def test_a_failure_leaves_the_lines_before(self, tmp_path, monkeypatch, fail):
        append_line(tmp_path / "rows.jsonl", "first")
        fail(monkeypatch)
        with pytest.raises(OSError, match="No space left"):
            append_line(tmp_path / "rows.jsonl", "second")
        assert (tmp_path / "rows.jsonl").read_text() == "first\n"


class TestFingerprint:
    def test_tells_apart(self):
        array = np.arange(6.0).reshape(2, 3)
        parts = [
            (array,),
            (np.nextafter(array, 9),),
            (array.reshape(3, 2),),
            (array.astype(np.float32),),
            (array.astype(np.int64),),
            (array.T,),
            (array, array),
            ("text", array),
            (array, "text"),
            ("text",),
            ("Text",),
            (b"text\x00",),
            (),
        ]
        found = [fingerprint(*each) for each in parts]
        assert len(set(found)) == len(found)
        assert [fingerprint(*each) for each in parts] == found

    def test_of_an_array_however_it_lies_in_memory(self):
        array = np.arange(12, dtype=np.int32).reshape(3, 4)
        assert fingerprint(array.T) == fingerprint(array.T.copy())
        assert fingerprint(array[:, ::2]) == fingerprint(array[:, ::2].copy())

    def test_spelled_out(self):
        """Run folders hold fingerprints: what they are made of may not change."""
        array = np.array([[1, -2]], np.int32)
        content = "naïve".encode() + b"\x00" + b"int32(1, 2)" + array.tobytes() + b"float32()" + b"\x00\x00\x80?"
        assert fingerprint("naïve", b"\x00", array, np.array(1, np.float32)) == hashlib.sha256(content).hexdigest()
