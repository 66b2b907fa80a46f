"""The points of a sweep as tasks of Ray, on the cluster that `RAY_ADDRESS` names or on this machine alone."""

import logging
import os
from collections.abc import Sequence
from typing import Any

from experiments.common.flags import UsageError
from experiments.sweep.engines import Handle, read_outcome, shielded
from experiments.sweep.flags import Config
from experiments.sweep.point import Job

RETRIES = 3
"""How often Ray begins a task again whose node is lost."""


def run(job: Job) -> None:
    """The task."""
    job()


class RayHandle:
    """A task of Ray."""

    def __init__(self, reference: Any, job: Job) -> None:
        self.id = reference.hex()
        self.reference, self.job = reference, job

    def outcome(self) -> tuple[int, str] | None:
        """See `experiments.sweep.engines.Handle`."""
        import ray

        if not ray.wait([self.reference], timeout=0)[0]:
            return None
        found = read_outcome(self.job)
        if found is not None:
            return found
        try:
            ray.get(self.reference)
        except ray.exceptions.RayError as error:
            return 1, next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
        return 1, "its task ended without a word"

    def stop(self) -> None:
        """See `experiments.sweep.engines.Handle`: Ctrl-C in the task, which hands it on."""
        import ray

        ray.cancel(self.reference, force=False)


class Ray:
    """Points as tasks; Ray decides which run at once, by the cores and GPUs that each asks for."""

    outlives = False

    def __init__(self, config: Config) -> None:
        """Connects to Ray, or starts it on this machine.

        Raises: `UsageError` where it does not answer.
        """
        import ray

        try:
            with shielded():  # the processes that run tasks find the project too, here and on other nodes
                names = ("PYTHONPATH", "PYTHONSAFEPATH")
                environment = {"env_vars": {name: os.environ[name] for name in names}}
                ray.init(runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            address = os.environ.get("RAY_ADDRESS", "this machine")
            raise UsageError(f"--engine=ray: no Ray at {address} (RAY_ADDRESS): {error}") from error
        asked: dict[str, Any] = {"num_cpus": config.cpus or 1, "num_gpus": config.gpus or 0, "max_retries": RETRIES}
        if config.memory_gib is not None:
            asked["memory"] = config.memory_gib * 2**30
        self.capacity = config.jobs or 10_000
        self.task = ray.remote(**asked)(run)

    def submit(self, jobs: Sequence[Job]) -> Sequence[Handle]:
        """See `experiments.sweep.engines.Engine`."""
        return [RayHandle(self.task.remote(job), job) for job in jobs]

    def attach(self, id: str, job: Job) -> Handle | None:
        """See `experiments.sweep.engines.Engine`: tasks end with the process that asked for them."""
        return None

    def close(self) -> None:
        """See `experiments.sweep.engines.Engine`."""
        import ray

        ray.shutdown()
