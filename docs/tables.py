"""Tables and pictures of the documentation, made from the files of measured figures.

    python -m docs.tables             # writes both, after one run of `launch.py forecast` for its picture
    python -m docs.tables --check     # names what differs from the files, and exits with status 1 if anything does

A table stands in a page between two comments, and what lies between them is written by the function of that name:

    <!-- table: szeged -->
    <!-- end -->

The functions are in `docs.of_predictions`, `docs.of_language`, `docs.of_gradients` and `docs.of_benchmarks`, the
pictures in `docs.pictures`, the figures in `docs/results/*.json` and `benchmarks/raw/*.json`.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from docs import of_benchmarks, of_gradients, of_language, of_predictions, pictures
from docs.figures import Files
from rnn_jax.files import write_whole

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "experiments/README.md", "benchmarks/README.md", "docs/errata.md")
FOLDERS = ("docs/results", "benchmarks/raw")

TABLES: dict[str, Callable[[Files], str]] = {
    **of_predictions.TABLES,
    **of_gradients.TABLES,
    **of_language.TABLES,
    **of_benchmarks.TABLES,
}
"""By name, what makes Markdown of the parsed files."""

BLOCK = re.compile(r"<!-- table: (\w+) -->\n(.*?)<!-- end -->", re.DOTALL)


def read_files() -> dict[str, Any]:
    """The files of measured figures, parsed, by name without ".json"."""
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.json"))]
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def filled(page: str, files: Files) -> str:
    """A page with every table as the files have it.

    Args:
        page: its Markdown.
        files: of `read_files`.

    Raises: `KeyError` for a table that no function makes, or a file that is not there.
    """
    return BLOCK.sub(lambda block: f"<!-- table: {block[1]} -->\n\n{TABLES[block[1]](files)}\n\n<!-- end -->", page)


def differing(pages: Mapping[str, str], files: Files) -> list[str]:
    """The tables that are not as the files have them, as "page: table", and those that stand in no page.

    Args:
        pages: their Markdown by name.
        files: of `read_files`.
    """
    found, seen = [], set()
    for name, page in pages.items():
        for block in BLOCK.finditer(page):
            seen.add(block[1])
            if filled(block[0], files) != block[0]:
                found.append(f"{name}: {block[1]}")
    return found + [f"in no page: {name}" for name in TABLES if name not in seen]


def read_pages() -> dict[str, str]:
    """The pages with tables, by name."""
    return {name: (ROOT / name).read_text(encoding="utf-8") for name in PAGES}


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or checks; returns the exit status."""
    parser = argparse.ArgumentParser("python -m docs.tables", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, name what differs")
    parser.add_argument("--run", type=Path, help="a finished run of launch.py forecast; without it one is made")
    options = parser.parse_args(arguments)
    files = read_files()
    if options.check:
        names = differing(read_pages(), files) + pictures.differing(files)
        for name in names:
            print(f"differs: {name} (python -m docs.tables writes it)", file=sys.stderr)
        return int(bool(names))
    for name, page in read_pages().items():
        write_whole(ROOT / name, filled(page, files))
    pictures.draw_all(files, options.run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
