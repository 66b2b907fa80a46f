"""Imports point one way, and the core needs JAX and NumPy only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# What each part of the core may import from rnn_jax, besides itself.
BASE = {"types"}
CORE = {
    "types": set(),
    "initializers": BASE,
    "cells": BASE | {"initializers"},
    "sequence": BASE,
    "bptt": BASE | {"cells", "sequence"},
    "native": set(),
    "backends": BASE | {"cells", "sequence", "bptt", "native"},
    "unroll": BASE | {"cells", "sequence", "bptt", "backends"},
    "compose": BASE | {"cells", "sequence", "unroll"},
    "diagnostics": BASE | {"initializers", "cells", "sequence", "bptt", "backends", "unroll", "compose"},
}
ALL_OF_CORE = set(CORE) - BASE
MODELS = {"modules", "models", "classifiers"}
PLOTS = {"plotting", "plotting_text", "plotting_gradients", "plotting_memory", "plotting_long"}
RUNS = {"data", "training", "diagnostics", "flow", "projector"} | PLOTS
# What the parts around the core may not import from rnn_jax.
AROUND = {
    "data": ALL_OF_CORE | MODELS | RUNS - {"data"},
    "training": ALL_OF_CORE | MODELS | RUNS - {"training", "data"},
    "modules": {"models"} | RUNS,
    "models": {"classifiers"} | RUNS,
    "classifiers": RUNS,
    "pooling": MODELS | RUNS,
    "flow": RUNS - {"diagnostics", "flow"},
    "generate": RUNS,
    "losses": ALL_OF_CORE | MODELS | RUNS,
    "metrics": ALL_OF_CORE | MODELS | RUNS,
    "convert": MODELS | RUNS,
    "convert_flax": MODELS | RUNS,
    **{plot: MODELS | RUNS - {"plotting", plot} for plot in sorted(PLOTS)},
    "projector": MODELS | RUNS - {"projector"},
}


def files_of(part: str) -> list[Path]:
    folder = ROOT / "rnn_jax" / part
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


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
    source += "def f():\n    from . import gru\n    from ..sequence import split\n"
    found = imports(source, ("rnn_jax", "cells"))
    assert found == {
        "jax.numpy",
        "rnn_jax.cells.lstm",
        "rnn_jax.compose",
        "rnn_jax.cells.gru",
        "rnn_jax.sequence.split",
    }
    assert parts_of(found) == {"cells", "compose", "sequence"}


def test_every_part_has_its_place():
    parts = {path.stem for path in (ROOT / "rnn_jax").iterdir() if path.suffix == ".py" or path.is_dir()}
    unknown = parts - set(CORE) - set(AROUND) - {"__init__", "__pycache__"}
    assert not unknown, f"say in {Path(__file__).name} what rnn_jax.{unknown} may import"


@pytest.mark.parametrize("part", CORE)
def test_the_core_imports_what_is_below_it(part):
    assert files_of(part)
    for path in files_of(part):
        above = parts_of(imports_of(path)) - CORE[part] - {part}
        assert not above, f"{path.relative_to(ROOT)} imports rnn_jax.{above}"


@pytest.mark.parametrize("part", CORE)
def test_the_core_needs_jax_and_numpy_only(part):
    allowed = {"jax", "numpy", "rnn_jax"} | sys.stdlib_module_names
    for path in files_of(part):
        others = {name.split(".")[0] for name in imports_of(path)} - allowed
        assert not others, f"{path.relative_to(ROOT)} imports {others}"


@pytest.mark.parametrize("part", AROUND)
def test_what_surrounds_the_core_keeps_apart(part):
    for path in files_of(part):
        if path.exists():
            wrong = parts_of(imports_of(path)) & AROUND[part]
            assert not wrong, f"{path.relative_to(ROOT)} imports rnn_jax.{wrong}"


def test_the_library_imports_neither_experiments_nor_benchmarks():
    for path in sorted((ROOT / "rnn_jax").rglob("*.py")):
        wrong = {name for name in imports_of(path) if name.split(".")[0] in {"experiments", "benchmarks", "launch"}}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def run_without(missing: list[str], imported: str) -> subprocess.CompletedProcess:
    code = f"import sys\nfor name in {missing!r}:\n    sys.modules[name] = None\nimport {imported}\n"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("missing", "imported"),
    [
        (
            ["tensorflow_datasets", "tokenizers", "py3langid", "sklearn", "tensorboardX", "torch"],
            "rnn_jax, rnn_jax.diagnostics, benchmarks",
        ),
        (["flax", "optax", "orbax", "chex", "pandas", "matplotlib", "absl"], "rnn_jax, rnn_jax.diagnostics"),
    ],
    ids=["optional", "all_but_jax"],
)
def test_imports_without_the_other_packages(missing, imported):
    ended = run_without(missing, imported)
    assert ended.returncode == 0, ended.stderr


def test_a_missing_package_is_noticed():
    ended = run_without(["jax"], "rnn_jax")
    assert ended.returncode != 0
    assert "import of jax halted" in ended.stderr
