"""Rows of measurements: what was written is read, what is damaged is measured again, never believed."""

import json

import pytest
from helpers.running import flip

from experiments.common import rows

ROWS = [{"key": "a", "seconds": 0.1 + 0.2, "ran": True}, {"key": "b", "error": "ü\n"}, {"key": "c", "list": [1, None]}]


@pytest.fixture
def file(tmp_path):
    for row in ROWS:
        rows.add(tmp_path / "rows.jsonl", row)
    return tmp_path / "rows.jsonl"


def test_what_was_written_is_read(file, capsys):
    assert rows.read(file) == ROWS
    assert rows.read(file.with_name("none")) == []
    assert capsys.readouterr().err == ""


def test_any_bit(file, capsys):
    """Of the middle row: it is left out, or, where the end of a line is gone, the one beside it too."""
    content = file.read_bytes()
    first = content.index(b"\n") + 1
    for place in range(first, content.index(b"\n", first) + 1):
        flip(file, place, place % 8)
        found = rows.read(file)
        assert found in ([ROWS[0], ROWS[2]], [ROWS[0]]), place
        assert "damaged and measured again" in capsys.readouterr().err
        file.write_bytes(content)


@pytest.mark.parametrize("content", [b"", b"null\n[]\n", b"\xff\n", b"[" * 10**5])
def test_what_is_no_row(file, content):
    file.write_bytes(content)
    assert rows.read(file) == []


def test_rows_of_an_older_version_are_measured_again(file, capsys):
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert rows.read(file) == []
    assert capsys.readouterr().err == f"{file}: 3 rows are damaged and measured again\n"
