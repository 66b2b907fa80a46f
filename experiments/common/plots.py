"""Drawing what a run has found: after its results are written, and never at their cost."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def draw(plot: Callable[..., None], path: Path, *arguments: Any, **options: Any) -> None:
    """Calls a function of `rnn_jax.plotting`; one that fails leaves a line on stderr, and no half a picture.

    Args:
        plot: which takes the PNG to write, and then what it draws.
        path: of the PNG.
        arguments, options: of `plot`.
    """
    try:
        plot(path, *arguments, **options)
    except Exception as error:  # what Matplotlib cannot draw surfaces as almost any error
        with contextlib.suppress(OSError):  # a folder of that name, a disk that takes nothing
            path.unlink(missing_ok=True)
        words = f"there is no {error} to draw" if isinstance(error, KeyError) else str(error)
        reason = " ".join(words.split())[:200] or type(error).__name__
        print(f"no plot {path}: {reason}; everything else of the run is there", file=sys.stderr)
