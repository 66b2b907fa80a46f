"""Files that are written whole or not at all, and fingerprints of what they hold."""

import hashlib
import os
from pathlib import Path

import numpy as np


def write_whole(file: Path, content: str | bytes) -> None:
    """Writes text, as UTF-8, or bytes in place of what is there: a reader finds the old file or the new, never half.

    Raises: `OSError` where the folder is missing or cannot be written; what was there stays.
    """
    partial = file.with_name(f"{file.name}.partial")
    partial.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    os.replace(partial, file)


def append_line(file: Path, line: str) -> None:
    """Adds a line whole: a process that is killed in the middle of it leaves no half of it."""
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    write_whole(file, f"{before}{line}\n")


def fingerprint(*parts: str | bytes | np.ndarray) -> str:
    """SHA-256 of texts, bytes and arrays, one after another, as hexadecimal digits: the same for the same parts.

    Of an array count its type, its shape and its bytes. Texts and bytes run together: where their borders matter the
    caller has to say their lengths.

    >>> fingerprint("a", b"b") == fingerprint("ab"), fingerprint(np.zeros(2)) == fingerprint(np.zeros((1, 2)))
    (True, False)
    """
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            sha.update(f"{part.dtype}{part.shape}".encode())
            sha.update(np.ascontiguousarray(part).tobytes())
        else:
            sha.update(part.encode() if isinstance(part, str) else part)
    return sha.hexdigest()
