"""docs/reading.md: equations stand in their files, names are there, tests are collected, commands are understood."""

import ast
import importlib
import re
import shlex

import pytest
from helpers.markdown import ROOT, SPAN, links, spans, tables

from experiments import EXPERIMENTS, launchable
from experiments.common.flags import parse_given

PAGE = ROOT / "docs" / "reading.md"
ROWS = [row for table in tables(PAGE.read_text(encoding="utf-8")) for row in table]
ENTRY = re.compile(r"\[[^\]]*\]\((?P<file>[^)]+)\)(?P<names>(?:,? `\w+`)*)")


def entries(cell):
    """The files that a cell links to, each with the names behind it."""
    for found in ENTRY.finditer(cell):
        yield (PAGE.parent / found["file"]).resolve(), SPAN.findall(found["names"])


def words(text):
    return " ".join(text.split())


def test_every_row_has_four_cells():
    assert len(ROWS) > 30
    assert {len(row) for row in ROWS} == {4}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: words(row[0])[:60])
def test_an_equation_stands_in_its_file(row):
    texts = [words(path.read_text(encoding="utf-8")) for path, _ in entries(row[1])]
    assert spans(row[0]), "no equation"
    for equation in spans(row[0]):
        assert any(words(equation) in text for text in texts), f"{equation} is in none of {row[1]}"


def test_names_are_in_their_files():
    for _, where, *_ in ROWS:
        for path, names in entries(where):
            assert names or path.suffix != ".py", f"{path.name}: say what to look for"
            module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
            for name in names:
                assert getattr(module, name).__module__ == module.__name__, f"{name} is not of {path}"


def test_tests_are_collected():
    assert all(any(entries(row[2])) for row in ROWS)
    for row in ROWS:
        for path, names in entries(row[2]):
            assert path.is_relative_to(ROOT / "tests"), path
            assert path.name.startswith("test_"), path
            assert set(names) <= collected(path), f"{path} has no test of that name"


def collected(path):
    """The functions that pytest takes for tests: `test_*` of the module, and of classes called `Test*`."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    classes = [node for node in body if isinstance(node, ast.ClassDef) and node.name.startswith("Test")]
    nodes = [*body, *(node for each in classes for node in each.body)]
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize("command", sorted({span for row in ROWS for span in spans(row[3])}))
def test_commands_are_understood(command):
    python, *rest = shlex.split(command)
    assert python == "python"
    if rest[0] == "launch.py":
        assert rest[1] in EXPERIMENTS
        config, given = parse_given(launchable(rest[1]).config, rest[2:])
        config.check(given)
    else:
        assert rest[0] == "-m"
        paths = [word for word in rest[2:] if "/" in word]
        assert rest[1] == "pytest" or importlib.util.find_spec(rest[1]) is not None
        assert all((ROOT / path).exists() for path in paths)


def test_every_row_has_a_command_and_links():
    for row in ROWS:
        assert len(spans(row[3])) == 1
        assert list(links(row[1]))
        assert list(links(row[2]))
