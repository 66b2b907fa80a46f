"""Imports point one way, the core needs JAX and NumPy only, and every package says what is public."""

import ast
import importlib
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# What each part of the core may import from rnn_jax, besides itself.
BASE = {"types"}
CORE = {
    "types": set(),
    "initializers": BASE,
    "segments": BASE,
    "cells": BASE | {"initializers"},
    "controls": BASE | {"cells"},
    "sharding": BASE | {"controls"},
    "bptt": BASE | {"cells", "controls", "segments"},
    "backends": BASE | {"cells", "controls", "segments", "sharding", "bptt"},
    "unrolling": BASE | {"cells", "controls", "segments", "sharding", "backends"},
    "dropout": BASE,
    "compose": BASE | {"cells", "controls", "dropout", "unrolling"},
    "generate": BASE | {"cells", "controls"},
    "losses": BASE,
    "sampling": BASE,
    "neural_cache": BASE,
    "dynamic_evaluation": BASE,
    "diagnostics": BASE | {"cells", "controls", "segments", "bptt", "backends", "unrolling", "compose"},
}
# What the parts around the core may import from rnn_jax.
AROUND = {
    "extras": set(),
    "files": set(),
    "machine": set(),
    "metrics": {"extras"},
    "forecast_metrics": {"extras", "metrics"},
    "interval_metrics": {"extras", "forecast_metrics"},
    "conformal": set(),
    "importance": {"forecast_metrics"},
    "plotting": {"extras"},
    "ngrams": set(),
    "data": {"extras", "files"},
    "training": BASE | {"extras", "files", "machine", "data"},
    "models": set(CORE),
    "convert": BASE | {"cells", "compose"},
}


def files_of(part: str) -> list[Path]:
    folder = ROOT / "rnn_jax" / part
    return [path for path in (folder.with_suffix(".py"), *sorted(folder.rglob("*.py"))) if path.exists()]


