"""`rnn-jax NAME --flag=value`, or `python -m rnn_jax`: what `python launch.py` does, from wherever one stands.

A wheel carries the programs `experiments` and `benchmarks` inside the library, in `_programs`: on top of
site-packages they would hide a user's own folders of these names. A checkout has them beside the library.
"""

import importlib
import sys
from pathlib import Path


def programs() -> Path:
    """The folder with `experiments` and `benchmarks`."""
    library = Path(__file__).resolve().parent
    carried = library / "_programs"
    return carried if carried.is_dir() else library.parent


def main() -> int:
    """Runs the experiment that the command line names, or lists them; returns the exit status."""
    sys.path.insert(0, str(programs()))  # ahead of an `experiments` in the folder where one stands
    # By name: the library imports no experiment.
    return importlib.import_module("experiments").main(sys.argv[1:], "rnn-jax")


if __name__ == "__main__":
    sys.exit(main())
