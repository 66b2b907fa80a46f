"""The flags of the long sequences."""

from dataclasses import dataclass
from typing import Any

from experiments.common.command import RunConfig
from experiments.common.flags import flag

METHODS = ("plain", "checkpointed", "segmented")
"""See `experiments.long_sequences.measure`."""
BIAS_CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn": ("rnn", {}),
    "rnn_orthogonal": ("rnn", {"init": "glorot_orthogonal"}),
    "gru": ("gru", {}),
    "lstm": ("lstm", {}),
    "lstm_forget_1": ("lstm", {"forget_bias": 1.0}),
    "lstm_forget_3": ("lstm", {"forget_bias": 3.0}),
}
"""What the bias is measured of: a cell and how it is initialized."""
BACKENDS = ("scan", "manual")
"""What is measured: the back ends for any device."""


@dataclass(frozen=True)
class Config(RunConfig):
    """Flags of the long sequences."""

    lengths: tuple[int, ...] = flag(
        (1000, 10_000, 100_000, 1_000_000), "sequence lengths T, separated by commas", minimum=1, maximum=10**8
    )
    backends: tuple[str, ...] = flag(BACKENDS, "back ends, separated by commas", choices=BACKENDS)
    methods: tuple[str, ...] = flag(METHODS, "what to compare, separated by commas", choices=METHODS)
    cell: str = flag("lstm", "the cell whose cost is measured", choices=("rnn", "lstm", "gru"))
    hidden_size: int = flag(64, "hidden features", minimum=1, maximum=8192)
    loss: str = flag("mean", "over all steps, or of the last one alone", choices=("mean", "final"))
    float64_up_to: int = flag(100_000, "lengths up to this are run in float64 too", minimum=0, maximum=10**8)
    memory_limit_gib: float = flag(12.0, "what would take more memory, as the compiler plans, is not run", above=0.0)
    bias_cells: tuple[str, ...] = flag(
        tuple(BIAS_CELLS), "cells of the truncation bias, separated by commas", choices=tuple(BIAS_CELLS)
    )
    bias_length: int = flag(1024, "T of the truncation bias", minimum=2, maximum=100_000)
    bias_batch_size: int = flag(16, "B of the truncation bias", minimum=1, maximum=10_000)
    seed: int = flag(0, "first seed", minimum=0, below=2**31)
    num_seeds: int = flag(5, "how many seeds the truncation bias is averaged over", minimum=1, maximum=1024)
