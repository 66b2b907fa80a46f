"""Compare hand-derived, automatic and finite-difference gradients, for every cell, dtype and case.

Every output gets a random cotangent: all steps' outputs and every final carry. Two columns: the largest relative error
of the hand-derived gradient against autodiff, and of autodiff against central differences in float64. Ends with exit
status 1 if a row is above its tolerance. About 45 seconds on 2 cores.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import jax

from experiments.common.command import main as run_command
from experiments.common.flags import flag, listed
from rnn_jax.diagnostics import gradcheck


@dataclass(frozen=True)
class Config:
    """Flags of the gradient check."""

    cells: str = flag(",".join(gradcheck.RULES), "cells to check, separated by commas")
    dtypes: str = flag(",".join(gradcheck.TOLERANCES), "types to check")
    cases: str = flag(",".join(gradcheck.CASES), "cases to check")
    seed: int = flag(0, "draws the parameters, the inputs and the cotangents", minimum=0, below=2**31)


def run(config: Config, workdir: None) -> int:
    """Prints a row per check; returns the exit status."""
    del workdir  # nothing is kept
    jax.config.update("jax_enable_x64", True)
    choice = {
        "cells": listed(config, "cells", tuple(gradcheck.RULES)),
        "dtypes": listed(config, "dtypes", tuple(gradcheck.TOLERANCES)),
        "cases": listed(config, "cases", tuple(gradcheck.CASES)),
    }
    print(f"{'cell':<13} {'dtype':<8} {'case':<14} {'hand/autodiff':>14} {'autodiff/finite':>16}")
    total = failed = 0
    for row in gradcheck.check_all(**choice, seed=config.seed):
        total, failed = total + 1, failed + (not row.passed)
        verdict = "" if row.passed else f"  FAILED: above {row.manual_tolerance:.0e} or {row.finite_tolerance:.0e}"
        errors = f"{row.manual_error:>14.1e} {row.finite_error:>16.1e}"
        print(f"{row.cell:<13} {row.dtype:<8} {row.case:<14} {errors}{verdict}", flush=True)
    limits = ", ".join(f"{name} {t.manual:.0e} and {t.finite:.0e}" for name, t in gradcheck.TOLERANCES.items())
    print(f"{total - failed} of {total} within tolerance ({limits})")
    return int(failed > 0)


def main(arguments: Sequence[str]) -> int:
    """The command line of this experiment; returns the exit status."""
    return run_command("gradcheck", Config, run, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
