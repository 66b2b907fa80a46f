"""Contenders that train the same model on the same batches: compared, then timed in turns.

Each is a process of its own, which sets up `benchmarks.child.epochs`: it says the losses of its first steps, and
trains an epoch whenever it is asked. What they do is timed only where these losses agree.
"""

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.child import Refused
from benchmarks.turns import closing_all, start, take_turns
from rnn_jax.files import write_whole
from rnn_jax.machine import device_name, versions

RAW = Path(__file__).parent / "raw"
TOLERANCE = 1e-3
"""Relative difference of two losses at most; more than the rounding of the compared steps."""


def parser(about: str | None, repeats: int) -> argparse.ArgumentParser:
    """The flags of every such benchmark. `--contender` and `--start` are for the processes that it starts.

    Args:
        about: what `--help` says before the flags.
        repeats: the default of `--repeats`.
    """
    flags = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--repeats", type=int, default=repeats, help=f"turns of each contender, {repeats} without it")
    flags.add_argument("--raw_dir", type=Path, default=RAW, help="folder for the raw numbers; else benchmarks/raw")
    flags.add_argument("--contender", help=argparse.SUPPRESS)
    flags.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    return flags


def compare_and_time(commands: Mapping[str, Sequence[str]], repeats: int) -> tuple[dict[str, list[float]], float]:
    """Starts the contenders one after another, so that the first can write what the others read; lets them take turns.

    Args:
        commands: name to what Python is given: `-m`, a module and its arguments.
        repeats: how often each has its turn, after one that is not counted.

    Returns: seconds of each turn, by contender, and the largest relative difference of the losses of their first steps.

    Raises: `RuntimeError` for a contender that ended, or losses that are not those of the first.
    """
    with closing_all() as children:
        losses = {}
        for name, command in commands.items():
            try:
                children[name], losses[name] = start(command)
            except Refused as refused:
                raise RuntimeError(f"{name}: {refused}") from refused
        difference = largest_difference(losses)
        print(f"largest relative difference of the first {len(losses[name])} losses: {difference:.1e}", flush=True)
        found, ended = take_turns(children, ["train"], dict.fromkeys(children, 1), 1 + repeats)
    for name, reason in ended.items():
        raise RuntimeError(f"{name}: {reason}") from reason
    return {name: [seconds for (seconds,) in of["train"][1:]] for name, of in found.items()}, difference


def largest_difference(losses: Mapping[str, Sequence[float]]) -> float:
    """How far, relatively, the losses are from those of the first contender.

    Raises: `RuntimeError` if that is more than `TOLERANCE`.

    >>> round(largest_difference({"ours": [2.0, 1.0], "theirs": [2.0, 1.0005]}), 6)
    0.0005
    """
    first, *_ = losses.values()
    differences = {name: float(np.max(np.abs(np.divide(each, first) - 1))) for name, each in losses.items()}
    # Not `>`: NaN is no agreement either.
    if wrong := [name for name, difference in differences.items() if not difference <= TOLERANCE]:
        shown = ", ".join(f"{name} {differences[name]:.1e}" for name in wrong)
        raise RuntimeError(f"they do not compute the same, the first losses differ by: {shown}")
    return max(differences.values())


def ratio(seconds: Mapping[str, list[float]], ours: str, theirs: str) -> float:
    """The median over turns of theirs / ours: above 1, ours is faster.

    >>> ratio({"ours": [1.0, 10.0, 1.0], "theirs": [2.0, 20.0, 3.0]}, "ours", "theirs")
    2.0
    """
    return statistics.median(b / a for a, b in zip(seconds[ours], seconds[theirs], strict=True))


def save(folder: Path, name: str, about: Mapping[str, Any], seconds: Mapping[str, list[float]]) -> None:
    """Writes the raw numbers to `NAME.json` in a folder, with the device and the versions, and says so."""
    whole = {
        "benchmark": name,
        **about,
        "median_seconds": {contender: statistics.median(values) for contender, values in seconds.items()},
        "seconds": seconds,
        "device": device_name(),
        "versions": versions(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    write_whole(path, json.dumps(whole, indent=1) + "\n")
    print(f"raw numbers: {path}")
