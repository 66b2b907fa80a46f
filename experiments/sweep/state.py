"""Which points a sweep has and how each stands: `sweep.json`, written whole whenever something changes.

A point is done when its run folder has results, whatever is written down here; other states are what was last known.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments import EXPERIMENTS
from experiments.common import lock, results
from experiments.common.directions import BETTER
from experiments.common.flags import UsageError
from experiments.sweep import search, space
from experiments.sweep.flags import Config
from experiments.sweep.point import Job
from experiments.sweep.space import Values
from rnn_jax.files import write_whole

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
VALIDATION = "validation_loss"
FILE = "sweep.json"


@dataclass
class Point:
    """A point.

    Attributes:
        name: of its folder in `points/`.
        values: of the swept flags.
        state: `waiting`, `running`, `done` or `failed`.
        status: with which it ended; None where it has not.
        message: why it failed.
        starts: how often it was submitted.
        job: what the engine calls its last job.
    """

    name: str
    values: Values
    state: str = WAITING
    status: int | None = None
    message: str = ""
    starts: int = 0
    job: str = ""


class Sweep:
    """The points of a sweep, as far as they are known.

    Attributes:
        config: the flags of the sweep.
        folder: of the sweep, absolute.
        points: all that were asked for, in order.
    """

    def __init__(self, config: Config, folder: Path):
        """Takes up the sweep where `folder` says that it stands.

        Raises: `UsageError` where `sweep.json` there is damaged.
        """
        self.config, self.folder = config, folder.resolve()
        for name in ("points", "logs", "jobs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.points = self._read()
        if not self.points:
            self.points = list(self._planned())
        for point in self.points:
            self._look(point)
        self.due = sorted((p for p in self.points if p.state != DONE), key=lambda p: p.state != RUNNING)
        """What has to be run, first what may be running still, from a sweep that was killed."""
        self.save()

    def _planned(self) -> Iterator[Point]:
        swept, config = self.config.swept, self.config
        if config.search == "grid":
            yield from (Point(space.point_name(values), values) for values in space.grid_points(swept))
        elif config.search == "random":
            for number in range(config.trials):
                values = search.draw(swept, config.search_seed, number)
                yield Point(space.point_name(values, number), values)

    def _read(self) -> list[Point]:
        file = self.folder / FILE
        if not file.exists():
            return []
        try:
            points = [Point(**point) for point in json.loads(file.read_text(encoding="utf-8"))["points"]]
            for number, point in enumerate(points):
                self._check(number, point)
            return points
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            again = "delete it, and the same command makes it anew"
            raise UsageError(f"{file} holds no points of a sweep ({error}); {again}") from error

    def _check(self, number: int, point: Point) -> None:
        """Raises `ValueError` for a point that no sweep has written: its name is that of a folder."""
        known = point.state in (WAITING, RUNNING, DONE, FAILED) and type(point.starts) is int
        name = space.point_name(point.values, None if self.config.search == "grid" else number)
        if not known or point.name != name or list(point.values) != list(self.config.swept):
            raise ValueError(f"point {number} is none of this one")

    def save(self) -> None:
        """Writes `sweep.json`."""
        found = {
            "experiment": self.config.experiment,
            "search": self.config.search,
            "points": [asdict(point) for point in self.points],
        }
        write_whole(self.folder / FILE, json.dumps(found, indent=1) + "\n")

    @property
    def total(self) -> int:
        """How many points the sweep will have."""
        return max(len(self.points), self.config.trials if self.config.search == "optuna" else 0)

    def count(self, state: str) -> int:
        """How many points are in a state."""
        return sum(point.state == state for point in self.points)

    def take(self, most: int) -> list[Point]:
        """The next points to submit, at most so many: those that are due, then what the search proposes."""
        taken = [self.due.pop(0) for _ in range(min(most, len(self.due)))]
        while len(taken) < most and len(self.points) < self.total:
            number = len(self.points)
            known = [
                search.Known(point.values, self.objective(point)) for point in self.points if point.state != FAILED
            ]
            values = search.propose(self.config.swept, self.config.search_seed, number, known)
            self.points.append(Point(space.point_name(values, number), values))
            taken.append(self.points[-1])
        for point in taken:
            point.state, point.status, point.message, point.job = RUNNING, None, "", ""
            point.starts += 1
            self.log(point, "outcome").unlink(missing_ok=True)
        self.save()
        return taken

    def settle(self, point: Point, status: int, message: str, stopping: bool) -> None:
        """Writes down how a point ended; `stopping`: it was asked to, and waits to go on."""
        point.state, point.status, point.message = (WAITING if stopping else FAILED), status, message
        self._look(point)
        self.save()

    def _look(self, point: Point) -> None:
        """Whether the point has results."""
        try:
            if results.read(self.run_folder(point)) is not None:
                point.state, point.status, point.message = DONE, 0, ""
            elif point.state == DONE:
                point.state, point.status = WAITING, None
        except UsageError as error:
            point.state, point.message = FAILED, str(error)

    def run_folder(self, point: Point) -> Path:
        """The folder of a point's run."""
        return self.folder / "points" / point.name

    def log(self, point: Point, kind: str) -> Path:
        """What a point has said: `out` or `err`; or the `lock` on it, or the `outcome` of its last job."""
        return self.folder / "logs" / f"{point.name}.{kind}"

    def job(self, point: Point) -> Job:
        """What an engine has to run for a point."""
        module = EXPERIMENTS[self.config.experiment].module.removesuffix(".__main__")
        run = [*self.config.point_flags, *space.arguments(point.values), f"--workdir={self.run_folder(point)}"]
        return Job(
            command=[sys.executable, "-m", module, *run],
            results=str(self.run_folder(point) / results.FILE),
            log=str(self.log(point, "out")),
            errors=str(self.log(point, "err")),
            outcome=str(self.log(point, "outcome")),
            lock=str(self.log(point, "lock")),
            in_use=str(self.run_folder(point) / lock.FILE),
        )

    def measures(self, point: Point) -> dict[str, Any]:
        """The best validation loss, where there is one, and the test metrics of a done point, each over seeds."""
        found = results.read(self.run_folder(point)) or {}
        losses = found.get("best_validation_losses", [None])
        validation = {} if None in losses else {VALIDATION: results.spread(losses)}
        return validation | found.get("metrics", {})

    def objective(self, point: Point) -> float | None:
        """What a search makes small; None where it is not known.

        The validation loss of every run that has one, so that the test split chooses nothing.
        """
        if point.state != DONE:
            return None
        measures = self.measures(point)
        name = VALIDATION if VALIDATION in measures else self.config.metric or next(iter(measures), "")
        return self.rank(name, measures)

    def rank(self, name: str, measures: dict[str, Any]) -> float | None:
        """The mean of a measure as a number of which the smallest is best; None where it is missing or not defined."""
        mean = measures.get(name, {}).get("mean")
        if mean is None:
            return None
        largest = self.config.maximize if self.config.maximize is not None else BETTER.get(name) == "higher"
        return -mean if largest and name != VALIDATION else mean
