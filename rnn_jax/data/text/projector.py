"""Word vectors for the TensorFlow Embedding Projector: two files of tab-separated values."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

WORD = "word"
"""Name of the column of words, where there is more than one."""

# Tabs and line ends would shift what follows them; the others cannot be seen.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def write_projector(
    folder: str | os.PathLike[str],
    vectors: ArrayLike,
    words: Sequence[str],
    columns: Mapping[str, Sequence[Any]] | None = None,
) -> None:
    r"""Writes `vectors.tsv` and `metadata.tsv`, to be loaded at https://projector.tensorflow.org.

    A line of `vectors.tsv` is a vector, to six digits, without a header. A line of `metadata.tsv` is its word and its
    value in each of `columns`; a header names them, but only if there are columns: the projector takes the first line
    of a file without tabs for a word. Control characters are written as escapes (a tab as `\t`), and what is empty or
    blank in quotes, since the projector passes over blank lines and all later words would be off by one.

    Both files are written in full before one of them takes its place.

    Args:
        folder: where to write; made if it is not there.
        vectors: `[V, D]`, finite, D at least 2 (the projector takes no less).
        words: V words, one a vector.
        columns: name to V values each, of any type that prints: a count, a score, a class.

    Raises:
        ValueError: vectors that are not as above or lengths that differ, with the shapes, or columns that share a name
            with the words.
    """
    table = np.asarray(vectors)
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError(f"vectors must be [V, D] with D of 2 or more, got {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError(f"vectors {table.shape} must be finite")
    named: dict[str, Sequence[Any]] = {WORD: words}
    for name, values in (columns or {}).items():
        if name == WORD:
            raise ValueError(f"no column may be named {WORD!r}: that is the one of the words")
        named[name] = values
    for name, values in named.items():
        if len(values) != len(table):
            raise ValueError(f"vectors {table.shape} need as many values of {name!r}, got {len(values)}")

    lines = ["\t".join(map(_cell, row)) for row in zip(*named.values(), strict=True)]
    if columns:
        lines.insert(0, "\t".join(map(_cell, named)))
    _write_all(
        Path(folder),
        {
            "vectors.tsv": ("\t".join(f"{x:.6g}" for x in row) for row in table.tolist()),
            "metadata.tsv": lines,
        },
    )


def _cell(value: Any) -> str:
    text = CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), str(value))
    return text if text.strip() else f"'{text}'"


def _write_all(folder: Path, files: Mapping[str, Iterable[str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    partials = {name: folder / f"{name}.partial" for name in files}
    try:
        for name, lines in files.items():
            # Not the system's line ends: the projector splits at "\n" and would show "\r".
            with partials[name].open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(line + "\n" for line in lines)
        for name, partial in partials.items():
            os.replace(partial, folder / name)
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
