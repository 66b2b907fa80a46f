"""Rows of measurements, kept as they come: a file of JSON lines, each with the SHA-256 of what it says."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnn_jax.files import append_line, fingerprint

DIGEST = "digest"


def add(file: Path, row: Mapping[str, Any]) -> None:
    """Adds a row, whole or not at all. Raises `OSError` where it cannot be written."""
    append_line(file, json.dumps({**row, DIGEST: fingerprint(json.dumps(row))}))


def read(file: Path) -> list[dict[str, Any]]:
    """The rows of before, in order.

    Those that are damaged are left out, with a line on stderr, to be measured again; those of an older version, which
    have no digest, count as damaged.
    """
    if not os.path.lexists(file):
        return []
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = [row for row in map(_parsed, lines) if row is not None]
    if len(rows) < len(lines):
        print(f"{file}: {len(lines) - len(rows)} rows are damaged and measured again", file=sys.stderr)
    return rows


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or "key" not in row:
        return None
    digest = row.pop(DIGEST, None)
    return row if digest == fingerprint(json.dumps(row)) else None
