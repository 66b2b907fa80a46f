"""docs/adding.md, followed to the letter on a copy of the project: edits made, commands run, files counted."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
COPIED = ("rnn_jax", "experiments", "benchmarks", "tests", "launch.py", "pyproject.toml")

SECTION = re.compile(r"^## (.+)$", re.M)
EDIT = re.compile(r"^`([\w/.]+)`(?:, before `{1,2}(.+?)`{1,2})?\n\n```python\n(.*?)^```", re.M | re.S)
COMMANDS = re.compile(r"^```bash\n(.*?)^```", re.M | re.S)


# One process for the commands of a section, since JAX and what else it takes take seconds to import.
ONE_AFTER_ANOTHER = """
import runpy, shlex, sys
for command in sys.argv[1:]:
    python, *sys.argv = shlex.split(command)
    assert python == "python", command
    try:
        if sys.argv[0] == "-m":
            sys.argv = sys.argv[1:]
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as ended:
        if ended.code:
            sys.exit(f"{command}: ended with status {ended.code}")
"""


class Part(NamedTuple):
    """A section of the page.

    Attributes:
        title: with the number of files that it promises.
        edits: file, the line to put it before (None: a new file), and what.
        commands: to run when all edits are made.
    """

    title: str
    edits: list[tuple[str, str | None, str]]
    commands: list[str]


def parts() -> list[Part]:
    _, *pieces = SECTION.split(PAGE)
    found = []
    for title, text in zip(pieces[::2], pieces[1::2], strict=True):
        edits = [(file, before or None, code) for file, before, code in EDIT.findall(text)]
        commands = [line for block in COMMANDS.findall(text) for line in block.splitlines()]
        found.append(Part(title, edits, commands))
    return found


PARTS = {part.title.split(":")[0]: part for part in parts()}


def test_every_section_is_read():
    """No edit is passed over for its form: each block of code is one, or commands."""
    assert set(PARTS) == {"A cell", "A cell of your own", "A data set", "A training experiment", "A back end"}
    blocks = PAGE.count("```") // 2
    assert blocks == sum(len(part.edits) for part in PARTS.values()) + len(COMMANDS.findall(PAGE))


@pytest.mark.parametrize("name", PARTS)
def test_as_many_files_as_it_says(name):
    promised = sum(int(number) for number in re.findall(r"\b(\d+) (?:files|more)", PARTS[name].title))
    assert len({file for file, _, _ in PARTS[name].edits}) == promised


def test_a_training_experiment_is_short():
    lines = sum(code.count("\n") for _, _, code in PARTS["A training experiment"].edits)
    assert lines < 200


@pytest.mark.parametrize("name", PARTS)
def test_followed_to_the_letter(tmp_path, name):
    for each in COPIED:
        source = ROOT / each
        if source.is_dir():
            shutil.copytree(source, tmp_path / each, ignore=shutil.ignore_patterns("__pycache__", "raw"))
        else:
            shutil.copy(source, tmp_path / each)
    for file, before, code in PARTS[name].edits:
        path = tmp_path / file
        if before is None:
            assert not path.exists(), f"{file} is no new file"
            path.parent.mkdir(exist_ok=True)
            path.write_text(code, encoding="utf-8")
        else:
            text = path.read_text(encoding="utf-8")
            assert text.count(f"\n{before}") == 1, f"{file} has no single line {before!r}"
            path.write_text(text.replace(f"\n{before}", f"\n{code}{before}"), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    commands = [sys.executable, "-c", ONE_AFTER_ANOTHER, *PARTS[name].commands]
    ran = subprocess.run(commands, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"
