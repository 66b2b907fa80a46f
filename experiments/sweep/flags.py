"""The flags of a sweep, and which of a command line's flags are those of its points."""

import dataclasses
import shlex
import shutil
import typing
from collections.abc import Sequence
from dataclasses import dataclass

from experiments import EXPERIMENTS, launchable
from experiments.common.command import RunConfig
from experiments.common.flags import UsageError, flag, kind_of
from experiments.sweep import space
from rnn_jax.extras import need

ENGINES = {"local": ("submitit", "experiments"), "slurm": ("submitit", "experiments"), "ray": ("ray", "ray")}
"""Where points can run: the package that takes them there, and the extra that has it."""
OPTUNA = ("optuna", "search")
SEARCHES = ("grid", "random", "optuna")
SWEEPABLE = tuple(name for name in EXPERIMENTS if name not in ("sweep", "report"))
"""Experiments that begin runs."""
OF_SLURM = ("minutes", "partition", "slurm_options")
MOST_POINTS = 2_000


@dataclass(frozen=True)
class Config(RunConfig):
    """Flags of a sweep. None but `RunConfig`'s is called like a flag of an experiment."""

    experiment: str = flag("", "the experiment; also the word after `sweep`")
    flags: str = flag("", "flags that every point gets, as one writes them; also all flags that are not listed here")
    grid: str = flag(
        "",
        'what is swept: "cell=rnn,lstm;hidden_size=32,64". Values that have commas in them are separated by |; none: '
        "the flag is not given. For a search also ranges: learning_rate=1e-4..1e-1:log;hidden_size=16..128",
    )
    search: str = flag(
        "grid", "all combinations; or points drawn at random; or by Optuna from what is known", choices=SEARCHES
    )
    trials: int = flag(20, "points of a search", minimum=1, maximum=MOST_POINTS)
    search_seed: int = flag(0, "draws the points of a search", minimum=0, below=2**31)
    metric: str = flag(
        "", "what the table is sorted by; without it validation_loss, the first measure where runs have none. Optuna "
        "goes by validation_loss where runs have it, and by this elsewhere",
    )  # fmt: skip
    maximize: bool | None = flag(None, "largest first; without it for accuracy, f1, r2 and skill")
    engine: str = flag("local", "where points run", choices=tuple(ENGINES), local=True)
    jobs: int | None = flag(
        None, "points at once; without it one here, on a cluster as many as it takes", minimum=1, maximum=10_000,
        local=True,
    )  # fmt: skip
    cpus: int | None = flag(
        None, "cores of a point; without it an equal share of this machine's, one on a cluster", minimum=1,
        maximum=10_000, local=True,
    )  # fmt: skip
    gpus: int | None = flag(None, "GPUs of a point; here each job has its own", minimum=0, maximum=64, local=True)
    memory_gib: int | None = flag(None, "memory of a point on a cluster", minimum=1, maximum=100_000, local=True)
    minutes: int = flag(
        60, "a job of SLURM that takes longer saves and is queued again", minimum=1, maximum=1_000_000, local=True
    )
    partition: str = flag("", "of SLURM", local=True)
    slurm_options: tuple[str, ...] = flag((), "more of sbatch: account=mine,constraint=a100", local=True)

    def check(self, given: frozenset[str]) -> None:
        """See `RunConfig.check`."""
        if self.experiment not in SWEEPABLE:
            asked = f"{self.experiment!r} is no experiment" if self.experiment else "no experiment is named"
            raise UsageError(f"sweep EXPERIMENT: {asked}: take one of {', '.join(SWEEPABLE)}")
        if self.engine == "slurm" and shutil.which("srun") is None:
            raise UsageError("--engine=slurm: there is no srun here; start the sweep on a machine of the cluster")
        if self.engine != "slurm":
            for name in sorted(given.intersection(OF_SLURM)):
                raise UsageError(f"--{name} goes with --engine=slurm, not with {self.engine}")
        if self.engine == "local" and self.memory_gib is not None:
            raise UsageError(f"--memory_gib={self.memory_gib} goes with --engine=slurm and ray")
        for option in self.slurm_options:
            if "=" not in option:
                raise UsageError(f"--slurm_options={option}: write name=value")
        if self.search == "grid":
            for name in sorted(given.intersection(("trials", "search_seed"))):
                raise UsageError(f"--{name} goes with --search=random and optuna: a grid has as many points as it has")
        for package, extra in (ENGINES[self.engine], *([OPTUNA] if self.search == "optuna" else [])):
            try:
                need("sweep", package, extra=extra)
            except ModuleNotFoundError as error:
                raise UsageError(str(error)) from error
        self._check_points()

    @property
    def point_flags(self) -> list[str]:
        """The flags that every point gets."""
        try:
            words = shlex.split(self.flags)
        except ValueError as error:
            raise UsageError(f"--flags={self.flags}: {error}") from error
        return [*words, *([f"--data_dir={self.data_dir}"] if self.data_dir else [])]

    @property
    def swept(self) -> space.Space:
        """What is swept. Raises `UsageError` for a flag that the experiment does not have, or not with that value."""
        return space.parse_grid(self.grid, launchable(self.experiment).config)

    def _check_points(self) -> None:
        """All that is known of the points before the first runs, as the experiment itself would check it."""
        config_class = launchable(self.experiment).config
        given = space.check(config_class, self.point_flags, "flags of every point", whole=False)
        swept = self.swept
        if "workdir" in given or "workdir" in swept:
            raise UsageError("--workdir is the folder of the sweep: its points have theirs in that")
        for name in swept:
            if name in given:
                raise UsageError(f"--grid: {name} is also among the flags of every point, {self.flags}; give it once")
        for name, values in swept.items():
            if isinstance(values, space.Range) and self.search == "grid":
                text = f"--grid: {name}={values} is a range; list its values, or take --search=random or optuna"
                raise UsageError(text)
        if self.search == "grid":
            count = space.grid_size(swept)
            if count > MOST_POINTS:
                raise UsageError(f"--grid: has {count:,} points, {MOST_POINTS:,} is the most; take --search=random")
        for point in space.grid_points(swept) if self.search == "grid" else space.corners(swept):
            space.check_point(config_class, self.point_flags, point)


