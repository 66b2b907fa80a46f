"""Where the points of a sweep run: on this machine or on a SLURM cluster, both by submitit; on Ray see `on_ray`.

Here `--jobs` points run at once, each on cores (and GPUs) of its own: XLA takes as many threads as its process may use,
and what a run rounds to depends on their number, so every point gets the same.
"""

import contextlib
import io
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from experiments.common import environment
from experiments.common.flags import UsageError
from experiments.sweep.flags import Config
from experiments.sweep.point import OF_A_TERMINAL, Job, last_line

ROOT = Path(__file__).resolve().parents[2]
"""What has the packages `experiments` and `rnn_jax` in it, or is inside of the latter."""
NO_LIMIT = 60 * 24 * 365
"""Minutes."""
REQUEUES = 1000
"""How often a job whose time is over is queued again."""
GRACE_SECONDS = 30.0
"""How long a file that was written on another node may take to be seen here."""


class Handle(Protocol):
    """A job that was submitted; `id` names it to whoever comes later."""

    id: str

    def outcome(self) -> tuple[int, str] | None:
        """The exit status and the last line of stderr, or None as long as it waits or runs."""

    def stop(self) -> None:
        """Asks it to save and end; to ask again changes nothing."""


class Engine(Protocol):
    """Where points run.

    Attributes:
        capacity: points at once.
        outlives: whether jobs go on without the process that submitted them, in a queue.
    """

    capacity: int
    outlives: bool

    def submit(self, jobs: Sequence[Job]) -> Sequence[Handle]:
        """Has the jobs run."""

    def attach(self, id: str, job: Job) -> Handle | None:
        """The job of that id, which an earlier process submitted; None where it cannot be found again."""

    def close(self) -> None:
        """Lets go of what the engine holds when no job is left."""


def make(config: Config, folder: Path) -> Engine:
    """The engine that the flags ask for; it keeps its files in `folder`."""
    if config.engine == "ray":
        from experiments.sweep.on_ray import Ray  # which takes Ray

        return Ray(config)
    return Slurm(config, folder) if config.engine == "slurm" else Local(config, folder)


def read_outcome(job: Job) -> tuple[int, str] | None:
    """What a job has said of its end; None where it has said nothing."""
    try:
        found = json.loads(Path(job.outcome).read_text(encoding="utf-8"))
        return int(found["status"]), str(found["message"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """What is started inside finds this project's packages wherever it is started, and does not see Ctrl-C.

    A terminal sends that to all processes of a command; here the one that watches the run hands it on, in its own time.
    """
    names = {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "PYTHONSAFEPATH": "1",
    }
    signal.pthread_sigmask(signal.SIG_BLOCK, OF_A_TERMINAL)
    try:
        with environment.variables(names):
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, OF_A_TERMINAL)


class SubmititHandle:
    """A job of submitit."""

    def __init__(self, submitted: Any, job: Job, grace: float) -> None:
        self.id = str(submitted.job_id)
        self.submitted, self.job, self.grace = submitted, job, grace
        self.gone: float | None = None

    def outcome(self) -> tuple[int, str] | None:
        """See `Handle.outcome`."""
        if not self.submitted.done():
            return None
        found = read_outcome(self.job)
        if found is not None:
            return found
        self.gone = self.gone or time.monotonic()
        if time.monotonic() - self.gone < self.grace:
            return None
        errors = self.submitted.paths.stderr
        said = last_line(errors) if errors.exists() else ""
        return 1, f"its job {self.id} ended without a word" + (f": {said}" if said else "")

    def stop(self) -> None:
        """See `Handle.stop`."""
        self.submitted.cancel(check=False)


class LocalHandle(SubmititHandle):
    """A job on this machine, whose id is that of a process which hands SIGTERM on."""

    def __init__(self, submitted: Any, job: Job, free: list[int], slot: int) -> None:
        super().__init__(submitted, job, grace=0.0)
        self.free, self.slot = free, slot

    def outcome(self) -> tuple[int, str] | None:
        """See `Handle.outcome`."""
        found = super().outcome()
        if found is not None:
            self.free.append(self.slot)
            for file in self.submitted.paths.folder.glob(f"{self.id}_*"):
                file.unlink()  # the number of a process may come again
        return found

    def stop(self) -> None:
        """See `Handle.stop`. submitit's own way would leave a second to save in."""
        if not self.submitted.done():
            os.kill(int(self.id), signal.SIGTERM)


class Local:
    """Points as processes of this machine, each with a share of its cores."""

    outlives = False

    def __init__(self, config: Config, folder: Path) -> None:
        """Plans the shares; `folder` receives submitit's files as long as the sweep runs."""
        import submitit

        self.capacity = config.jobs or 1
        self.free = list(range(self.capacity))
        self.cores, self.gpus = config.cpus, config.gpus
        self.folder = folder / f"local-{os.getpid()}-{time.time_ns()}"
        self.executor = submitit.LocalExecutor(self.folder, max_num_timeout=REQUEUES)
        self.executor.update_parameters(timeout_min=NO_LIMIT)

    def submit(self, jobs: Sequence[Job]) -> Sequence[Handle]:
        """See `Engine.submit`; at most as many as have room."""
        return [self._submit(job, self.free.pop(0)) for job in jobs]

    def _submit(self, job: Job, slot: int) -> Handle:
        gpus = visible_gpus(slot, self.gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))  # which submitit hides
        job = replace(job, cores=share(slot, self.capacity, self.cores), environment=(("CUDA_VISIBLE_DEVICES", gpus),))
        with shielded():
            return LocalHandle(self.executor.submit(job), job, self.free, slot)

    def attach(self, id: str, job: Job) -> Handle | None:
        """See `Engine.attach`: another job for the same point waits for the one that is left of a killed sweep."""
        return None

    def close(self) -> None:
        """See `Engine.close`."""
        for left in self.folder.parent.glob("local-*"):  # and by sweeps that were killed
            shutil.rmtree(left, ignore_errors=True)


