"""The programs of examples/: each is short, runs as it stands, and holds the figure that it prints."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NEEDED = {"pytorch_and_back": "torch"}
"""What an example needs that the library does not."""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_is_short(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") < 60
    assert text.startswith('"""')
    assert "\nassert " in text


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path):
    if path.stem in NEEDED:
        pytest.importorskip(NEEDED[path.stem])
    # In 32 bits and with the compiler's defaults, as a reader runs it.
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"\d", ended.stdout.splitlines()[-1])


def test_the_readme_names_each():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert EXAMPLES
    assert [path.name for path in EXAMPLES if f"examples/{path.name}" not in readme] == []
