"""Plots leave the settings of a program that draws its own as they are."""

import os
import pkgutil
import subprocess
import sys

import pytest
from helpers.imports import third_party_imports

from rnn_jax import plotting
from rnn_jax.plotting import style

PROGRAM = """
import importlib, pkgutil, sys
from pathlib import Path
import matplotlib
before = matplotlib.rcParams.copy()
import rnn_jax.plotting
names = [module.name for module in pkgutil.iter_modules(rnn_jax.plotting.__path__)]
modules = {name: importlib.import_module(f"rnn_jax.plotting.{name}") for name in names}
print(*sorted(modules), "matplotlib.pyplot" in sys.modules)
modules["training"].error_curves(Path(sys.argv[1]), {"rnn": [2.0, 1.0]}, {"persistence": 0.5}, 10)
changed = [name for name, value in matplotlib.rcParams.copy().items() if value != before[name]]
print("matplotlib.pyplot" in sys.modules, matplotlib.get_backend(), *changed)
"""


def test_nothing_is_switched(tmp_path):
    """In a program with another back end: what is imported and drawn neither takes it nor loads `pyplot`."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "errors.png")]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "MPLBACKEND": "svg"})
    imported, drawn = ran.stdout.splitlines()
    files = "forecast forecast_errors gradients language long_sequences memory_tasks parallel runs style text training"
    assert imported == f"{files} False"
    assert drawn == "False svg"
    assert (tmp_path / "errors.png").read_bytes()[:4] == b"\x89PNG"


def test_matplotlib_comes_with_the_first_figure():
    """Not with the plots' modules: who trains before would wait for it."""
    modules = [f"rnn_jax.plotting.{module.name}" for module in pkgutil.iter_modules(plotting.__path__)]
    assert "matplotlib" in third_party_imports("rnn_jax.plotting.style", "matplotlib.figure"), "it is not noticed"
    assert "matplotlib" not in third_party_imports(*modules)


def test_style_is_that_of_the_figure_alone(tmp_path, figures):
    with style.rc_context(style.STYLE):
        figure, (above, below) = style.subplots(2, figsize=(4, 3), sharex=True)
        assert figure.dpi == style.STYLE["figure.dpi"]
        assert above.get_shared_x_axes().joined(above, below)
        style.save(figure, tmp_path / "a" / "b" / "c.png")
    assert figures == [figure]
    assert style.subplots(figsize=(4, 3))[0].dpi != style.STYLE["figure.dpi"]


def test_save_needs_a_folder(tmp_path):
    (tmp_path / "file").write_text("in the way")
    figure, _ = style.subplots(figsize=(4, 3))
    with pytest.raises(OSError, match=r"exists|directory"):
        style.save(figure, tmp_path / "file" / "c.png")
