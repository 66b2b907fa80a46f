"""Compare hand-derived, automatic and finite-difference gradients, for every cell, dtype and case.

Every output gets a random cotangent: all steps' outputs and every final carry. Two columns: the largest relative error
of the hand-derived gradient against autodiff, and of autodiff against central differences in float64. Ends with exit
status 1 if a row is above its tolerance. Started again it checks again. About 45 seconds on 2 cores.
"""

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from experiments.common.command import Experiment, RunConfig
from experiments.common.flags import flag
from rnn_jax import cells
from rnn_jax.bptt import RULES
from rnn_jax.diagnostics import gradcheck


@dataclass(frozen=True)
class Config(RunConfig):
    """Flags of the gradient check."""

    cells: tuple[str, ...] = flag(tuple(RULES), "cells to check, separated by commas", choices=tuple(RULES))
    dtypes: tuple[str, ...] = flag(tuple(gradcheck.TOLERANCES), "types to check", choices=tuple(gradcheck.TOLERANCES))
    cases: tuple[str, ...] = flag(tuple(gradcheck.CASES), "cases to check", choices=tuple(gradcheck.CASES))
    seed: int = flag(0, "draws the parameters, the inputs and the cotangents", minimum=0, below=2**31)


def run(name: str, config: Config, workdir: Path) -> int:
    """Prints a row per check, writes `results.json`; returns the exit status."""
    from experiments.common import results

    jax.config.update("jax_enable_x64", True)
    started = time.perf_counter()
    print(f"{'cell':<13} {'dtype':<8} {'case':<14} {'hand/autodiff':>14} {'autodiff/finite':>16}")
    rows = []
    for row in gradcheck.check_all(config.cells, config.dtypes, config.cases, seed=config.seed):
        rows.append(row)
        verdict = "" if row.passed else f"  FAILED: above {row.manual_tolerance:.0e} or {row.finite_tolerance:.0e}"
        errors = f"{row.manual_error:>14.1e} {row.finite_error:>16.1e}"
        print(f"{row.cell:<13} {row.dtype:<8} {row.case:<14} {errors}{verdict}", flush=True)
    failed = sum(not row.passed for row in rows)
    limits = ", ".join(f"{name} {t.manual:.0e} and {t.finite:.0e}" for name, t in gradcheck.TOLERANCES.items())
    print(f"{len(rows) - failed} of {len(rows)} within tolerance ({limits})")

    def worst(rows: Iterable[gradcheck.Result]) -> dict[str, Any]:
        errors = [(row.manual_error, row.finite_error) for row in rows]
        manual, finite = (max(each) for each in zip(*errors, strict=True))
        return {"manual_error": results.spread([manual]), "finite_error": results.spread([finite])}

    inits = [cells.get(cell).init_params for cell in config.cells]
    sizes = (gradcheck.INPUTS, gradcheck.HIDDEN)
    shapes = jax.eval_shape(lambda key: [init(key, *sizes) for init in inits], jax.random.key(0))
    found = {
        "experiment": name,
        "dataset": "random",
        "protocol": ",".join(config.cases),
        "cell": ",".join(config.cells),
        "num_params": sum(leaf.size for leaf in jax.tree.leaves(shapes)),
        "seeds": [config.seed],
        "metrics": worst(rows) | {"failed": results.spread([float(failed)])},
        "baselines": {dtype: worst(row for row in rows if row.dtype == dtype) for dtype in config.dtypes},
        "steps": len(rows),
        "compile_seconds": 0.0,
        "train_seconds": time.perf_counter() - started,
        "rows": [row._asdict() for row in rows],
    }
    results.write(workdir, found)
    return int(failed > 0)


EXPERIMENT = Experiment("gradcheck", __doc__, Config, "experiments.gradcheck")

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main(sys.argv[1:]))
