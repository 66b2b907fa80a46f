"""The list of experiments, and what it takes to ask one of them for help."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.running import run

import launch
from experiments import EXPERIMENTS

REPOSITORY = Path(launch.__file__).parent

HEAVY = {
    "flax", "matplotlib", "optax", "orbax", "pandas", "scipy", "sklearn", "tabulate", "tensorboardX",
    "tensorflow_datasets", "tokenizers", "torch", "tqdm",
}  # fmt: skip
"""What reads data, trains or draws: nobody who asks for help waits for it."""

HELP = """
import contextlib, importlib, io, json, runpy, sys

def asked(name, module):
    for each in [each for each in sys.modules if each.partition(".")[0] in ("launch", "experiments", "rnn_jax")]:
        del sys.modules[each]  # each experiment is the first that is asked; JAX alone is imported once
    launch = importlib.import_module("launch")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = launch.main([name, "--help"])
    packages = sorted({each.partition(".")[0] for each in sys.modules})

    sys.argv[1:] = ["--help"]
    as_module = io.StringIO()
    with contextlib.redirect_stdout(as_module), contextlib.suppress(SystemExit):
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    return status, out.getvalue(), as_module.getvalue(), packages

print(json.dumps({name: asked(name, module) for name, module in json.loads(sys.argv[1]).items()}))
"""


def program(*arguments):
    command = [sys.executable, "-W", "ignore::RuntimeWarning", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def helps():
    """What each says by either command, and the packages that were then imported."""
    modules = {name: entry.module.removesuffix(".__main__") for name, entry in EXPERIMENTS.items()}
    assert all(module == f"experiments.{name}" for name, module in modules.items() if name != "benchmark")
    ran = program("-c", HELP, json.dumps(modules))
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_help(helps, name):
    """The same by either command, without the packages that the experiment itself takes."""
    status, out, as_module, packages = helps[name]
    assert status == 0
    assert out.startswith(f"python launch.py {name} [--flag=value ...]\n")
    assert as_module == out
    assert "jax" in packages, "nothing was imported: the test looks at the wrong place"
    assert HEAVY.intersection(packages) == set()


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_lists_the_experiments(arguments):
    ran = run(launch.main, *arguments)
    assert (ran.status, ran.err) == (0, "")
    for name, entry in EXPERIMENTS.items():
        assert f"  {name:<14} {entry.about}\n" in ran.out


@pytest.mark.parametrize("name", ["forecasts", "--lag=3", ""])
def test_unknown(name):
    message = run(launch.main, name).one_error()
    known = "forecast, imdb, ntc_scv, language_model, vanishing, memory, spelled_out, gradcheck, long_sequences"
    assert message == f"no experiment called {name!r}: take one of {known}, parallel, sweep, report, benchmark"


def test_hands_the_arguments_on():
    assert run(launch.main, "forecast", "--lag=0").one_error() == "--lag=0: must be at least 1"


def test_as_a_process():
    ran = program("launch.py", "forecast", "--hidden_size=0")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "error: --hidden_size=0: must be at least 1\n"


def test_the_list_comes_at_once():
    """Without importing JAX: who asks what there is does not wait."""
    ran = program("-c", "import sys, launch; launch.main([]); assert 'jax' not in sys.modules, 'jax imported'")
    assert ran.returncode == 0, ran.stderr
    assert "forecast" in ran.stdout
