"""From `--runs` to folders: names, patterns, and folders of runs."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from experiments.common.flags import UsageError

LEFT_BY_A_RUN = ("flags.txt", "results.json", "metrics.jsonl")
"""A folder with one of these is taken for a run, whatever state it is in."""
POINTS = "points"
"""The folder, in that of a sweep, with its runs."""


def find(patterns: Sequence[str]) -> list[Path]:
    """The folders that the patterns name, each once, in the order of the patterns and then of their names.

    A folder that is no run stands for the runs in it, one with `points/`, that of a sweep, for those there. What exists
    under the very name is no pattern: a name may hold brackets.

    Raises: `UsageError` for a pattern that no folder fits.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        path = os.path.expanduser(pattern)
        names = [path] if os.path.exists(path) else sorted(glob.glob(path, recursive=True))
        folders = [Path(name) for name in names if os.path.isdir(name)]
        if not folders:
            raise UsageError(
                f"--runs={pattern}: no folder matches; quote the pattern and write it as from {os.getcwd()}"
            )
        for folder in folders:
            for each in _runs_in(folder):
                found.setdefault(each.resolve(), each)
    return [folder for folder in found.values() if not _is_report(folder)]


def _is_run(folder: Path) -> bool:
    return any(os.path.exists(folder / name) for name in LEFT_BY_A_RUN)


def _is_report(folder: Path) -> bool:
    """One of ours, which lies beside the runs."""
    return not _is_run(folder) and all(os.path.exists(folder / name) for name in ("index.html", "runs.csv"))


def _runs_in(folder: Path) -> list[Path]:
    points = folder / POINTS
    if _is_run(folder) and not points.is_dir():
        return [folder]
    try:
        children = sorted(each for each in (points if points.is_dir() else folder).iterdir() if each.is_dir())
    except OSError:  # its reader says why
        return [folder]
    # A point of a sweep without a file has not begun, and is listed as such; elsewhere any folder may lie about.
    return (children if points.is_dir() else [each for each in children if _is_run(each)]) or [folder]


def common_parent(folders: Sequence[Path]) -> Path:
    """The folder that all of them lie in; of the points of a sweep, that of the sweep."""
    parent = Path(os.path.commonpath([each.resolve().parent for each in folders]))
    return parent.parent if parent.name == POINTS else parent
