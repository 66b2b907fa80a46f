"""A report over runs of all kinds, made once for the tests that look at it."""

import pytest
from helpers.run_folders import leave
from helpers.running import run

from experiments.report.__main__ import EXPERIMENT

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
"""In a folder's name but for the slash."""


@pytest.fixture(scope="package")
def runs(tmp_path_factory):
    """A folder with runs of all kinds."""
    folder = tmp_path_factory.mktemp("work") / "runs"
    others = {"persistence": [0.9]}
    for at, (cell, size) in enumerate([("lstm", 8), ("lstm", 16), ("lstm", 128), ("gru", 8), ("gru", 16)]):
        mse = [0.5 - at / 10, 0.52 - at / 10, 0.49 - at / 10]
        leave(folder / f"{cell}_{size}", mse, cell=cell, hidden_size=size, baselines=others, pictures=True)
    leave(folder / "open", hidden_size=999, steps=3)
    leave(folder / "damaged", [0.5]).joinpath("results.json").write_text("{")
    leave(folder / EVIL.replace("/", "_"), [0.7], cell=EVIL, baselines={EVIL: [1.0]}, pictures=True)
    (folder / "foreign").mkdir()
    (folder / "lstm_8" / "plots" / "no_picture.png").write_text(EVIL)
    return folder


@pytest.fixture(scope="package")
def report(runs):
    """The page, and what was printed."""
    ran = run(EXPERIMENT.main, f"--runs={runs}/*", "--baseline=persistence")
    assert (ran.status, ran.err) == (0, "")
    return runs / "report", ran.out
