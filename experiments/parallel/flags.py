"""The flags of the look at time in parallel."""

import inspect
from dataclasses import dataclass

from experiments.common.command import RunConfig
from experiments.common.flags import UsageError, flag
from experiments.common.initializations import INITS, Setting, settings
from rnn_jax.cells import CELLS

WITH_GAIN = tuple(name for name, cell in CELLS.items() if "gain" in inspect.signature(cell.init_params).parameters)
"""Cells with recurrent weights to multiply."""
DEFAULT_CELLS = ("rnn", "lstm", "gru")
OF_CELLS = ("inits", "gains", "hidden_size", "input_size", "seed")
"""Flags of cells at their initialization."""


@dataclass(frozen=True)
class Config(RunConfig):
    """Flags of the look at time in parallel."""

    run: tuple[str, ...] = flag((), "folders of finished runs to look at; beside cells where --cells names some")
    cells: tuple[str, ...] = flag(
        (), f"cells, separated by commas; without it {','.join(DEFAULT_CELLS)}, or with --run none", choices=WITH_GAIN
    )
    inits: tuple[str, ...] = flag(
        ("gaussian",), "initializations; a cell that lacks a bias leaves some out", choices=tuple(INITS)
    )
    gains: tuple[float, ...] = flag(
        (0.5, 1.0, 2.0, 3.0, 5.0),
        "factors of the recurrent weights: the larger, the more chaotic",
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
        if self.run and not self.cells and (more := sorted(given & set(OF_CELLS))):
            raise UsageError(f"--{more[0]} is for cells at their initialization: with --run, name some in --cells")
        self.settings()

    def settings(self) -> list[Setting]:
        """See `experiments.common.initializations.settings`."""
        cells = self.cells or (() if self.run else DEFAULT_CELLS)
        return settings(cells, self.inits, self.gains, self.lengths)
