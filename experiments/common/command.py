"""From a command line to a run: the folder, the errors, the exit status. The same for every experiment."""

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.common.flags import UsageError, flag, flagfile_lines, help_text, parse
from rnn_jax.data.errors import DataError
from rnn_jax.training.errors import Interrupted, TrainingError


@dataclass(frozen=True)
class RunConfig:
    """The flags of every experiment."""

    workdir: str = flag("", "folder of the run; without it, one under runs/ that is named after the flags", local=True)
    data_dir: str = flag("", "folder with data files; without it $RNN_JAX_DATA, then ~/.cache/rnn_jax", local=True)


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
        if folder.exists() and not {path.name for path in folder.iterdir()} <= {"flags.txt", "flags.partial"}:
            if before is None:
                text = "not empty and no run of ours (no flags.txt); name another folder"
                raise UsageError(f"--workdir={folder}: {text}")
            _check_same(folder, before, lines)
            return folder
        folder.mkdir(parents=True, exist_ok=True)
        _write_whole(file, "\n".join(lines) + "\n")
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


def check_data(folder: Path, fingerprint: str) -> None:
    """Raises `UsageError` if the run began with data of another fingerprint."""
    file = folder / "data.txt"
    if file.exists() and file.read_bytes().strip() != fingerprint.encode():
        raise UsageError(f"--workdir={folder} was made with other data (data.txt); put it back or name another folder")


def check_finished(folder: Path, fingerprint: Callable[[], str]) -> str:
    """What to add to the words that a run is finished: nothing, or a remark where its data cannot be read any more.

    Raises: `UsageError` where the data is no longer that of the run.
    """
    try:
        mark = fingerprint()
    except DataError as error:
        return f", its data cannot be read any more ({error})"
    check_data(folder, mark)
    return ""


def note_data(folder: Path, fingerprint: str) -> None:
    """Writes down in `data.txt` which data the run begins with; no effect when it continues."""
    if not (folder / "data.txt").exists():
        _write_whole(folder / "data.txt", fingerprint + "\n")


def _write_whole(file: Path, text: str) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, file)


def _has_checkpoint(folder: Path | None) -> bool:
    return folder is not None and any((folder / "checkpoints").glob("*"))


def main(
    name: str, config_class: type, run: Callable[[Any, Any], int | None], about: str | None, arguments: Sequence[str]
) -> int:
    """Runs an experiment, `run(config, run folder)`, from its arguments and returns the exit status.

    A config that is no `RunConfig` has no folder. `run` may return an exit status of its own. Otherwise it is 0
    when done, 2 for bad input or training that cannot go on, with one line on stderr that says what to do, and 128 + n
    when stopped by signal n after saving.
    """
    if any(argument in ("--help", "-h", "-help", "--helpfull") for argument in arguments):
        print(f"python launch.py {name} [--flag=value ...]\n\n{(about or '').strip()}\n\nFlags:")
        print(help_text(config_class))
        return 0
    folder: Path | None = None
    try:
        config: Any = parse(config_class, arguments)
        if isinstance(config, RunConfig):
            folder = run_folder(name, config)
            print(f"run folder: {folder}")
        return run(config, folder) or 0
    except (UsageError, DataError, TrainingError) as error:
        print(f"error: {' '.join(str(error).splitlines())}", file=sys.stderr)
        return 2
    except OSError as error:  # the run folder is read-only, the disk is full, ...
        where = [] if folder is None else [f"--workdir={folder}"]
        file = [] if error.filename is None else [str(error.filename)]
        print(f"error: {': '.join([*where, error.strerror or str(error), *file])}", file=sys.stderr)
        return 2
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        return 128 + interrupted.signal_number
    except KeyboardInterrupt:
        more = "; the same command continues from the last checkpoint" if _has_checkpoint(folder) else ""
        print(f"interrupted{more}", file=sys.stderr)
        return 130
