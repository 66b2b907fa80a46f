"""Experiments: a file or a folder each, and in `common` what they share."""

import importlib
import os
from typing import Any, NamedTuple

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
        "experiments.forecast.__main__", "forecast an hourly series, against persistence and linear models"
    ),
    "imdb": Entry("experiments.imdb", "classify film reviews, against a linear classifier of word n-grams"),
    "ntc_scv": Entry("experiments.ntc_scv", "the same for Vietnamese restaurant reviews"),
    "vanishing": Entry("experiments.vanishing.__main__", "where the gradient goes, by cell, initialization and length"),
    "memory": Entry("experiments.memory.__main__", "learn what takes a long memory: adding, copying, MNIST by pixels"),
    "spelled_out": Entry("experiments.spelled_out", "train with nothing but the hand-derived gradient"),
    "gradcheck": Entry("experiments.gradcheck", "hand-derived, automatic and finite-difference gradients, every cell"),
    "long_sequences": Entry("experiments.long_sequences.__main__", "what gradients through a million steps cost"),
    "benchmark": Entry("benchmarks.layer", "time a layer against PyTorch, Flax, Equinox, Haiku and Keras"),
}
"""By the names that one launches."""


def launchable(name: str) -> Any:
    """The `experiments.common.command.Experiment` of that name; None where there is none."""
    return importlib.import_module(EXPERIMENTS[name].module).EXPERIMENT if name in EXPERIMENTS else None
