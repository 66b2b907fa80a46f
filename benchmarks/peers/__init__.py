"""Who is timed. A file per peer; `make(problem, variant)` returns a runner, see `benchmarks.peers.runner`.

Nothing here imports a peer: a peer that is not installed is a row that says so.
"""

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.problem import NUM_GATES, Problem
from benchmarks.shapes import Shape

ALL = tuple(NUM_GATES)


@dataclass(frozen=True)
class Peer:
    """A contender.

    Attributes:
        module: the file in this folder.
        variant: what `make` of that file is told.
        packages: what has to be installed, as Python imports it.
        cells: those that it has, by our names, be they the same function or not.
        options: of XLA's compiler, by their names.
        ragged: how it treats sequences of unequal length; "" where it knows none and is not asked.
        even: whether it is timed on sequences of one length too.
        ours: whether it is one of our own back ends.
        other: the cells that are another function than ours, and in what. Its values have to show it; it is timed all
            the same, and not ranked.
    """

    module: str
    variant: str = ""
    packages: tuple[str, ...] = ()
    cells: tuple[str, ...] = ALL
    options: Mapping[str, bool | int | str] = field(default_factory=dict)
    ragged: str = "computes the padding"
    even: bool = True
    ours: bool = False
    other: Mapping[str, str] = field(default_factory=dict)


GRAPHS: Mapping[str, bool | int | str] = {
    "xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,DYNAMIC_SLICE_FUSION,CONDITIONAL,WHILE",
    "xla_gpu_graph_min_graph_size": 1,
}
LOOP_OPTIONS: dict[str, Mapping[str, bool | int | str]] = {
    "graphs": GRAPHS,
    "graph_of_all_steps": {**GRAPHS, "xla_gpu_command_buffer_unroll_loops": True},
    "double_buffer": {"xla_gpu_enable_while_loop_double_buffering": True},
    "unrolled": {"xla_gpu_enable_while_loop_unrolling": "WHILE_LOOP_UNROLLING_FULL_UNROLL"},
}
"""What XLA can do with a loop on a GPU, all off by default: CUDA graphs (command buffers) that hold the loop, or all of
its steps one after another; two steps in a round, without copies of what they carry; no loop."""

PEERS = {
    "scan": Peer("ours", "scan", ragged="holds the carry", ours=True),
    "manual": Peer("ours", "manual", ragged="holds the carry", ours=True),
    "native": Peer("ours", "native", ragged="skips the padding", ours=True),
    "cudnn": Peer("ours", "cudnn", cells=("lstm",), ragged="packs the sequences", ours=True),
    "pallas": Peer("ours", "pallas", ragged="holds the carry", ours=True),
    "mosaic": Peer("ours", "mosaic", ragged="holds the carry", ours=True),
    "torch": Peer("pytorch", "packed", ("torch",), ragged="packs the sequences"),
    "torch_one_thread": Peer("pytorch", "one_thread", ("torch",), ragged="packs the sequences"),
    "torch_padded": Peer("pytorch", "padded", ("torch",), even=False),
    "flax": Peer("flax_nnx", "plain", ("flax",)),
    "flax_optimized": Peer("flax_nnx", "optimized", ("flax",), cells=("lstm",)),
    "equinox": Peer("equinox_scan", packages=("equinox",), cells=("lstm", "gru")),
    "haiku": Peer(
        "haiku_unroll",
        packages=("haiku",),
        other={"rnn": "is a ReLU", "gru": "resets before the product"},
    ),
    "keras": Peer("keras_jax", packages=("keras",), ragged="masks"),
    "jax_cudnn": Peer("jax_cudnn", cells=("lstm",), ragged="packs the sequences"),
    **{
        f"{backend}_{name}": Peer("ours", backend, options=options, ragged="holds the carry", ours=True)
        for backend in ("scan", "manual")
        for name, options in LOOP_OPTIONS.items()
    },
}
"""By their names on the command line."""
PLAIN = tuple(name for name, peer in PEERS.items() if not peer.options)
"""Those that are compiled as usual."""


def missing(peer: Peer) -> str | None:
    """The first package that the peer needs and that is not installed."""
    return next((name for name in peer.packages if importlib.util.find_spec(name) is None), None)


def not_asked(peer: Peer, cell: str, shape: Shape) -> str | None:
    """Why a peer takes no part in a contest, or None."""
    if cell not in peer.cells:
        return f"has no {cell}"
    if not shape.ragged and not peer.even:
        return "takes part where lengths differ"
    if shape.restarts and not peer.ours:
        return "knows no resets"
    return None


def make(name: str, problem: Problem) -> Any:
    """The runner of a peer. Imports it; raises whatever that and its setting up raise."""
    peer = PEERS[name]
    return importlib.import_module(f"benchmarks.peers.{peer.module}").make(problem, peer.variant)
