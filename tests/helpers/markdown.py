"""Markdown pages of the project, and what they point to."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = ("build", "dist", "runs")
FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.M)


class Link(NamedTuple):
    """`[text](target)`."""

    text: str
    target: str


def pages() -> list[Path]:
    """Every Markdown file of the project."""
    found = sorted(ROOT.rglob("*.md"))
    return [path for path in found if not any(_passed_over(part) for part in path.relative_to(ROOT).parts[:-1])]


def _passed_over(folder: str) -> bool:
    return folder.startswith(".") or folder in NOT_OURS


def without_code(text: str) -> str:
    """The page without its blocks of code."""
    return FENCE.sub("", text)


def links(text: str) -> Iterator[Link]:
    """The links and pictures of a page, those inside code left out."""
    for found in LINK.finditer(SPAN.sub(lambda span: span[0].replace("](", "] ("), without_code(text))):
        yield Link(found["text"], found["target"])


def spans(text: str) -> list[str]:
    """The pieces of inline code; in a table a bar has a backslash before it."""
    return [span.replace("\\|", "|") for span in SPAN.findall(without_code(text))]


def anchors(text: str) -> set[str]:
    """The names of the headings, as links have them.

    >>> sorted(anchors("# The LSTM's update\\n## 2. A `gate`, two"))
    ['2-a-gate-two', 'the-lstms-update']
    """
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in HEADING.findall(without_code(text))}


def tables(text: str) -> Iterator[list[list[str]]]:
    """The tables of a page, heads and rules left out: rows of cells."""
    for block in re.findall(r"(?:^\|.*\|\n)+", without_code(text) + "\n", re.M):
        lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines()]
        yield [[cell.strip() for cell in line] for line in lines[2:]]
