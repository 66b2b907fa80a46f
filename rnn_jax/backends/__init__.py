"""How `unroll` computes values and gradients: back ends with one signature and the same answers.

A back end is `run(cell, reverse, params, carry, xs [T, B, I], controls) -> (final carry, ys [T, B, H])`.
"""

from collections.abc import Callable
from typing import Any

from rnn_jax.backends import manual, scan

BACKENDS: dict[str, Callable[..., Any]] = {"scan": scan.run, "manual": manual.run}

__all__ = ["BACKENDS"]
