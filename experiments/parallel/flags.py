"""The flags of the look at time in parallel."""

import inspect
from dataclasses import dataclass

from experiments.common.command import RunConfig
from experiments.common.flags import UsageError, flag
from rnn_jax.cells import CELLS

WITH_GAIN = tuple(name for name, cell in CELLS.items() if "gain" in inspect.signature(cell.init_params).parameters)
"""Cells with recurrent weights to multiply."""
OF_CELLS = ("cells", "gains", "hidden_size", "input_size", "seed")
"""Flags of cells at their initialization."""


@dataclass(frozen=True)
class Config(RunConfig):
    """Flags of the look at time in parallel."""

    run: str = flag("", "folder of a finished run to look at, instead of cells at their initialization")
    cells: tuple[str, ...] = flag(("rnn", "lstm", "gru"), "cells, separated by commas", choices=WITH_GAIN)
    gains: tuple[float, ...] = flag(
        (0.5, 1.0, 2.0, 3.0, 5.0),
        "factors of the Gaussian recurrent weights: the larger, the more chaotic",
        minimum=0.0,
    )
    lengths: tuple[int, ...] = flag((100, 1000, 10_000), "lengths T", minimum=2, maximum=1_000_000)
    hidden_size: int = flag(8, "hidden features; the work grows with their cube", minimum=1, maximum=128)
    input_size: int = flag(2, "input features, standard normal and independent in time", minimum=1, maximum=1024)
    max_iterations: int = flag(
        300,
        "iterations at most; what is predicted to take more than 4 times as many is not run",
        minimum=1,
        maximum=100_000,
    )
    bandwidth: float = flag(3.0, "of the GPU that the crossover is predicted for, TB/s", above=0.0)
    latency: float = flag(5.0, "of one operation on it, microseconds", above=0.0)
    seed: int = flag(0, "draws parameters and inputs", minimum=0, below=2**31)

    def check(self, given: frozenset[str]) -> None:
        """See `RunConfig.check`."""
        if self.run and (more := sorted(given & set(OF_CELLS))):
            raise UsageError(f"--{more[0]} is for cells at their initialization, and goes without --run")
