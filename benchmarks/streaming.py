"""How long one step takes when observations come one at a time: an LSTM that keeps its state, ours and others'.

    python -m benchmarks.streaming

An observation `[B, I]` is a NumPy array, and so is what comes back, `[B, H]`; the state stays where a library has it.
The contenders are in `benchmarks.streaming_steps`: ours is `unroll` over a single step, by `auto`, which takes `native`
for so few sequences where there is a compiler, and by XLA (`manual`). All have the same weights, and before anything is
timed the outputs of the 20th step have to agree. Then they take turns, 200 steps each; of all steps the median and the
slowest hundredth are shown.
"""

import importlib.util
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from tabulate import tabulate

from benchmarks.child import Refused
from benchmarks.streaming_steps import COMPARED, INPUT_SIZE, MAKERS, draw
from benchmarks.training import parser, save
from benchmarks.turns import closing_all, start, take_turns
from rnn_jax.backends.native import library
from rnn_jax.cells.lstm import LSTMParams
from rnn_jax.convert import to_onnx

SIZES = tuple((batch_size, hidden_size) for hidden_size in (64, 256, 1024) for batch_size in (1, 8))
"""B and H of each row."""
TOLERANCE = 1e-5
"""How far outputs may differ, relative to the largest."""
STEPS = 200
"""In one turn."""
NEEDS = {"rnn_jax": (), "pytorch": ("torch",), "onnxruntime": ("onnx", "onnxruntime")}
"""What has to be installed for the contenders whose names begin so, as Python imports it."""


def contenders() -> list[str]:
    """Those of `MAKERS` that can run here."""
    there = tuple(name for name, packages in NEEDS.items() if all(map(importlib.util.find_spec, packages)))
    return [name for name in MAKERS if name.startswith(there)]


def write_onnx(path: str, hidden_size: int) -> None:
    """The model of that size, for ONNX Runtime."""
    import onnx

    params = LSTMParams(**{name: jnp.asarray(array) for name, array in draw(hidden_size).items()})
    onnx.save(to_onnx("lstm", [params], initial_state=True), path)


def check_same(found: Mapping[str, list[list[float]]]) -> float:
    """How far the outputs of all contenders are from those of the first, relative to its largest.

    Raises: `RuntimeError` if that is more than `TOLERANCE`.

    >>> check_same({"ours": [[1.0, 2.0]], "theirs": [[1.0, 3.0]]})
    Traceback (most recent call last):
    RuntimeError: they do not compute the same, other outputs than ours has: theirs 0.5
    """
    first, *others = found
    errors = {
        name: max(
            float(np.max(np.abs(np.subtract(theirs, ours))) / np.max(np.abs(ours)))
            for theirs, ours in zip(found[name], found[first], strict=True)
        )
        for name in others
    }
    if wrong := [f"{name} {error:.1g}" for name, error in errors.items() if not error <= TOLERANCE]:
        raise RuntimeError(f"they do not compute the same, other outputs than {first} has: {', '.join(wrong)}")
    return max(errors.values(), default=0.0)


def compare(sizes: Sequence[tuple[int, int]], repeats: int) -> tuple[list[dict[str, Any]], float]:
    """Compares the contenders and times them.

    Args:
        sizes: B and H of each row.
        repeats: how often each contender has its turn.

    Returns: a row of each size: `batch_size`, `hidden_size`, and by contender the `p50` and the `p99` of its steps in
    seconds; and how far the outputs differ.

    Raises: `RuntimeError` for a contender that ended, or computes something else.
    """
    with tempfile.TemporaryDirectory() as folder, closing_all() as children:
        found = {}
        names = contenders()
        for hidden_size in {hidden_size for _, hidden_size in sizes} if "onnxruntime_1" in names else ():
            write_onnx(f"{folder}/{hidden_size}.onnx", hidden_size)
        for name in names:
            try:
                command = ["-m", "benchmarks.streaming_steps", name, folder, json.dumps(sizes)]
                children[name], found[name] = start(command)
            except Refused as refused:
                raise RuntimeError(f"{name}: {refused}") from refused
        error = check_same(found)
        rows = []
        for number, (batch_size, hidden_size) in enumerate(sizes):
            what = str(number)
            seconds, ended = take_turns(children, [what], dict.fromkeys(children, STEPS), repeats, untimed=COMPARED)
            for name, reason in ended.items():
                raise RuntimeError(f"{name}: {reason}") from reason
            rows.append({"batch_size": batch_size, "hidden_size": hidden_size, **quantiles(seconds, what)})
    return rows, error


def quantiles(seconds: Mapping[str, Mapping[str, list[list[float]]]], what: str) -> dict[str, dict[str, float]]:
    """`p50` and `p99` by contender, of the steps of all turns.

    >>> quantiles({"ours": {"0": [[1.0, 2.0], [3.0]]}}, "0")
    {'p50': {'ours': 2.0}, 'p99': {'ours': 3.0}}
    """
    every = {name: sorted(second for turn in of[what] for second in turn) for name, of in seconds.items()}

    def at(share: float) -> dict[str, float]:
        return {name: each[math.ceil(share * len(each)) - 1] for name, each in every.items()}

    return {"p50": at(0.5), "p99": at(0.99)}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: a line per row, microseconds, p50 / p99."""
    names = list(rows[0]["p50"])
    body = [
        [
            row["batch_size"],
            row["hidden_size"],
            *(f"{1e6 * row['p50'][n]:.0f} / {1e6 * row['p99'][n]:.0f}" for n in names),
        ]
        for row in rows
    ]
    return tabulate(body, headers=["B", "H", *names], tablefmt="pipe", disable_numparse=True)


def main() -> None:
    """Compares, times, prints the table and saves the raw numbers."""
    arguments = parser(__doc__, repeats=10).parse_args()
    rows, error = compare(SIZES, arguments.repeats)
    print(table(rows))
    about = {
        "input_size": INPUT_SIZE,
        "steps_per_turn": STEPS,
        "turns": arguments.repeats,
        "largest_relative_difference": error,
        "instruction_set": library.instruction_set(),
        "rows": rows,
    }
    save(arguments.raw_dir, "streaming", about, {})


if __name__ == "__main__":
    main()
