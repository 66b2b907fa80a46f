"""docs/api.md has every public name, as the source explains it."""

import doctest
import re

import pytest

from docs import api

MODULES = [f"rnn_jax.{short}".rstrip(".") for modules in api.PARTS.values() for short in modules]


def test_the_page_is_as_the_source_has_it(capsys):
    assert api.main(["--check"]) == 0, capsys.readouterr().err


def test_every_name_in_an_all_is_on_the_page():
    """Of every file of the library that lists its names: none is passed over, and it is under its own module."""
    page = api.PAGE.read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### ([\w.]+)\n(.*?)(?=^##|\Z)", page, re.M | re.S))
    assert list(sections) == MODULES
    for path in sorted((api.ROOT / "rnn_jax").rglob("*.py")):
        module = ".".join(path.relative_to(api.ROOT).with_suffix("").parts).removesuffix(".__init__")
        names = api.listed(module)
        if names is not None:
            assert set(names) == set(re.findall(r"^- `(\w+)`: .", sections[module], re.M)), module


def test_a_changed_sentence_is_noticed(monkeypatch, capsys):
    monkeypatch.setattr(api, "HEAD", "# Another head\n")
    assert api.main(["--check"]) == 1
    assert capsys.readouterr().err == "differs: docs/api.md (python -m docs.api writes it)\n"


def test_a_name_without_a_docstring_is_noticed():
    with pytest.raises(KeyError, match=r"rnn_jax\.cells\.no_such_name"):
        api.docstring("rnn_jax.cells", "no_such_name")


def test_examples():
    tested = doctest.testmod(api)
    assert tested.attempted
    assert not tested.failed
