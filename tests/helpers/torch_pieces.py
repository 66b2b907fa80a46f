"""PyTorch run piece by piece (tests/golden/torch_pieces.npz) as calls of this library, with `lengths` and `resets`."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from helpers.conformance import Case
from helpers.torch_layout import carries_of
from rnn_jax.convert.torch import from_torch

PATH = Path(__file__).parents[1] / "golden" / "torch_pieces.npz"
KINDS = {"rnn_tanh": "rnn", "rnn_relu": "rnn_relu", "lstm": "lstm", "gru": "gru"}


def one_case(kind: str, cell: str, golden: Any) -> Case:
    """One module."""
    get = {name.removeprefix(f"{kind}/"): golden[name] for name in golden if name.startswith(f"{kind}/")}
    state = {name.removeprefix("state/"): value for name, value in get.items() if name.startswith("state/")}
    parts = ("h", "c") if cell == "lstm" else ("h",)

    def read(carries: Any, ys: Any) -> tuple[np.ndarray, ...]:
        return (np.asarray(ys), *(np.stack([getattr(one, part) for one in carries[0]]) for part in parts))

    return Case(
        source="PyTorch",
        name=f"{kind}, lengths and resets",
        cell=cell,
        params=from_torch(cell, state),
        xs=get["inputs"],
        carry=carries_of(cell, tuple(get[f"{part}_0"] for part in parts), bidirectional=True),
        options={"lengths": golden["lengths"], "resets": golden["resets"]},
        read=read,
        want=(get["outputs"], *(get[f"{part}_n"] for part in parts)),
        tolerance=1e-12,
    )


@cache
def cases() -> list[Case]:
    """All modules of the file."""
    with np.load(PATH) as golden:
        return [one_case(kind, cell, golden) for kind, cell in KINDS.items()]
