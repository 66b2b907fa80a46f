"""docs/export.md, followed to the letter: what it writes is read by a process that never imports this library."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w.]+)`\n\n```python\n(.*?)^```", PAGE, re.M | re.S))


def run(name, folder):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, name],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_same_scores_without_the_library(tmp_path):
    pytest.importorskip("flatbuffers")
    assert re.search(r"^```bash\npython write.py\npython read.py\n```", PAGE, re.M)
    assert 'assert "rnn_jax" not in sys.modules' in FILES["read.py"]
    for name, code in FILES.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    run("write.py", tmp_path)
    assert run("read.py", tmp_path).count("largest difference") == 2
