"""Plots of what a run has logged. The log may be damaged or gone: then a plot is missing, never the results."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def draw(plot: Callable[..., None], path: Path, *arguments: Any) -> None:
    """Calls `plot(path, *arguments)`; where it cannot draw, a line on stderr says so.

    Raises: `OSError` where the file cannot be written.
    """
    try:
        plot(path, *arguments)
    except OSError:
        raise
    except Exception as error:  # whatever the log holds may surface as almost any error
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        print(f"no {path}: metrics.jsonl does not have what it shows ({reason})", file=sys.stderr)
