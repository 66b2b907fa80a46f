"""What helps a forecast of the Szeged temperature, by how much: one flag changed at a time, three seeds.

    RNN_JAX_DATA=FOLDER python -m benchmarks.forecast_ablation      # benchmarks/raw/forecast_ablation.json and a table

The base is `launch.py forecast` with `BASE`. Lines are fitted once for all rows with the same windows.
Errors are mean squared ones 1, 6 and 24 hours ahead, on the validation and on the test split.
"""

import argparse
import contextlib
import io
import json
import shlex
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from experiments.common.flags import parse
from experiments.common.training import prepare_jax
from experiments.forecast import run, scores
from experiments.forecast.flags import Config
from experiments.forecast.task import make_output
from rnn_jax.data.series import baselines
from rnn_jax.data.series.lines import Line
from rnn_jax.files import write_whole
from rnn_jax.machine import device_name, versions

BASE = (
    "--dataset=szeged --inputs=all --calendar=hour,year --ahead=24 --report_steps=1,6,24 --notrees --loss=huber "
    "--origins=8 --epochs=1 --batch_size=64 --learning_rate=2e-3 --hidden_size=96"
)
VARIANTS = (
    "", "--loss=mse", "--cell=gru", "--num_layers=2 --layer_norm", "--epochs=2", "--average_decay=0", "--noblend",
    "--origins=1 --epochs=8", "--head_dropout=0.2", "--segment=4 --decoder=parallel --origins=1 --epochs=8",
    "--output=quantiles", "--num_layers=2 --residual_layers", "--hidden_size=256",
)  # fmt: skip


def measure(flags: str, seeds: int, fitted: dict[Any, dict[str, Line]]) -> dict[str, Any]:
    """Trains one row and measures it; `fitted` keeps lines by what they were fitted on."""
    config = parse(Config, [*shlex.split(f"{BASE} {flags}"), f"--num_seeds={seeds}"])
    prepare_jax(config)
    config, windows = run.read(config)
    key = (windows.lag, windows.encoder.num_features)
    if key not in fitted:
        fitted[key] = baselines.fit_lines(windows)
    original, baselines.fit_lines = baselines.fit_lines, lambda task: fitted[key]
    said = io.StringIO()
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            trained = run.train("forecast", config, windows, Path(folder))
    finally:
        baselines.fit_lines = original
    found: dict[str, Any] = {"flags": flags, "train_seconds": trained.fitted.record["train_seconds"] / seeds}
    output = make_output(config)
    for split in ("validation", "test"):
        starts = windows.starts(split)
        judged = scores.judge(config, windows, starts)
        located = [windows.in_units(output.location(each), starts) for each in trained.predict(starts)]
        found[split] = scores.spread([judged.measure(each) for each in located])["steps"]["mse"]
        together = judged.measure(np.mean(located, axis=0))
        found[f"{split}_ensemble"] = together["steps"]["mse"]
    return found


def main() -> None:
    """Measures all rows, prints a table and saves the raw numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_seeds", type=int, default=3)
    parser.add_argument("--raw", type=Path, default=Path(__file__).parent / "raw" / "forecast_ablation.json")
    arguments = parser.parse_args()
    fitted: dict[Any, dict[str, Line]] = {}
    rows: list[dict[str, Any]] = []
    about = {"base": BASE, "rows": rows, "num_seeds": arguments.num_seeds}
    about |= {"device": device_name(), "versions": versions()}
    for flags in VARIANTS:
        rows.append(measure(flags, arguments.num_seeds, fitted))
        print(flags or "base", [round(each["mean"], 4) for each in rows[-1]["test"]], flush=True)
        write_whole(arguments.raw, json.dumps(about, indent=1) + "\n")
    head = ["flags", *(f"{split} t+{step}" for split in ("validation", "test") for step in (1, 6, 24))]
    body = [
        [each["flags"] or "base", *(f["mean"] for split in ("validation", "test") for f in each[split])]
        for each in rows
    ]
    print(tabulate(body, headers=head, floatfmt=".3f"))


if __name__ == "__main__":
    main()
