"""What a run leaves for people and programs: the data it began with, `results.json`, a table."""

import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tabulate import tabulate

from experiments.common import begun, digests
from experiments.common.flags import UsageError
from rnn_jax.data.errors import DataError
from rnn_jax.machine import device_name, versions
from rnn_jax.training.processes import by_first, is_first

Shown = TypeVar("Shown")

FILE = "results.json"
MODEL = "model"
"""The folder, in that of a run, with the best parameters of the first seed."""

KEYS = (
    "experiment",
    "dataset",
    "protocol",
    "cell",
    "num_params",
    "seeds",
    "metrics",
    "baselines",
    "steps",
    "compile_seconds",
    "train_seconds",
)
"""What every `results.json` has, besides `device` and `versions`."""


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean and standard deviation (of the sample, 0 for one value) over seeds, and the values themselves.

    >>> spread([1.0, 2.0, 3.0])
    {'mean': 2.0, 'std': 1.0, 'values': [1.0, 2.0, 3.0]}
    """
    array = np.asarray(values, np.float64)
    std = float(array.std(ddof=1)) if array.size > 1 else 0.0
    return {"mean": float(array.mean()), "std": std, "values": array.tolist()}


def finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: null stands for a figure that is not defined, like the skill against 0."""
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write(folder: Path, found: Mapping[str, Any]) -> None:
    """Writes `results.json`, whole or not at all, with the device and the versions, and the digests of the whole run.

    Raises: `KeyError` where one of `KEYS` is missing.
    """
    if missing := [key for key in KEYS if key not in found]:
        raise KeyError(f"results of {found.get('experiment')} lack {', '.join(missing)}")
    whole = {**found, "device": device_name(), "versions": versions()}
    digests.finish(folder, FILE, json.dumps(finite(whole), indent=2, allow_nan=False) + "\n")


def read(folder: Path, name: str | None = None, where: str | None = None) -> dict[str, Any] | None:
    """The results of a finished run; None where the run has not finished.

    Args:
        folder: of the run.
        name: of the experiment whose they have to be; None: of any.
        where: the flag that names the folder, for messages; without it --workdir.

    Raises: `UsageError` for a file that is damaged, or of another experiment.
    """
    if not os.path.lexists(folder / FILE):
        return None
    found = read_json(folder, FILE, where)
    if name is not None and found.get("experiment") != name:
        where = where or f"--workdir={folder}"
        raise UsageError(f"{where}: {FILE} there is of {found.get('experiment')!r}, not of {name}; name another folder")
    return found


def read_json(folder: Path, file: str, where: str | None = None) -> dict[str, Any]:
    """The object in a file that a run left. Raises `UsageError` where it is not what the run left, or holds none."""
    digests.check(folder, file, where=where)
    try:
        found = json.loads((folder / file).read_bytes())
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        text = f"{file} there holds no results; delete it, and the command of the run makes it anew"
        raise UsageError(f"{where or f'--workdir={folder}'}: {text}")
    return found


def run_or_show(
    name: str, workdir: Path, train: Callable[[], None], show: Callable[[Path], None], fingerprint: Callable[[], str]
) -> None:
    """Trains unless the run is finished, then shows its results.

    Args:
        name: of the experiment.
        workdir: the run's folder.
        train: writes the results.
        show: prints those of the folder.
        fingerprint: of the data as it is now: a finished run says so where it cannot be read any more.

    Raises: `UsageError` where a finished run was made with other data.
    """
    finished = by_first(lambda: read(workdir, name) is not None)
    if not finished:
        train()
    if not is_first():
        return
    if not finished:
        show(workdir)
        return
    remark = ""
    try:
        begun.check_data_alone(workdir, fingerprint())
    except DataError as error:
        remark = f", its data cannot be read any more ({error})"
    print(f"this run is finished{remark}; its results:")
    show_old(workdir, show)
    if not (workdir / "plots").is_dir():  # which come after the results, and so does a kill, once in a while
        print(f"no plots there: delete {workdir / FILE}, and the same command draws them", file=sys.stderr)


def show_old(workdir: Path, show: Callable[[Path], Shown], file: str = FILE) -> Shown:
    """Shows what another process wrote. Raises `UsageError` where it lacks something, as of another version."""
    try:
        return show(workdir)
    except (UsageError, OSError):
        raise
    except Exception as error:  # what is missing may surface as almost any error
        reason = f"{file} there is of another version ({type(error).__name__}: {error})"
        raise UsageError(f"--workdir={workdir}: {reason}; delete it, and the same command makes it anew") from error


def with_seeds(cell: str, seeds: Sequence[int]) -> str:
    """The name of a row: the cell and how many seeds."""
    return f"{cell} ({len(seeds)} seed{'s' * (len(seeds) > 1)})"


def rows(found: Mapping[str, Any]) -> dict[str, Any]:
    """The rows of the table of a finished run: its cell with the number of seeds, and the baselines."""
    return {with_seeds(found["cell"], found["seeds"]): found["metrics"], **found["baselines"]}


def costs(found: Mapping[str, Any]) -> str:
    """Size, time and device of a finished run, two lines."""
    backend = found.get("backend", "not noted")
    return (
        f"{found['num_params']:,} parameters, {found['steps']:,} steps in {found['train_seconds']:.1f} s of training, "
        f"{found['compile_seconds']:.1f} s of compiling\n{found['device']}, back end {backend}"
    )


def cell(entry: Mapping[str, Any], digits: int) -> str:
    """A metric over seeds as a table has it: `mean ± std` where there are several."""
    if entry["mean"] is None:
        return "undefined"
    several = len(entry["values"]) > 1
    return f"{entry['mean']:.{digits}f}" + (f" ± {entry['std']:.{digits}f}" if several else "")


def table(rows: Mapping[str, Mapping[str, Any]], columns: Sequence[str], digits: int = 4) -> str:
    """A Markdown table of metrics: a row per name, `mean +- std` where there are several seeds.

    >>> print(table({"model": {"mse": spread([1.0, 2.0])}, "naive": {"mse": spread([3.0])}}, ["mse"], digits=2))
    |       | mse         |
    |:------|:------------|
    | model | 1.50 ± 0.71 |
    | naive | 3.00        |
    """

    body = [
        [name, *(cell(metrics[column], digits) if column in metrics else "" for column in columns)]
        for name, metrics in rows.items()
    ]
    return tabulate(body, headers=["", *columns], tablefmt="pipe", disable_numparse=True)
