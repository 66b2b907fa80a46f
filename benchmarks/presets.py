"""What `launch.py benchmark --preset=...` measures, the most valuable first: time may end anywhere.

    trials(GPU, config) -> every contest, in order

A preset is a list of parts. What several parts name is measured once, where it comes first, and the flags choose from
it.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks import shapes
from benchmarks.peers import LOOP_OPTIONS, PEERS
from benchmarks.problem import NUM_GATES

CELLS = tuple(NUM_GATES)
CHECK = "B20T9I5H40rx"
"""Sizes that divide nothing, unequal lengths and resets: whether values are right, before anything large is timed."""
QUICK, RESETS, LARGE = ("S2", "S1", "S7", "S3"), ("S2x", "S7x"), ("S4", "S5", "S6")
OURS = tuple(name for name, peer in PEERS.items() if peer.ours and not peer.options and name != "native")
BACK_ENDS = (*OURS, "jax_cudnn", "torch", "torch_padded")
ROLLED = tuple(f"{backend}_{name}" for backend in ("scan", "manual") for name in LOOP_OPTIONS if name != "unrolled")


class Part(NamedTuple):
    """Cells x shapes x types, in this order, among these peers. The table is headed by the title, if there is one."""

    cells: Sequence[str]
    shapes: Sequence[str]
    dtypes: Sequence[str]
    peers: Sequence[str] = BACK_ENDS
    title: str = ""


class Trial(NamedTuple):
    """A contest that is due: see `Part`."""

    title: str
    cell: str
    shape: shapes.Shape
    dtype: str
    peers: tuple[str, ...]

    @property
    def key(self) -> str:
        """What its rows are kept under."""
        return f"{self.cell} {self.shape.name} {self.dtype}" + f" ({self.title})" * bool(self.title)


GPU = (
    Part(CELLS, (CHECK,), ("tf32", "bfloat16")),
    Part(("lstm",), QUICK, ("tf32", "bfloat16")),
    Part(("gru",), QUICK, ("bfloat16", "tf32")),
    Part(("lstm", "gru"), RESETS, ("bfloat16",)),
    Part(("lstm",), ("S1", "S2"), ("tf32",), ("scan", "manual", *ROLLED), "loop options"),
    Part(("lstm",), QUICK, ("float32",)),
    Part(("lstm", "gru"), LARGE, ("bfloat16",)),
    Part(("lstm",), LARGE, ("tf32",)),
    Part(("lstm",), ("S1",), ("tf32",), ("scan", "scan_unrolled", "manual_unrolled"), "unrolled"),
    Part(("rnn",), QUICK, ("bfloat16", "tf32")),
    Part(CELLS, (CHECK, *QUICK, *LARGE, *RESETS), ("float32", "tf32", "bfloat16")),
)
TPU = (
    Part(CELLS, (CHECK,), ("float32", "bfloat16")),
    Part(("lstm", "gru"), QUICK, ("bfloat16", "float32")),
    Part(("lstm", "gru"), (*RESETS, *LARGE), ("bfloat16",)),
    Part(CELLS, (CHECK, *QUICK, *LARGE, *RESETS), ("float32", "bfloat16")),
)
TPU_PEERS = (*OURS, "flax")
PRESETS = {"gpu": GPU, "tpu": tuple(part._replace(peers=TPU_PEERS) for part in TPU)}

REHEARSED = 32
"""What sizes are divided by in a rehearsal."""


def defaults(preset: str) -> dict[str, Any]:
    """The flags of a preset: all that it has."""
    parts = PRESETS[preset]
    every = {
        name: tuple(dict.fromkeys(each for part in parts for each in getattr(part, name))) for name in Part._fields[:4]
    }
    return {**every, "turns": 5, "seconds": 1.0, "memory_limit_gib": 64.0, "matmul_size": 8192}


IN_REHEARSAL = {"turns": 2, "matmul_size": 64}


def trials(config: Any) -> list[Trial]:
    """What the flags leave of a preset, in its order.

    Args:
        config: the flags `preset`, `rehearsal`, and `cells`, `shapes`, `dtypes` and `peers`, which choose.
    """
    found: dict[str, Trial] = {}
    for part in PRESETS[config.preset]:
        peers = tuple(name for name in part.peers if name in config.peers)
        for cell in part.cells:
            for name in part.shapes:
                for dtype in part.dtypes:
                    shape = shapes.get(name)
                    asked = cell in config.cells and name in config.shapes and dtype in config.dtypes
                    if not asked or shape.dtype not in (None, dtype) or not any(PEERS[peer].ours for peer in peers):
                        continue
                    shape = rehearsed(shape) if config.rehearsal else shape
                    trial = Trial(part.title, cell, shape, dtype, peers)
                    found.setdefault(trial.key, trial)
    return list(found.values())


def rehearsed(shape: shapes.Shape) -> shapes.Shape:
    """The same under the same name, so small that any machine has done with it at once; `CHECK` is as small."""
    if shape.name == CHECK:
        return shape
    sizes = {
        name: -(-getattr(shape, name) // REHEARSED) for name in ("batch_size", "length", "input_size", "hidden_size")
    }
    return dataclasses.replace(shape, **sizes)
