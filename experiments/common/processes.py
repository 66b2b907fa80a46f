"""One run in several processes: flags, and what each of them does with a run folder.

The first keeps the folder. Each of the others has one of its own for what it would write, which goes when it ends, so
the machines need no common file system.
"""

import contextlib
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from experiments.common.flags import UsageError

if TYPE_CHECKING:
    from experiments.common.training import TrainConfig

LOST = 75
"""The exit status where another process has gone: the same command, in as many processes or others, goes on."""


def join(config: "TrainConfig") -> None:
    """Joins the other processes that the flags name, or that the cluster has started. Before anything is computed.

    Raises: `UsageError` where they cannot be found.
    """
    from rnn_jax.training import processes

    named = {name: getattr(config, name) for name in ("coordinator_address", "num_processes", "process_id")}
    given = [name for name, value in named.items() if value is not None]
    if not given and not config.distributed:
        return
    if given and len(given) < len(named):
        missing = ", ".join(f"--{name}" for name in named if name not in given)
        raise UsageError(f"--{given[0]}={named[given[0]]}: needs {missing} too; or --distributed, as the cluster says")
    if config.num_processes is not None and config.process_id is not None and config.process_id >= config.num_processes:
        raise UsageError(f"--process_id={config.process_id}: counts from 0 to {config.num_processes - 1}")
    if config.coordinator_address is not None and not config.coordinator_address.rpartition(":")[2].isdigit():
        raise UsageError(f"--coordinator_address={config.coordinator_address}: name host:port of the first process")
    try:
        processes.start(config.coordinator_address, config.num_processes, config.process_id)
    except (ValueError, RuntimeError) as error:
        flag = f"--{given[0]}={named[given[0]]}" if given else "--distributed"
        reason = str(error).splitlines()[0][:200]
        raise UsageError(f"{flag}: the processes do not find each other: {reason}") from error
    if not processes.is_first():  # what libraries print too, which write past `sys.stdout`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


@contextlib.contextmanager
def folder_of(make: Callable[[], Path]) -> Iterator[Path]:
    """The folder that this process writes to: `make()` of the first, for all others a temporary one and no output."""
    from rnn_jax.training import processes

    folder = Path(processes.by_first(lambda: str(make())))
    if processes.is_first():
        yield folder
        return
    with tempfile.TemporaryDirectory() as own:
        yield Path(own)


def end_alone(error: BaseException, status: int) -> None:
    """Where one of several processes fails, and the others do not know: it ends at once, without waiting for them.

    JAX would wait at its end for all processes, and these for it.
    """
    from rnn_jax.training import processes

    if not processes.is_of_all(error):
        _exit(status)


def says(error: BaseException) -> bool:
    """Whether this process is the one to say so: of what all raise, the first."""
    from rnn_jax.training import processes

    return processes.is_first() or not processes.is_of_all(error)


def crashed(error: Exception) -> None:
    """After a mistake of ours: where the others do not know, the traceback and the end, without waiting for them."""
    from rnn_jax.training import processes

    if not processes.is_of_all(error):
        traceback.print_exception(error)
        _exit(1)


def lost(error: Exception) -> None:
    """Where what several processes compute together has failed, as one of them has gone: it ends too."""
    import jax

    from rnn_jax.training import processes

    if processes.is_of_all(error):
        return
    first = next(iter(str(error).splitlines()), type(error).__name__)[:160]
    print(
        f"process {jax.process_index()} of {jax.process_count()} ends, as another process of this run has ended "
        f"({first}); start all of them again: the run goes on from its last checkpoint",
        file=sys.stderr,
    )
    _exit(LOST)


def _exit(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
