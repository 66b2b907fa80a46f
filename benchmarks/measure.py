"""Timing that can be trusted on a noisy machine: contenders take turns, medians and ratios are reported."""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.common.results import device_name, versions

RAW = Path(__file__).parent / "raw"


def interleaved(contenders: Mapping[str, Callable[[], Any]], repeats: int, warm_up: int = 3) -> dict[str, list[float]]:
    """Seconds of each call, by contender; each must return when its work is done.

    Every contender is called `warm_up` times untimed, then all take turns `repeats` times, so that whatever else the
    machine does falls on all of them alike.
    """
    for _ in range(warm_up):
        for call in contenders.values():
            call()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, call in contenders.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def ratio(seconds: Mapping[str, list[float]], ours: str, theirs: str) -> float:
    """The median over turns of theirs / ours: above 1, ours is faster."""
    return statistics.median(b / a for a, b in zip(seconds[ours], seconds[theirs], strict=True))


def save(name: str, about: Mapping[str, Any], seconds: Mapping[str, list[float]]) -> Path:
    """Writes the raw numbers to `benchmarks/raw/NAME.json`, with the device and the versions."""
    RAW.mkdir(exist_ok=True)
    medians = {contender: statistics.median(values) for contender, values in seconds.items()}
    whole = {
        "benchmark": name,
        **about,
        "median_seconds": medians,
        "seconds": seconds,
        "device": device_name(),
        "versions": versions(),
    }
    path = RAW / f"{name}.json"
    path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    return path
