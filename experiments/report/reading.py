"""One run folder, read as what a stranger may have made: nothing in it is executed, followed or believed."""

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rnn_jax.training import digests

LARGEST = {"flags.txt": 2**20, "digests.txt": 2**20, "results.json": 2**25, "metrics.jsonl": 2**28}
"""Bytes that are read of each file, at most; a larger one is refused."""
PIXELS = 50_000_000
"""Of a picture, at most: a small file may unpack to any size."""
PNG = b"\x89PNG\r\n\x1a\n"
"""How each begins."""
HUGE = 1e100
"""What no figure of a model that has learned anything reaches."""
LONGEST = 300
"""Characters of a name or a value."""
POINTS = 200
"""Of a learning curve, about: so many lines of a log are looked at."""
MOST_PICTURES = 50
"""Of a run."""
UNSET = "unset"
"""In place of the value of a flag that a run lacks, or has without a value."""
SEEDS = ("seed", "num_seeds")
"""Flags that say which replicas a run trains, and nothing else about it."""

Item = TypeVar("Item")
Metrics = dict[str, tuple[float, ...]]
"""By name the values of a metric, of each seed; NaN where it is not defined."""


class Curve(NamedTuple):
    """A learning curve.

    Attributes:
        name: `validation_loss`, or `loss` where that was not logged twice.
        steps, losses: about `POINTS` of them, steps ascending.
    """

    name: str
    steps: list[int]
    losses: list[float]


class Run(NamedTuple):
    """A run.

    Attributes:
        folder: where it lies.
        finished: whether it has results. If not, all from `experiment` to `facts` say nothing.
        flags: by name, as written.
        curve: so far; None where less than two steps are logged.
        pictures: files, by name.
        experiment, dataset, protocol, seeds, metrics: as `results.json` has them.
        baselines: name to the same metrics.
        facts: what else is shown: `cell`, `num_params`, `steps`, `train_seconds`, `device`, `backend`, ... as texts and
            numbers.
    """

    folder: Path
    finished: bool
    flags: dict[str, str]
    curve: Curve | None
    pictures: list[Path]
    experiment: str = ""
    dataset: str = ""
    protocol: str = ""
    seeds: tuple[int, ...] = ()
    metrics: Metrics = {}  # noqa: RUF012  # never changed
    baselines: dict[str, Metrics] = {}  # noqa: RUF012
    facts: dict[str, str | float] = {}  # noqa: RUF012

    def flag(self, name: str) -> str:
        """The value of a flag, as a table shows it."""
        return self.flags.get(name) or UNSET


class Unread(NamedTuple):
    """A folder that is no run, or a damaged one, and why."""

    folder: Path
    reason: str


class Damaged(Exception):
    """A file that is not what the contract says; the message is the reason."""


def read(folder: Path) -> Run | Unread:
    """The run in a folder; the reason why there is none, in place of any error."""
    try:
        return _read(folder)
    except Damaged as error:
        return Unread(folder, str(error))
    except OSError as error:
        return Unread(folder, clean(f"{Path(error.filename or folder).name}: {error.strerror or error}"))


def _read(folder: Path) -> Run:
    flags = _flags(folder)
    facts: dict[str, str | float] = {}
    try:
        curve = _curve(folder)
    except (Damaged, OSError) as error:  # which costs the curve and not the results
        curve, facts = None, {"remark": f"no curve: {error}"}
    run = Run(folder, False, flags, curve, pictures(folder), facts=facts)
    if not os.path.lexists(folder / "results.json"):
        return run
    try:
        found = json.loads(_as_left(folder, "results.json"))
    except (ValueError, RecursionError) as error:
        raise Damaged("results.json is no JSON: cut short?") from error
    if not isinstance(found, dict):
        raise Damaged("results.json holds no results")
    named = {key: found.get(key) for key in ("experiment", "dataset", "protocol")}
    if wrong := [key for key, value in named.items() if not isinstance(value, str) or not value]:
        raise Damaged(f"results.json has no {wrong[0]}")
    seeds, baselines = found.get("seeds"), found.get("baselines", {})
    if not isinstance(seeds, list) or not all(type(seed) is int for seed in seeds):
        raise Damaged("results.json: seeds is no list of whole numbers")
    if not isinstance(baselines, dict):
        raise Damaged("results.json: baselines is no table")
    return run._replace(
        finished=True,
        experiment=clean(named["experiment"]),
        dataset=clean(named["dataset"]),
        protocol=clean(named["protocol"]),
        seeds=tuple(seeds),
        metrics=_metrics("metrics", found.get("metrics")),
        baselines={clean(name): _metrics(f"baselines.{name}", each) for name, each in baselines.items()},
        facts=facts | _facts(found),
    )


def _as_left(folder: Path, name: str) -> bytes:
    """What a file of the folder holds, if the run left it so; of a run without digests, whatever it holds."""
    found = content(folder, name)
    if os.path.lexists(folder / digests.FILE):
        try:
            noted = digests.parse(content(folder, digests.FILE))
        except ValueError as error:
            raise Damaged(f"{digests.FILE} is damaged") from error
        if noted.get(name) != hashlib.sha256(found).hexdigest():
            raise Damaged(f"{name} is not what the run left (see {digests.FILE})")
    return found


