"""What a run leaves for people and programs: `results.json` and a table."""

import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tabulate import tabulate

MODEL = "model"
"""The folder, in that of a run, with the best parameters of the first seed."""

PACKAGES = ("rnn_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "torch")


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean and standard deviation (of the sample, 0 for one value) over seeds, and the values themselves.

    >>> spread([1.0, 2.0, 3.0])
    {'mean': 2.0, 'std': 1.0, 'values': [1.0, 2.0, 3.0]}
    """
    array = np.asarray(values, np.float64)
    std = float(array.std(ddof=1)) if array.size > 1 else 0.0
    return {"mean": float(array.mean()), "std": std, "values": array.tolist()}


def device_name() -> str:
    """The device that computes, in words: an accelerator's kind, or the processor's name and its cores."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{device.platform} ({device.device_kind})"
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return f"cpu ({model}, {os.cpu_count()} cores)"


def versions() -> dict[str, str]:
    """The versions of Python and of what the figures depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # an optional one, or rnn_jax itself from a bare checkout
            continue
    return found


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: null stands for a figure that is not defined, like the skill against 0."""
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write(folder: Path, results: Mapping[str, Any]) -> None:
    """Writes `results.json`, whole or not at all, with the device and the versions."""
    whole = {**results, "device": device_name(), "versions": versions()}
    partial = folder / "results.partial"
    partial.write_text(json.dumps(_finite(whole), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(partial, folder / "results.json")


def append(file: Path, entry: Mapping[str, Any]) -> None:
    """Adds a line of JSON whole: a run killed in the middle of it must not leave half a row."""
    partial = file.with_suffix(".partial")
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    partial.write_text(f"{before}{json.dumps(entry)}\n", encoding="utf-8")
    os.replace(partial, file)


def read(folder: Path) -> dict[str, Any] | None:
    """The results of a finished run; None where the run has not finished."""
    file = folder / "results.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def with_seeds(found: Mapping[str, Any]) -> dict[str, Any]:
    """The rows of the table of a finished run: its cell with the number of seeds, and the baselines."""
    several = len(found["seeds"])
    return {f"{found['cell']} ({several} seed{'s' * (several > 1)})": found["metrics"], **found["baselines"]}


def costs(found: Mapping[str, Any]) -> str:
    """Size, time and device of a finished run, two lines."""
    backend = found.get("backend", "not noted")
    return (
        f"{found['num_params']:,} parameters, {found['steps']:,} steps in {found['train_seconds']:.1f} s of training, "
        f"{found['compile_seconds']:.1f} s of compiling\n{found['device']}, back end {backend}"
    )


def table(rows: Mapping[str, Mapping[str, Any]], columns: Sequence[str], digits: int = 4) -> str:
    """A Markdown table of metrics: a row per name, `mean +- std` where there are several seeds.

    >>> print(table({"model": {"mse": spread([1.0, 2.0])}, "naive": {"mse": spread([3.0])}}, ["mse"], digits=2))
    |       | mse         |
    |:------|:------------|
    | model | 1.50 ± 0.71 |
    | naive | 3.00        |
    """

    def cell(entry: Mapping[str, Any]) -> str:
        if entry["mean"] is None:
            return "undefined"
        several = len(entry["values"]) > 1
        return f"{entry['mean']:.{digits}f}" + (f" ± {entry['std']:.{digits}f}" if several else "")

    body = [
        [name, *(cell(metrics[column]) if column in metrics else "" for column in columns)]
        for name, metrics in rows.items()
    ]
    return tabulate(body, headers=["", *columns], tablefmt="pipe", disable_numparse=True)