def share(slot: int, slots: int, cores: int | None) -> tuple[int, ...]:
    """The cores of one of several points that run at once: equally many each, and their own as far as there are enough.

    Args:
        slot: which of them, from 0.
        slots: how many run at once.
        cores: of each; None: all of this process, divided.

    Returns: the numbers of the cores; none where this system cannot say.
    """
    if not hasattr(os, "sched_getaffinity"):
        return ()
    available = sorted(os.sched_getaffinity(0))
    count = min(cores or max(len(available) // slots, 1), len(available))
    return tuple(sorted(available[(slot * count + place) % len(available)] for place in range(count)))


def visible_gpus(slot: int, gpus: int | None, visible: str | None) -> str | None:
    """What `CUDA_VISIBLE_DEVICES` is for one of several points that run at once: its own; None gives: as it is.

    >>> visible_gpus(1, 2, "4,5,6,7"), visible_gpus(1, 1, None), visible_gpus(0, None, "3")
    ('6,7', '1', '3')
    """
    if gpus is None:
        return visible
    places = range(slot * gpus, (slot + 1) * gpus)
    if visible is None:
        return ",".join(map(str, places))
    return ",".join(visible.split(",")[places.start : places.stop])


class Slurm:
    """Points as jobs of a cluster, those of one submission as an array of jobs.

    A job that has to make room, or whose time is over, has its run save and is queued again.
    """

    outlives = True

    def __init__(self, config: Config, folder: Path) -> None:
        """Writes down what each job asks for; `folder` receives submitit's files, and all nodes have to see it."""
        import submitit

        self.capacity = config.jobs or 10_000
        self.folder = folder
        self.executor = submitit.SlurmExecutor(folder, max_num_timeout=REQUEUES)
        asked: dict[str, Any] = {
            "job_name": f"sweep-{config.experiment}",
            "time": config.minutes,
            "cpus_per_task": config.cpus or 1,
            "array_parallelism": self.capacity,
            "partition": config.partition or None,
            "gpus_per_node": config.gpus,
            "mem": None if config.memory_gib is None else f"{config.memory_gib}G",
            "additional_parameters": dict(option.split("=", 1) for option in config.slurm_options) or None,
        }
        self.executor.update_parameters(**{name: value for name, value in asked.items() if value is not None})

    def submit(self, jobs: Sequence[Job]) -> Sequence[Handle]:
        """See `Engine.submit`."""
        jobs = [replace(job, hands_on=False) for job in jobs]
        try:
            with shielded(), contextlib.redirect_stderr(io.StringIO()):  # submitit prints what it raises
                submitted = self.executor.submit_array(jobs)
        except RuntimeError as error:
            raise UsageError(f"--engine=slurm: sbatch refused the jobs: {error}") from error
        return [self._handle(each, job) for each, job in zip(submitted, jobs, strict=True)]

    def _handle(self, submitted: Any, job: Job) -> Handle:
        return SubmititHandle(submitted, job, GRACE_SECONDS)

    def attach(self, id: str, job: Job) -> Handle | None:
        """See `Engine.attach`."""
        import submitit

        return self._handle(submitit.SlurmJob(self.folder, id), job) if id else None

    def close(self) -> None:
        """See `Engine.close`."""