def gather(arguments: Sequence[str]) -> list[str]:
    """A command line with the experiment, and the flags of its points, as values of the sweep's own flags.

    >>> gather(["forecast", "--grid=cell=rnn,lstm", "--epochs=3", "--jobs", "2", "--", "--seed", "1"])
    ['--experiment=forecast', '--grid=cell=rnn,lstm', '--jobs', '2', '--flags=--epochs=3 --seed 1']
    """
    types = typing.get_type_hints(Config)
    known = {field.name for field in dataclasses.fields(Config)} | {"flagfile", "help", "helpfull", "h"}
    known |= {f"no{name}" for name in known & types.keys() if kind_of(types[name])[0] is bool}
    arguments = list(arguments)
    if "--flags" in arguments[:-1]:  # its value is the next word, whatever that begins with
        place = arguments.index("--flags")
        arguments[place : place + 2] = [f"--flags={arguments[place + 1]}"]
    own: list[str] = []
    points: list[str] = []
    named, target = False, own
    for place, word in enumerate(arguments):
        name, _, value = word.lstrip("-").partition("=")
        if word == "--":
            points += map(shlex.quote, arguments[place + 1 :])
            break
        if word.startswith("-"):
            target = own if name in known else points
        elif not named and (place == 0 or "=" in arguments[place - 1]):  # else it is the value of the flag before it
            named, word, target = True, f"--experiment={word}", own
        if word.startswith("--flags="):
            points.insert(0, value)  # already as one writes them
        else:
            target.append(word if target is own else shlex.quote(word))
    return [*own, *([f"--flags={' '.join(points)}"] if points else [])]
