"""How far back does a trained network look? The gradient through time of a finished run, on its own validation data,
and the Lyapunov exponents of its layers there.

Of a language model also, by how far it has to look: what its loss is with less context than it could have.
"""

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tabulate import tabulate

from experiments.common import digests, results
from experiments.common.flags import UsageError
from experiments.common.plots import draw
from experiments.common.restore import restore
from experiments.vanishing import attractor, context
from experiments.vanishing.flags import Config
from rnn_jax import models
from rnn_jax.cells import CELLS
from rnn_jax.diagnostics import memory_horizon
from rnn_jax.plotting import gradients

BATCH = 256
SEQUENCES = 32
"""Over how many of them exponents are taken."""
LANGUAGE = "language_model"
"""The experiment of whose runs it is also asked what a longer context is worth."""


def verdict(values: np.ndarray, unit: str = "steps") -> tuple[str, float, float]:
    """What log10 norms by lag mean in words, and the lags at which they have fallen by e and by 1,000."""
    known = values[np.isfinite(values)] * np.log(10)
    by_e, by_1000 = float(memory_horizon(known)), float(memory_horizon(known, 1000))
    if np.isinf(by_1000):
        text = (
            f"all {known.size} {unit} count: the first still has {10 ** (values[known.size - 1] - values[0]):.2g} of "
        )
        return text + "the last one's gradient", by_e, by_1000
    return f"looks back {by_e:.0f} {unit} (to 1/e), {by_1000:.0f} {unit} to a thousandth", by_e, by_1000


def run(name: str, config: Config, workdir: Path) -> None:
    """Measures, writes `results.json` and a plot into `workdir`, prints the table; the run's folder stays as it is."""
    restored = restore(Path(config.run), "run")
    if CELLS[restored.config.cell].output is None:
        raise UsageError(
            f"--run={config.run}: outputs of --cell={restored.config.cell} do not follow from its state alone"
        )
    is_language = restored.name == LANGUAGE
    unit = context.unit_of(restored) if is_language else "steps"
    if is_language:
        beside = context.beside(Path(config.run), restored)
        digests.check(Path(config.run), *beside.values(), where=restored.where)
    look, data = restored.task.look_at(restored.config, BATCH)
    inputs, lengths = look.take(data)
    started = time.perf_counter()
    of_layers = jax.jit(models.make_gradient_flow(restored.model, look.score))
    found = jax.block_until_ready(of_layers(jax.device_put(restored.params), *inputs, lengths=lengths))
    of_layers = jax.jit(models.make_spectrum(restored.model, config.num_exponents, SEQUENCES))
    spectra = jax.block_until_ready(of_layers(jax.device_put(restored.params), *inputs))
    seconds = time.perf_counter() - started
    rows, curves = [], {}
    for layer, values in ((layer, np.asarray(values, np.float64)) for layer, values in found.items()):
        text, by_e, by_1000 = verdict(values, unit)
        lags = [lag for lag in (1, 10, 100, 1000) if lag < values.size and np.isfinite(values[lag])]
        falls = {str(lag): float(values[lag] - values[0]) for lag in lags}
        rows.append(
            {
                "layer": layer,
                "log10_gradient": falls,
                **attractor.attractor(spectra[layer], config.num_exponents),
                "horizon_e": by_e,
                "horizon_1000": by_1000,
                "verdict": text,
            }
        )
        curves[layer] = (np.arange(1, values.size), values[1:] - values[0])
    title = f"How far back does it look? Gradient of {look.what}"
    measured = ("lyapunov_exponent", "kaplan_yorke_dimension", "entropy_rate", "horizon_e", "horizon_1000")
    measures = [{key: results.spread([row[key]]) for key in measured} for row in rows]
    keys = ("dataset", "protocol", "cell", "num_params", "seeds", "steps")
    of_run: dict[str, Any] = {key: restored.result(key, object) for key in keys}
    whole: dict[str, Any] = {
        **of_run,
        "experiment": name,
        "metrics": measures[-1],
        "baselines": {row["layer"]: each for row, each in zip(rows[:-1], measures, strict=False)},
        "compile_seconds": 0.0,
        "train_seconds": seconds,
        "rows": rows,
    }
    if is_language and not restored.config.by_class:  # there no text begins with a carry of zeros
        whole["context"] = context.measure(Path(config.run), restored, data["test"])
    results.write(workdir, whole)
    draw(gradients.by_lag, workdir / "plots" / "run.png", title, curves, "log10 of dy/dh_t against lag 0")
    if "context" in whole:
        draw(context.plot, workdir / "plots" / "context.png", whole["context"])
    body = [
        [row["layer"], *(f"{v:+.1f}" for v in row["log10_gradient"].values()), *attractor.cells(row), row["verdict"]]
        for row in rows
    ]
    head = ["layer", *(f"lag {lag}" for lag in rows[0]["log10_gradient"]), *attractor.HEAD, "verdict"]
    print(f"\nlog10 of the gradient of {look.what} with respect to h_t, against its value at lag 0:\n")
    print(tabulate(body, headers=head, tablefmt="pipe", disable_numparse=True))
    print(f"\n{attractor.LEGEND}")
    if "context" in whole:
        context.show(whole["context"])
    elif is_language:
        print("\nno loss by context given: with --by_class no text begins with a carry of zeros")
    print(f"\nplots: {workdir / 'plots'}")
