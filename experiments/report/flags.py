"""The flags of a report."""

from dataclasses import dataclass

from experiments.common.command import RunConfig
from experiments.common.flags import UsageError, flag


@dataclass(frozen=True)
class Config(RunConfig):
    """Flags of a report."""

    workdir: str = flag("", "not for a report, which writes to --out", local=True)
    data_dir: str = flag("", "not for a report, which reads no data", local=True)
    runs: tuple[str, ...] = flag((), "run folders, separated by commas: names or quoted patterns like 'runs/*'")
    metric: str = flag("", "what rows are ordered and compared by; without it the main figure of the experiment")
    by: tuple[str, ...] = flag((), "flags that make a row; without it all that differ, but for the seeds")
    baseline: str = flag("", "row that all others are compared with too: a baseline, or flags like cell=lstm")
    plot: tuple[str, ...] = flag((), "flags to draw the metric against; without it up to four of those that differ")
    out: str = flag("", "folder to write to; without it report/ beside the runs", local=True)
    pictures: float = flag(
        20.0, "MiB of the runs' pictures in the page, at most; further ones are named", minimum=0.0, maximum=1000.0
    )

    @property
    def makes_folder(self) -> bool:
        """A report makes no run folder."""
        return False

    def check(self, given: frozenset[str]) -> None:
        """See `RunConfig.check`."""
        for name, instead in (("workdir", "--out says where a report goes"), ("data_dir", "a report reads no data")):
            if getattr(self, name):
                raise UsageError(f"--{name}={getattr(self, name)}: {instead}; leave it out")
        if not self.runs:
            raise UsageError("--runs: name run folders, like --runs='runs/*'")
