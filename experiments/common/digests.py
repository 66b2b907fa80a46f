"""What a run leaves and reads back, checked against its `digests.txt` (`rnn_jax.training.digests`).

A byte that changed on a disk or on the way from another machine would otherwise be another answer, without a word. What
training itself goes on with is not among them: checkpoints have digests of their own, the log and the plots are read by
people.
"""

import functools
import hashlib
import sys
from pathlib import Path

from experiments.common.flags import UsageError
from rnn_jax.files import write_whole
from rnn_jax.training import digests
from rnn_jax.training.digests import FILE

LEFT_OUT = {"checkpoints", "damaged", "events", "plots", "gradients", "tokens.bin", "metrics.jsonl", "lock", FILE}
"""Names of files and folders, wherever they are in a run's folder."""
REPAIR = "put it back, or delete results.json there and give the run's command again, which makes its files anew"


def finish(folder: Path, name: str, content: str) -> None:
    """Writes the file that says that a run is finished, and before it the digests of it and of all else that is there.

    Raises: `OSError` where one of them cannot be written: the run is not finished then.
    """
    found = digests.of_folder(folder, LEFT_OUT)
    found[name] = hashlib.sha256(content.encode()).hexdigest()
    digests.write(folder, found)
    write_whole(folder / name, content)


def check(folder: Path, *names: str, where: str | None = None) -> None:
    """Compares files, or folders with all that is in them, with what the run left.

    A run of an older version has no digests: it is read all the same, with a remark.

    Args:
        folder: of the run.
        names: what is about to be read.
        where: the flag that names the folder, for messages; without it --workdir.

    Raises: `UsageError` for what is missing, or was added to one of the folders, or has changed.
    """
    where = where or f"--workdir={folder}"
    try:
        noted = digests.read(folder)
    except (OSError, ValueError) as error:
        raise UsageError(f"{where}: {FILE} there cannot be read ({error}); {REPAIR}") from error
    if noted is None:
        _remark(f"{where}: no {FILE} there, as of an older version: what is read there is not checked")
        return
    for name in names:
        due = {path for path in noted if path == name or path.startswith(f"{name}/")}
        there = {f"{name}/{path}" for path in digests.files(folder / name)} if (folder / name).is_dir() else {name}
        for path in sorted(due | there):
            try:
                right = path in noted and digests.of_file(folder / path) == noted[path]
            except OSError as error:
                raise UsageError(f"{where}: {path} there cannot be read ({error.strerror}); {REPAIR}") from error
            if not right:
                raise UsageError(f"{where}: {path} there is not what the run left (see {FILE}); {REPAIR}")


@functools.cache
def _remark(text: str) -> None:
    print(text, file=sys.stderr)
