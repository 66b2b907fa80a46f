"""From a command line to a run: the folder, the errors, the exit status. The same for every experiment."""

import dataclasses
import errno
import hashlib
import importlib
import os
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from experiments.common import lock, processes
from experiments.common.flags import UsageError, When, flag, flagfile_lines, help_text, parse_given, read_flagfile
from experiments.process import OutputLost, Process, farewell
from rnn_jax.data.errors import DataError
from rnn_jax.files import write_whole
from rnn_jax.training.errors import Interrupted, OutOfMemory, TrainingError

FLAGS = "flags.txt"


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
        folder: Path | None = None
        try:
            if any(argument in ("--help", "-h", "-help", "--helpfull") for argument in arguments):
                about = (self.about or "").strip().replace("python launch.py", program)
                print(f"{program} {self.name} [--flag=value ...]\n\n{about}\n\nFlags:")
                print(help_text(self.config))
                return 0
            _check_text(arguments)
            config, given = parse_given(self.config, arguments)
            config = config.completed(given)
            config.check(given)
            if not config.makes_folder:
                if Process.output is not None:
                    Process.output.needed = True
                return self._run(config, Path(config.workdir))
            with processes.folder_of(lambda: run_folder(self.name, config)) as folder:
                Process.folder = folder
                print(f"run folder: {folder}")
                return self._run(config, folder)
        except OutOfMemory as error:
            return _failed(error, f"{error}; lower {_what_takes_memory(self.config)}")
        except (UsageError, DataError, TrainingError) as error:
            return _failed(error, as_flags(str(error), self.config))
        except OutputLost as lost:
            if lost.error.errno == errno.EPIPE:  # `| head -1` has what it wanted
                return 0 if folder is not None else 128 + signal.SIGPIPE
            return _failed(lost, f"{lost}" + (f"; the results are in {folder}" if folder is not None else ""))
        except OSError as error:  # the run folder is read-only, the disk is full, ...
            where = [] if folder is None else [f"--workdir={folder}"]
            file = [] if error.filename is None else [str(error.filename)]
            return _failed(error, ": ".join([*where, error.strerror or str(error), *file]))
        except (MemoryError, RuntimeError) as error:
            if out_of_memory(error):
                lower = _what_takes_memory(self.config)
                return _failed(error, f"not enough memory ({str(error)[:200] or 'Python'}); lower {lower}")
            processes.lost(error)
            raise
        except Interrupted as interrupted:
            if processes.says(interrupted):
                print(interrupted, file=sys.stderr)
            return 128 + interrupted.signal_number
        except KeyboardInterrupt:
            print(farewell(folder), file=sys.stderr)
            processes.end_alone(KeyboardInterrupt(), 130)
            return 130
        except Exception as error:
            processes.crashed(error)
            raise
        finally:
            if folder is not None:
                lock.release(folder)

    def _run(self, config: RunConfig, folder: Path) -> int:
        status = importlib.import_module(self.module).run(self.name, config, folder) or 0
        if Process.output is not None:
            Process.output.check()
        return status


def _failed(error: BaseException, message: str) -> int:
    """One line on stderr, and the status of a command that could not be done."""
    if processes.says(error):
        print(f"error: {' '.join(message.splitlines())}", file=sys.stderr)
    processes.end_alone(error, 2)
    return 2


def _check_text(arguments: Sequence[str]) -> None:
    for argument in arguments:
        if not argument.isprintable() and (bad := [c for c in argument if "\ud800" <= c <= "\udfff"]):
            raise UsageError(f"{ascii(argument)[:200]}: the byte {ord(bad[0]) - 0xDC00:#x} is not UTF-8 text")


def out_of_memory(error: BaseException) -> bool:
    """Whether that is what an error of Python or XLA says."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def _what_takes_memory(config_class: type) -> str:
    names = (
        "batch_size",
        "hidden_size",
        "num_layers",
        "num_seeds",
        "length",
        "lengths",
        "lag",
        "max_length",
        "text_length",
    )
    there = [f"--{field.name}" for field in dataclasses.fields(config_class) if field.name in names]
    return " or ".join(there) or "the size of what is computed"


def as_flags(message: str, config_class: type) -> str:
    """A message of the library with its parameters as the flags that set them.

    >>> as_flags("no file in data_dir=/data", RunConfig)
    'no file in --data_dir=/data'
    """
    names = "|".join(field.name for field in dataclasses.fields(config_class))
    return re.sub(rf"(?<![\w/=-])({names})=", r"--\1=", message)


def data_folder(config: RunConfig) -> Path:
    """Where data files are looked for."""
    return Path(config.data_dir or os.environ.get("RNN_JAX_DATA") or os.path.expanduser("~/.cache/rnn_jax"))


def run_folder(name: str, config: RunConfig) -> Path:
    """The folder of a run, with its `flags.txt`: an empty one is made ours, one made with the same flags continues.

    A folder that holds nothing but flags counts as empty: that run ended before it began, with a mistyped flag perhaps.
    It is taken for this process, see `experiments.common.lock`.

    Raises: `UsageError` when the folder was made with other flags, with the difference, or cannot be written, or
        another process has it.
    """
    lines = flagfile_lines(config)
    if broken := [line for line in lines if "\n" in line]:
        raise UsageError(f"{broken[0].split('=')[0]}: a value with a line end cannot be written down in {FLAGS}")
    code = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]
    folder = Path(config.workdir or Path("runs") / f"{name}-{code}")
    try:
        if _begun(folder) and not os.path.lexists(folder / FLAGS):
            raise UsageError(f"--workdir={folder}: not empty and no run of ours (no {FLAGS}); name another folder")
        folder.mkdir(parents=True, exist_ok=True)
        lock.take(folder)
    except OSError as error:
        raise UsageError(f"--workdir={folder}: {error.strerror or error}") from error
    try:
        if _begun(folder):
            _check_same(folder, lines)
        else:
            write_whole(folder / FLAGS, "\n".join(lines) + "\n")
    except (UsageError, OSError) as error:
        lock.release(folder)
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"--workdir={folder}: {error.strerror or error}") from error
    return folder


def _begun(folder: Path) -> bool:
    """Whether there is more in the folder than flags."""
    return folder.exists() and not {path.name for path in folder.iterdir()} <= {FLAGS, f"{FLAGS}.partial", lock.FILE}


def _check_same(folder: Path, now: list[str]) -> None:
    try:
        before = read_flagfile(folder / FLAGS)
    except UsageError as error:
        text = f"{FLAGS} there is damaged: {error}; write it anew with the flags of the run, or name another folder"
        raise UsageError(f"--workdir={folder}: {text}") from error
    if len(before) < len(now) and "\n".join(now).startswith("\n".join(before)):
        text = f"{FLAGS} there is cut short; write it anew with the flags of the run, or name another folder"
        raise UsageError(f"--workdir={folder}: {text}")
    was, wanted = (dict(line.split("=", 1) for line in lines) for lines in (before, now))
    names = [name for name in {**was, **wanted} if was.get(name) != wanted.get(name)]
    if names:
        difference = ", ".join(
            f"{name}={was.get(name, 'unset')} there, {wanted.get(name, 'unset')} here" for name in names
        )
        raise UsageError(f"--workdir={folder} was made with other flags ({difference}); name another folder")
