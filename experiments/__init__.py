"""Experiments: a file or a folder each, and in `common` what they share. Here the list, and launching from it."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments import process

# What Python has there while it looks for the module to run: `python -m experiments.NAME` begins here.
if sys.argv[:1] == ["-m"]:
    process.prepare()

# Before NumPy and JAX load it: OpenBLAS splits a QR decomposition of 128 x 128 over all cores, and where another
# process keeps one of them busy its threads wait for each other: 590 ms measured instead of 0.35. Nothing here is large
# enough to gain from more than one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


class Entry(NamedTuple):
    """A row of the list: the module with `EXPERIMENT`, and what that does, in a phrase."""

    module: str
    about: str


EXPERIMENTS = {
    "forecast": Entry(
        "experiments.forecast.__main__", "forecast one or many series, against persistence, lines and trees"
    ),
    "imdb": Entry("experiments.imdb", "classify film reviews, against a linear classifier of word n-grams"),
    "ntc_scv": Entry("experiments.ntc_scv", "the same for Vietnamese restaurant reviews"),
    "language_model": Entry(
        "experiments.language_model.__main__",
        "predict the next character, word or subword, against n-grams; write texts",
    ),
    "vanishing": Entry("experiments.vanishing.__main__", "where the gradient goes, by cell, initialization and length"),
    "memory": Entry("experiments.memory.__main__", "learn what takes a long memory: adding, copying, MNIST by pixels"),
    "spelled_out": Entry("experiments.spelled_out", "train with nothing but the hand-derived gradient"),
    "gradcheck": Entry("experiments.gradcheck", "hand-derived, automatic and finite-difference gradients, every cell"),
    "long_sequences": Entry("experiments.long_sequences.__main__", "what gradients through a million steps cost"),
    "parallel": Entry("experiments.parallel.__main__", "whether all steps of a recurrence at once would pay"),
    "sweep": Entry("experiments.sweep.__main__", "run one of these at many points: a grid, random or Optuna's search"),
    "report": Entry("experiments.report.__main__", "compare many runs: tables with tests, plots, a page"),
    "benchmark": Entry("benchmarks.layer", "time a layer against PyTorch, Flax, Equinox, Haiku and Keras"),
}
"""By the names that one launches."""

PACKAGES = ("absl", "matplotlib", "orbax", "pandas", "tabulate", "tqdm")
"""What all experiments may import; a package that only some of them take is looked for when it is used."""


def launchable(name: str) -> Any:
    """The `experiments.common.command.Experiment` of that name; None where there is none."""
    return importlib.import_module(EXPERIMENTS[name].module).EXPERIMENT if name in EXPERIMENTS else None


def main(arguments: Sequence[str], program: str = "python launch.py") -> int:
    """Runs the named experiment, or prints the list.

    Args:
        arguments: the name, and its flags.
        program: how this was started, as help names it.

    Returns: the exit status; 2 for an unknown name and where packages are missing, with a line on stderr that says what
        to do.
    """
    if not arguments or arguments[0] in ("--help", "-h"):
        print(f"{program} NAME [--flag=value ...]    (NAME --help lists its flags)\n")
        for name, entry in EXPERIMENTS.items():
            print(f"  {name:<14} {entry.about}")
        return 0
    name, *rest = arguments
    if name not in EXPERIMENTS:
        print(f"error: no experiment called {name!r}: take one of {', '.join(EXPERIMENTS)}", file=sys.stderr)
        return 2
    from rnn_jax.extras import need  # which imports JAX: the list comes without it

    try:
        need(f"{program} {name}", *PACKAGES)
    except ModuleNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return launchable(name).main(rest, program)
