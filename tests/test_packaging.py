"""What a wheel holds, what it asks for, and that its command runs where a user has folders of the same names."""

import email
import email.message
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

import rnn_jax
from experiments import EXPERIMENTS, PACKAGES

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BUILT_FROM = (
    "rnn_jax",
    "experiments",
    "benchmarks",
    "rnn_jax_command.py",
    "pyproject.toml",
    "setup.py",
    "README.md",
    "LICENSE",
)

NAMES = {"absl-py": "absl", "orbax-checkpoint": "orbax", "scikit-learn": "sklearn"}
"""What one imports of a distribution, where that is no spelling of its name."""


def names(requirements: list[str]) -> set[str]:
    """Of distributions, without versions and markers."""
    return {re.match(r"[\w.-]+", requirement)[0].lower() for requirement in requirements}


def imported(requirements: list[str]) -> set[str]:
    return {NAMES.get(name, name.replace("-", "_")) for name in names(requirements)}


class Wheel(NamedTuple):
    """A wheel of this tree.

    Attributes:
        folder: where it is unpacked.
        files: what it holds, with `/`.
        about: its METADATA.
    """

    folder: Path
    files: set[str]
    about: email.message.Message


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, as building leaves files behind; among its packages one that was made a moment ago."""
    pytest.importorskip("setuptools", minversion="77")
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for each in BUILT_FROM:
        if (ROOT / each).is_dir():
            shutil.copytree(ROOT / each, copy / each, ignore=shutil.ignore_patterns("__pycache__", "_programs"))
        else:
            shutil.copy(ROOT / each, copy / each)
    (copy / "experiments" / "parity").mkdir()
    (copy / "experiments" / "parity" / "__init__.py").touch()
    code = f"from setuptools import build_meta\nprint('built', build_meta.build_wheel({str(out)!r}))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    [file] = out.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(out / "site")
        [about] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Wheel(out / "site", set(archive.namelist()), email.message_from_bytes(archive.read(about)))


def test_nothing_but_the_library_and_its_command_lies_on_top(wheel):
    information = f"rnn_jax-{rnn_jax.__version__}.dist-info"
    assert {name.split("/")[0] for name in wheel.files} == {"rnn_jax", "rnn_jax_command.py", information}
    assert f"{information}/licenses/LICENSE" in wheel.files


def test_everything_is_in_the_wheel(wheel):
    """Every Python file of the library and of the programs, the C++ sources, and the mark that says: typed."""
    wanted = {
        path.relative_to(ROOT).as_posix()
        for top, suffixes in (
            ("rnn_jax", (".py", ".h", ".cc", ".typed")),
            ("experiments", (".py", ".css", ".js")),
            ("benchmarks", ".py"),
        )
        for path in (ROOT / top).rglob("*")
        if path.name.endswith(suffixes) and "_programs" not in path.parts
    }
    assert {"rnn_jax/py.typed", "rnn_jax/backends/native/native.cc", "experiments/forecast/task.py"} <= wanted
    wanted = {name if name.startswith("rnn_jax/") else f"rnn_jax/_programs/{name}" for name in wanted}
    there = {name for name in wheel.files if name.startswith("rnn_jax/")}
    assert there == wanted | {"rnn_jax/_programs/experiments/parity/__init__.py"}


def test_its_metadata(wheel):
    assert wheel.about["Version"] == rnn_jax.__version__
    assert wheel.about["License-Expression"] == "Apache-2.0"
    always = [each for each in wheel.about.get_all("Requires-Dist") if "extra ==" not in each]
    assert names(always) == {"jax", "flax", "optax", "numpy"}


def test_the_licence():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_version_is_written_once():
    """In the library, where a clone that is not installed has it too."""
    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", rnn_jax.__version__)


def test_extras():
    """What all experiments need comes with their extra and not with the core; tests and benchmarks take that extra."""
    extras = PROJECT["optional-dependencies"]
    assert set(PACKAGES) <= imported(extras["experiments"])
    assert imported(PROJECT["dependencies"]).isdisjoint(imported(extras["experiments"]))
    for extra, other in {"test": "experiments", "bench": "experiments", "peers": "bench"}.items():
        assert f"rnn_jax[{other}]" in extras[extra]


def command(wheel, folder, *arguments, missing=(), then=""):
    """What `rnn-jax` calls, from the unpacked wheel, in a folder, without the packages `missing`; `then` some code."""
    module, _, function = PROJECT["scripts"]["rnn-jax"].partition(":")
    code = f"import sys\nsys.path.insert(0, {str(wheel.folder)!r})\n"
    code += "".join(f"sys.modules[{name!r}] = None\n" for name in missing)
    code += f"from {module} import {function}\nstatus = {function}()\n{then}\nsys.exit(status)"
    run = [sys.executable, "-c", code, *arguments]
    return subprocess.run(run, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def at_work(tmp_path):
    """A user's folder with an `experiments` of its own."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").write_text("raise ImportError('the wrong one')\n")
    return tmp_path


def test_the_command_lists_the_experiments(wheel, at_work):
    """At once, as `launch.py` does; and before JAX and NumPy are loaded, for which there is a setting to make."""
    ran = command(wheel, at_work, then="assert {'jax', 'numpy'}.isdisjoint(sys.modules), 'loaded'")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("rnn-jax NAME [--flag=value ...]")
    assert re.findall(r"^  (\w+) ", ran.stdout, re.M) == list(EXPERIMENTS)


def test_the_command_hands_the_flags_on_and_names_itself_in_help(wheel, at_work):
    ran = command(wheel, at_work, "forecast", "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("rnn-jax forecast [--flag=value ...]\n")
    assert "    rnn-jax forecast --dataset=szeged" in ran.stdout
    assert "launch.py" not in ran.stdout


def test_the_command_says_what_to_install(wheel, at_work):
    ran = command(wheel, at_work, "forecast", missing=("pandas", "tqdm"))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == 'error: rnn-jax forecast needs pandas, tqdm: pip install "rnn_jax[experiments]"\n'


@pytest.mark.parametrize("module", ["experiments.long_sequences.measure", "benchmarks.turns"])
def test_a_process_of_its_own_starts_where_the_programs_lie(module):
    """With `-m` it finds them there, and nowhere else where they are inside an installed library."""
    root = importlib.import_module(module).ROOT
    assert (root / "experiments" / "__init__.py").exists()
    assert (root / "benchmarks" / "__init__.py").exists()
