"""`rnn-jax NAME --flag=value`, the command of an installation: what `python launch.py` does in a checkout.

A wheel carries the programs `experiments` and `benchmarks` inside the library, in `rnn_jax/_programs`: on top of
site-packages they would hide a user's own folders of these names. A checkout has them beside the library.

This file lies beside the library too, under a name that is nobody else's: to import anything of the library loads JAX
and NumPy, and `experiments` has a setting to make before that.
"""

import importlib
import importlib.util
import sys
from pathlib import Path


def programs() -> Path:
    """The folder with `experiments` and `benchmarks`, found without importing the library."""
    spec = importlib.util.find_spec("rnn_jax")
    assert spec is not None, "installed with rnn_jax"
    assert spec.origin is not None, "a package with an __init__.py"
    library = Path(spec.origin).resolve().parent
    carried = library / "_programs"
    return carried if carried.is_dir() else library.parent


def main() -> int:
    """Runs the experiment that the command line names, or lists them; returns the exit status."""
    sys.path.insert(0, str(programs()))  # ahead of an `experiments` that Python would find elsewhere
    # By name, as a wheel has it where no linter and no type checker looks.
    importlib.import_module("experiments.process").prepare()
    return importlib.import_module("experiments").main(sys.argv[1:], "rnn-jax")
