"""The flags of the gradient laboratory."""

from dataclasses import dataclass

from experiments.common.command import RunConfig
from experiments.common.flags import UsageError, flag
from experiments.common.initializations import INITS, Setting, settings
from rnn_jax.cells import CELLS

DEFAULT_CELLS = ("rnn", "lstm_additive", "lstm_no_forget", "lstm", "lstm_coupled", "lstm_peephole", "gru")


@dataclass(frozen=True)
class Config(RunConfig):
    """Flags of the gradient laboratory."""

    run: str = flag("", "folder of a finished run to look at, instead of cells at their initialization")
    cells: tuple[str, ...] = flag(DEFAULT_CELLS, "cells, separated by commas", choices=tuple(CELLS))
    inits: tuple[str, ...] = flag(
        tuple(INITS), "initializations; a cell that lacks a bias leaves some out", choices=tuple(INITS)
    )
    gains: tuple[float, ...] = flag((1.0,), "factors of the recurrent weights", minimum=0.0)
    lengths: tuple[int, ...] = flag(
        (10, 100, 1000, 10_000), "lengths T of the sequences; curves are those of the longest", minimum=1
    )
    hidden_size: int = flag(64, "hidden features", minimum=1, maximum=1024)
    input_size: int = flag(4, "input features, standard normal and independent in time", minimum=1, maximum=1024)
    num_exponents: int = flag(
        16,
        "Lyapunov exponents, the largest; with too few of them dimension and entropy are bounds",
        minimum=1,
        maximum=1024,
    )
    batch_size: int = flag(8, "sequences over which logarithms are averaged", minimum=1, maximum=1024)
    seed: int = flag(0, "draws parameters, inputs and the direction of the loss", minimum=0, below=2**31)

    def check(self, given: frozenset[str]) -> None:
        """See `RunConfig.check`."""
        if self.run:
            if more := sorted(given - {"run", "workdir", "data_dir", "num_exponents"}):
                raise UsageError(f"--{more[0]} is for cells at their initialization, and goes without --run")
        else:
            self.settings()

    def settings(self) -> list[Setting]:
        """See `experiments.common.initializations.settings`."""
        return settings(self.cells, self.inits, self.gains, self.lengths)
