"""From a command line to a run: the folder, the errors, the exit status. The same for every experiment."""

import dataclasses
import hashlib
import importlib
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from experiments.common import processes
from experiments.common.flags import UsageError, When, flag, flagfile_lines, help_text, parse_given
from rnn_jax.data.errors import DataError
from rnn_jax.files import write_whole
from rnn_jax.training.errors import Interrupted, TrainingError


@dataclass(frozen=True)
class RunConfig:
    """The flags of every experiment."""

    workdir: str = flag("", "folder of the run; without it, one under runs/ that is named after the flags", local=True)
    data_dir: str = flag("", "folder with data files; without it $RNN_JAX_DATA, then ~/.cache/rnn_jax", local=True)

    DEFAULTS: ClassVar[tuple[When, ...]] = ()

    @property
    def makes_folder(self) -> bool:
        """Whether this command begins or continues a run; else it only reads one."""
        return True

    def completed(self, given: frozenset[str]) -> Self:
        """The flags of the run: those that are not given may follow from what others name. Before `check`.

        Args:
            given: the names of the flags on the command line.

        Raises: `UsageError`, which names the flags.
        """
        return self

    def check(self, given: frozenset[str]) -> None:
        """Looks for flags that contradict each other: after parsing, before data is read or a folder made.

        Args:
            given: the names of the flags on the command line.

        Raises: `UsageError`, which names the flags.
        """


@dataclass(frozen=True)
class Experiment:
    """Something that can be launched.

    Attributes:
        name: what one launches.
        about: what `--help` says before the flags.
        config: its flags, a `RunConfig`.
        module: where `run(name, config, run folder)` is, which returns an exit status or None for 0. Imported when it
            is run, as `--help` shall not wait for what it needs. Of an experiment that trains also `make_model` and
            `look_at`, see `experiments.common.restore`.
    """

    name: str
    about: str | None
    config: type[RunConfig]
    module: str

    def main(self, arguments: Sequence[str], program: str = "python launch.py") -> int:
        """Runs the experiment from its arguments and returns the exit status.

        Args:
            arguments: its flags.
            program: how it was started, as `--help` names it.

        That of the run, 2 for bad input or training that cannot go on, with one line on stderr that says what to do,
        and 128 + n when stopped by signal n after saving.
        """
        if any(argument in ("--help", "-h", "-help", "--helpfull") for argument in arguments):
            about = (self.about or "").strip().replace("python launch.py", program)
            print(f"{program} {self.name} [--flag=value ...]\n\n{about}\n\nFlags:")
            print(help_text(self.config))
            return 0
        folder: Path | None = None
        try:
            config, given = parse_given(self.config, arguments)
            config = config.completed(given)
            config.check(given)
            if not config.makes_folder:
                return importlib.import_module(self.module).run(self.name, config, Path(config.workdir)) or 0
            with processes.folder_of(lambda: run_folder(self.name, config)) as folder:
                print(f"run folder: {folder}")
                return importlib.import_module(self.module).run(self.name, config, folder) or 0
        except (UsageError, DataError, TrainingError) as error:
            print(f"error: {as_flags(' '.join(str(error).splitlines()), self.config)}", file=sys.stderr)
            processes.end_alone(error, 2)
            return 2
        except OSError as error:  # the run folder is read-only, the disk is full, ...
            where = [] if folder is None else [f"--workdir={folder}"]
            file = [] if error.filename is None else [str(error.filename)]
            print(f"error: {': '.join([*where, error.strerror or str(error), *file])}", file=sys.stderr)
            processes.end_alone(error, 2)
            return 2
        except Interrupted as interrupted:  # all processes, where there are several
            if processes.is_first():
                print(interrupted, file=sys.stderr)
            return 128 + interrupted.signal_number
        except KeyboardInterrupt:
            more = "; the same command continues from the last checkpoint" if _has_checkpoint(folder) else ""
            print(f"interrupted{more}", file=sys.stderr)
            processes.end_alone(KeyboardInterrupt(), 130)
            return 130
        except RuntimeError as error:  # of which kind is that of what all processes compute together
            if not processes.several():
                raise
            processes.lost(error)


def as_flags(message: str, config_class: type) -> str:
    """A message of the library with its parameters as the flags that set them.

    >>> as_flags("no file in data_dir=/data", RunConfig)
    'no file in --data_dir=/data'
    """
    names = "|".join(field.name for field in dataclasses.fields(config_class))
    return re.sub(rf"(?<![\w/=-])({names})=", r"--\1=", message)


def data_folder(config: RunConfig) -> Path:
    """Where data files are looked for."""
    return Path(config.data_dir or os.environ.get("RNN_JAX_DATA") or Path.home() / ".cache" / "rnn_jax")


def run_folder(name: str, config: RunConfig) -> Path:
    """The folder of a run, with its `flags.txt`: an empty one is made ours, one made with the same flags continues.

    A folder that holds nothing but flags counts as empty: that run ended before it began, with a mistyped flag perhaps.

    Raises: `UsageError` when the folder was made with other flags, with the difference, or cannot be written.
    """
    lines = flagfile_lines(config)
    code = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]
    folder = Path(config.workdir or Path("runs") / f"{name}-{code}")
    file = folder / "flags.txt"
    try:
        before = file.read_text(encoding="utf-8").splitlines() if file.exists() else None
        if folder.exists() and not {path.name for path in folder.iterdir()} <= {"flags.txt", "flags.txt.partial"}:
            if before is None:
                text = "not empty and no run of ours (no flags.txt); name another folder"
                raise UsageError(f"--workdir={folder}: {text}")
            _check_same(folder, before, lines)
            return folder
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, "\n".join(lines) + "\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"--workdir={folder}: flags.txt there is not UTF-8 text; name another folder") from error
    except OSError as error:
        raise UsageError(f"--workdir={folder}: {error.strerror or error}") from error
    return folder


def _check_same(folder: Path, before: list[str], now: list[str]) -> None:
    was, wanted = (dict(line.split("=", 1) for line in lines if "=" in line) for lines in (before, now))
    names = [name for name in {**was, **wanted} if was.get(name) != wanted.get(name)]
    if names:
        difference = ", ".join(
            f"{name}={was.get(name, 'unset')} there, {wanted.get(name, 'unset')} here" for name in names
        )
        raise UsageError(f"--workdir={folder} was made with other flags ({difference}); name another folder")


def _has_checkpoint(folder: Path | None) -> bool:
    return folder is not None and any((folder / "checkpoints").glob("*"))