def imports(source: str, package: tuple[str, ...]) -> set[str]:
    """Dotted names of everything a file of `package` imports, at its top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*start, *([node.module] if node.module else [])))
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def imports_of(path: Path) -> set[str]:
    return imports(path.read_text(encoding="utf-8"), path.relative_to(ROOT).parts[:-1])


def parts_of(names: set[str]) -> set[str]:
    """The parts of rnn_jax among dotted names: `rnn_jax.cells.lstm.init_params` counts as `cells`."""
    return {name.split(".")[1] for name in names if name.startswith("rnn_jax.")}


def test_imports_are_found():
    """The finder itself, on every form that an import has."""
    source = "import jax.numpy as jnp\nfrom rnn_jax.cells import lstm\nfrom rnn_jax import compose\n"
    source += "def f():\n    from . import gru\n    from ..segments import split\n"
    found = imports(source, ("rnn_jax", "cells"))
    assert found == {
        "jax.numpy",
        "rnn_jax.cells.lstm",
        "rnn_jax.compose",
        "rnn_jax.cells.gru",
        "rnn_jax.segments.split",
    }
    assert parts_of(found) == {"cells", "compose", "segments"}


def test_every_part_has_its_place():
    parts = {path.stem for path in (ROOT / "rnn_jax").iterdir() if path.suffix == ".py" or path.is_dir()}
    unknown = parts - set(CORE) - set(AROUND) - {"__init__", "__pycache__"}
    assert not unknown, f"say in {Path(__file__).name} what rnn_jax.{unknown} may import"


@pytest.mark.parametrize("part", CORE | AROUND)
def test_imports_point_one_way(part):
    assert files_of(part), f"there is no rnn_jax.{part}"
    for path in files_of(part):
        above = parts_of(imports_of(path)) - (CORE | AROUND)[part] - {part}
        assert not above, f"{path.relative_to(ROOT)} imports rnn_jax.{above}"


@pytest.mark.parametrize("part", CORE)
def test_the_core_needs_jax_and_numpy_only(part):
    allowed = {"jax", "numpy", "rnn_jax"} | sys.stdlib_module_names
    for path in files_of(part):
        others = {name.split(".")[0] for name in imports_of(path)} - allowed
        assert not others, f"{path.relative_to(ROOT)} imports {others}"


@pytest.mark.parametrize("part", ["models", "convert"])
def test_models_need_flax_besides(part):
    """What is installed without an extra; `to_onnx` takes another at its call, and says so."""
    allowed = {"jax", "numpy", "flax", "optax", "rnn_jax", "onnx"} | sys.stdlib_module_names
    for path in files_of(part):
        others = {name.split(".")[0] for name in imports_of(path)} - allowed
        assert not others, f"{path.relative_to(ROOT)} imports {others}"


@pytest.mark.parametrize(
    ("folder", "above"),
    [
        ("rnn_jax", {"experiments", "benchmarks", "launch", "rnn_jax_command"}),
        ("experiments", {"benchmarks", "launch", "rnn_jax_command"}),
    ],
)
def test_the_library_imports_no_experiment_and_these_no_benchmark(folder, above):
    for path in sorted((ROOT / folder).rglob("*.py")):
        wrong = {name for name in imports_of(path) if name.split(".")[0] in above}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


FACES = ("cells", "bptt", "backends", "diagnostics", "models", "ngrams", "convert")


@pytest.mark.parametrize("package", FACES)
def test_a_package_lists_and_explains_what_is_public(package):
    """Every public name exists, is explained at the top, and hides no file of the package behind it."""
    face = importlib.import_module(f"rnn_jax.{package}")
    for name in face.__all__:
        public = getattr(face, name)
        assert re.search(rf"`{name}\b", face.__doc__), f"rnn_jax.{package} does not say what {name} is"
        submodule = (ROOT / "rnn_jax" / package / f"{name}.py").exists()
        assert not submodule or isinstance(public, types.ModuleType), f"{name} is a function and a file"


def test_what_is_seldom_used_is_imported_when_it_is_used():
    code = "import sys, rnn_jax, rnn_jax.convert, rnn_jax.diagnostics\nprint(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = ended.stdout.split()
    assert "rnn_jax.backends.cudnn" in loaded
    late = ("jax.experimental.rnn", "jax.experimental.pallas", "flax", "torch", "optax", "matplotlib", "pandas")
    assert not set(late) & set(loaded)


def run_without(missing: list[str], imported: str) -> subprocess.CompletedProcess:
    code = f"import sys\nfor name in {missing!r}:\n    sys.modules[name] = None\nimport {imported}\n"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


# What comes with the extra `experiments` and with nothing that the core depends on.
EXTRA = [
    "chex", "dieboldmariano", "matplotlib", "pandas", "py3langid", "scoringrules", "sklearn", "tabulate",
    "tensorboardX", "tensorflow_datasets", "tokenizers", "torch", "tqdm",
]  # fmt: skip
IN_THE_CORE = [
    *CORE,
    "backends.native",
    "models",
    "ngrams",
    "convert",
    "files",
    "machine",
    "metrics",
    "forecast_metrics",
    "interval_metrics",
    "conformal",
    "importance",
    "data.tasks",
    "data.images",
]


@pytest.mark.parametrize(
    ("missing", "imported"),
    [
        (EXTRA, ", ".join(f"rnn_jax.{part}" for part in IN_THE_CORE)),
        (
            ["tensorflow_datasets", "tokenizers", "py3langid", "sklearn", "tensorboardX", "torch", "scoringrules"],
            "rnn_jax, rnn_jax.diagnostics, benchmarks",
        ),
        (["flax", "optax", "orbax", "chex", "pandas", "matplotlib", "absl"], "rnn_jax, rnn_jax.diagnostics"),
    ],
    ids=["extra", "optional", "all_but_jax"],
)
def test_imports_without_the_other_packages(missing, imported):
    ended = run_without(missing, imported)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("missing", "package"),
    [("matplotlib", "rnn_jax.plotting"), ("tqdm", "rnn_jax.training"), ("pandas", "rnn_jax.data.series")],
)
def test_a_package_says_what_to_install(missing, package):
    ended = run_without([missing], f"{package}.anything")
    last = ended.stderr.splitlines()[-1]
    assert last == f'ModuleNotFoundError: {package} needs {missing}: pip install "rnn_jax[experiments]"'


def test_a_missing_package_is_noticed():
    ended = run_without(["jax"], "rnn_jax")
    assert ended.returncode != 0
    assert "import of jax halted" in ended.stderr
