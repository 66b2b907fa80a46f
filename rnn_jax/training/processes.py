"""Several processes that train together, one program in each: how they start, agree and end.

All run the same commands on the same data; the first alone keeps what a run leaves. JAX finds the others where SLURM,
Open MPI or Kubernetes have started them. What a process has to know of the first, it asks with `by_first`; what all
compute together, `rnn_jax.training.devices` says.

When one ends before its time the others cannot go on: what they compute together fails, or they miss its heartbeats.
The run is then started again, with any number of processes, and goes on from its last checkpoint.
"""

import pickle
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

Value = TypeVar("Value")
Raised = TypeVar("Raised", bound=BaseException)

HEARTBEAT_SECONDS = 20
"""Without a sign of life for so long a process counts as dead, and all others end."""

SHUTDOWN_SECONDS = 3600
"""How long a process that is done waits for the others."""

PIECE = 2**28
"""Bytes in one message."""


def start(
    coordinator_address: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Joins the other processes: before anything is computed. No effect where that has been done.

    From then on a process that comes to its end waits for the others, up to `SHUTDOWN_SECONDS`. One that fails where
    they do not has to leave without that (`os._exit`), or they wait for each other.

    Args:
        coordinator_address: `host:port` of the first process; None, like the others: as SLURM, Open MPI or Kubernetes
            say.
        num_processes: how many there are.
        process_id: which of them this one is, from 0.

    Raises: `ValueError` or `RuntimeError` of JAX where they cannot be found.
    """
    if jax.distributed.is_initialized():
        return
    jax.config.update("jax_enable_preemption_service", False)  # SIGTERM is ours: `rnn_jax.training.interrupt`
    jax.distributed.initialize(
        coordinator_address,
        num_processes,
        process_id,
        heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        shutdown_timeout_seconds=SHUTDOWN_SECONDS,
    )


def several() -> bool:
    """Whether there is more than this one. Starts nothing: where none were joined there is one."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
    """Whether this is the process that writes."""
    return not several() or jax.process_index() == 0


def by_first(function: Callable[[], Value]) -> Value:
    """`function()` in the first process; all others wait for it, and return what it returned or raise what it raised.

    What all raise is marked as such: `is_of_all`. An exception that cannot be sent is a `RuntimeError` with its words.
    """
    if not several():
        return function()
    found: tuple[Any, Exception | None] = (None, None)
    if is_first():
        try:
            found = (function(), None)
        except Exception as raised:
            found = (None, _to_send(raised))
    value, error = pickle.loads(_send(pickle.dumps(found)))  # our own bytes, from our own process
    if error is not None:
        raise of_all(error)
    result: Value = value
    return result


def by_all(function: Callable[[], Value]) -> list[Value]:
    """`function()` in every process: what each of them returned, small things. Where one raises, all raise the same."""
    value, error = None, None
    try:
        value = function()
    except Exception as raised:
        if not several():
            raise
        error = _to_send(raised)
    found = _from_each((value, error))
    errors = [error for _, error in found if error is not None]
    if errors:
        raise of_all(errors[0])
    return [value for value, _ in found]


def of_all(error: Raised) -> Raised:
    """An exception that all processes raise, each by itself: none has to tell the others."""
    error.of_all = True  # type: ignore[attr-defined]
    return error


def is_of_all(error: BaseException) -> bool:
    """Whether the other processes raise it too, or there are none."""
    return not several() or getattr(error, "of_all", False)


def largest(number: int) -> int:
    """The largest of a number of each process."""
    if not several():
        return number
    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


def _to_send(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # of its own, from whatever it holds: the others wait all the same
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _from_each(value: Any) -> list[Any]:
    """The value of each process."""
    if not several():
        return [value]
    own = np.frombuffer(pickle.dumps(value), np.uint8)
    sizes = multihost_utils.process_allgather(np.int32(own.size))
    same = np.zeros(2 ** int(max(sizes) - 1).bit_length(), np.uint8)  # of few sizes: each of them is compiled
    same[: own.size] = own
    found = np.asarray(multihost_utils.process_allgather(same), np.uint8)
    return [pickle.loads(each[:size].tobytes()) for each, size in zip(found, sizes, strict=True)]


def _send(message: bytes) -> bytes:
    """The message of the first process."""
    pieces = int(multihost_utils.broadcast_one_to_all(np.int32(-(-len(message) // PIECE))))
    received = []
    for piece in range(pieces):
        own = np.frombuffer(message[piece * PIECE : (piece + 1) * PIECE], np.uint8)
        size = int(multihost_utils.broadcast_one_to_all(np.int32(own.size)))
        own = own if is_first() else np.zeros(size, np.uint8)
        received.append(np.asarray(multihost_utils.broadcast_one_to_all(own), np.uint8).tobytes())
    return b"".join(received)
