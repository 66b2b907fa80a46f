"""Orbax as it is called here: each process by itself, in silence, and what the system said where a call fails."""

import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from rnn_jax.training.errors import TrainingError

# Orbax reports every save, and every thread and future that fails in one; what matters we say ourselves.
for name in ("absl", "asyncio"):
    logging.getLogger(name).setLevel(logging.CRITICAL)


def alone() -> ocp.options.MultiprocessingOptions:
    """Of several processes this one reads and writes by itself, and Orbax waits for no other."""
    own = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process{own}"
    )


def reader() -> Any:
    """Of a pytree that Orbax wrote, to be closed."""
    return ocp.StandardCheckpointer(multiprocessing_options=alone())


def as_arrays(shapes: Any) -> Any:
    """A pytree of shapes as Orbax takes it to read arrays of NumPy, wherever those lay that were written."""
    return jax.tree.map(lambda leaf: np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape), shapes)


@contextmanager
def saving(what: str, named: Callable[[str], str] = str) -> Iterator[None]:
    """Around a save, which is silent, and fails as a `TrainingError`: "cannot save `what`: " and what the system said.

    Args:
        what: is saved, and where.
        named: says a message of Orbax or TensorStore in our words.
    """
    try:
        with _others_silent():
            yield
    except (OSError, ValueError) as error:  # ValueError: what TensorStore makes of an error of the system
        raise TrainingError(f"cannot save {what}: {named(_of_system(error))}") from error


def reason(error: Exception) -> str:
    """Its first line, not too long."""
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _of_system(error: Exception) -> str:
    """What the system said, which TensorStore has somewhere in a long line."""
    known = (os.strerror(number) for number in errno.errorcode)
    return next((words for words in known if words in str(error)), reason(error))


@contextmanager
def _others_silent() -> Iterator[None]:
    """While this thread saves. A save that fails leaves TensorStore's threads with a closed loop to report to.

    They print that as tracebacks, the last of them after the save has ended, so that after one that failed it stays so.
    """
    before = sys.unraisablehook

    def but_for_those(report: Any) -> None:
        if str(report.exc_value) != "Event loop is closed":
            before(report)

    sys.unraisablehook = but_for_those
    yield
    sys.unraisablehook = before