def clean(text: Any) -> str:
    """A text as one line that neither moves a terminal's cursor nor fills a page."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in str(text)[: LONGEST + 1])
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"


def content(folder: Path, name: str, limit: int | None = None) -> bytes:
    """What a file of the folder holds.

    Raises: `Damaged` for what is no regular file, lies elsewhere (a link) or is larger than `limit` bytes or what
        `LARGEST` says; `OSError` for what cannot be read.
    """
    limit = LARGEST[name] if limit is None else limit
    try:
        file = (folder / name).resolve()
    except RuntimeError as error:  # before Python 3.13
        raise Damaged(f"{name} is a link to itself") from error
    if not file.is_relative_to(folder.resolve()):
        raise Damaged(f"{name} is a link out of the folder")
    # Opening a named pipe would wait for its other end.
    with open(file, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise Damaged(f"{name} is no regular file")
        found = opened.read(limit + 1)
    if len(found) > limit:
        raise Damaged(f"{name} is larger than {limit:,} bytes")
    return found


def _flags(folder: Path) -> dict[str, str]:
    if not os.path.lexists(folder / "flags.txt"):
        raise Damaged("no run: it has no flags.txt")
    try:
        text = content(folder, "flags.txt").decode("utf-8")
    except UnicodeDecodeError as error:
        raise Damaged("flags.txt is not UTF-8 text") from error
    flags = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"--(\w{1,100})=(.*)", line.strip(), re.ASCII)
        if match is None:
            raise Damaged(f"flags.txt, line {number}: no --name=value")
        flags[match[1]] = clean(match[2])
    if not flags:
        raise Damaged("flags.txt is empty")
    return flags


def _number(value: Any) -> float:
    """NaN for what is no number, as null in a file, and for one whose square is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -HUGE < value < HUGE:
        return math.nan
    return float(value)


def _metrics(where: str, found: Any) -> Metrics:
    if not isinstance(found, Mapping):
        raise Damaged(f"results.json: {clean(where)} is no table")
    metrics = {}
    for name, entry in found.items():
        values = entry.get("values") if isinstance(entry, Mapping) else None
        if not isinstance(values, list) or not values:
            raise Damaged(f"results.json: {clean(f'{where}.{name}')} has no list of values")
        metrics[clean(name)] = tuple(_number(value) for value in values)
    return metrics


def _facts(found: Mapping[str, Any]) -> dict[str, str | float]:
    facts: dict[str, str | float] = {}
    for key in ("cell", "backend", "device"):
        if isinstance(found.get(key), str):
            facts[key] = clean(found[key])
    for key in ("num_params", "steps", "train_seconds", "compile_seconds"):
        if not math.isnan(number := _number(found.get(key))):
            facts[key] = number
    versions = found.get("versions")
    if isinstance(versions, Mapping):
        facts["versions"] = clean(", ".join(f"{name} {version}" for name, version in versions.items()))
    return facts


def _curve(folder: Path) -> Curve | None:
    """Lines that are no record are passed over: a process may have been killed while it wrote one."""
    if not os.path.lexists(folder / "metrics.jsonl"):
        return None
    lines = content(folder, "metrics.jsonl").split(b"\n")
    for name in ("validation_loss", "loss"):
        fitting = [line for line in lines if f'"{name}"'.encode() in line]
        # The last one may be torn.
        records = [_record(line) for line in [*thinned(fitting, POINTS), *fitting[-2:]]]
        losses = {each["step"]: _number(each.get(name)) for each in records if each}
        steps = sorted(step for step, loss in losses.items() if not math.isnan(loss))
        if len(steps) > 1:
            return Curve(name, steps, [losses[step] for step in steps])
    return None


def _record(line: bytes) -> dict[str, Any]:
    """Empty where there is no record with a step."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    step = found.get("step") if isinstance(found, dict) else None
    return found if type(step) is int and 0 <= step < 2**53 else {}


def thinned(items: list[Item], most: int) -> list[Item]:
    """At most so many of them, evenly, with the first and the last.

    >>> thinned([0, 1, 2, 3, 4, 5, 6], 3)
    [0, 3, 6]
    """
    if len(items) <= most:
        return items
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def pictures(folder: Path) -> list[Path]:
    """The files `plots/*.png`, by name; whether they are pictures is seen when they are read."""
    names: Iterable[str] = []
    if os.path.isdir(folder / "plots"):
        names = sorted(name for name in os.listdir(folder / "plots") if name.endswith(".png"))[:MOST_PICTURES]
    return [folder / "plots" / name for name in names]


def picture(file: Path, limit: int) -> bytes:
    """A file of `pictures` of at most `limit` bytes. Raises `Damaged` where it is no PNG, or a huge one."""
    found = content(file.parent.parent, f"plots/{file.name}", limit)
    if not found.startswith(PNG) or found[12:16] != b"IHDR" or len(found) < 33:
        raise Damaged("no PNG")
    width, height = (int.from_bytes(found[at : at + 4], "big") for at in (16, 20))
    if width * height > PIXELS:
        raise Damaged(f"{width} x {height} pixels are too many")
    return found
