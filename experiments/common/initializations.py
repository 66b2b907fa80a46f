"""Cells x initializations x gains: the networks that are looked at before they are trained."""

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments.common.flags import UsageError
from rnn_jax.cells import CELLS

INITS: dict[str, dict[str, Any]] = {
    "pytorch": {"init": "pytorch"},
    "orthogonal": {"init": "glorot_orthogonal"},
    "identity": {"init": "identity"},
    "gaussian": {"init": "gaussian"},
    "forget_0": {"init": "glorot_orthogonal", "forget_bias": 0.0},
    "forget_1": {"init": "glorot_orthogonal", "forget_bias": 1.0},
    "forget_2": {"init": "glorot_orthogonal", "forget_bias": 2.0},
    "chrono": {"init": "glorot_orthogonal", "chrono": None},
}
"""By name, options of `init_params`; `chrono` is the longest T that is looked at."""


class Setting(NamedTuple):
    """The names of a cell and an initialization, the factor of the recurrent weights, options of `init_params`."""

    cell: str
    init: str
    gain: float
    options: dict[str, Any]


def settings(
    cells: Sequence[str], inits: Sequence[str], gains: Sequence[float], lengths: Sequence[int]
) -> list[Setting]:
    """Every combination that the cell has. Raises: `UsageError` where there are cells, and not one has any."""
    found = []
    for cell in cells:
        takes = inspect.signature(CELLS[cell].init_params).parameters
        for init in inits:
            options = {k: max(*lengths, 3) if k == "chrono" else v for k, v in INITS[init].items()}
            if options.keys() <= takes.keys():
                found += [Setting(cell, init, gain, options) for gain in (gains if "gain" in takes else (1.0,))]
    if cells and not found:
        raise UsageError("--cells, --inits: no cell of the list has one of these initializations")
    return found
