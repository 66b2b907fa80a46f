"""The forecast's defaults on series of many kinds and lengths, against the best baseline of each table.

    python -m benchmarks.forecast_kinds                     # benchmarks/raw/forecast_kinds.json and a table

Every series of `benchmarks.series_kinds` is written to a CSV file and forecast by `launch.py forecast --dataset=csv
--csv=... --target=value --time=time`, no other flag but the seeds. Ratios are of the mean squared error of the test
split, the mean over seeds against the baseline with the smallest one there, which only the test split could have told.
"""

import argparse
import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.series_kinds import KINDS, write_csv
from experiments import launchable
from rnn_jax.files import write_whole
from rnn_jax.machine import device_name, versions

ROWS = (150, 1_000, 10_000)
LONGEST = {"monthly_growth": 1_000}
"""In rows: 10,000 months of growth are 1e37."""


def compare(kind: str, rows: int, seeds: int, folder: Path) -> dict[str, Any]:
    """Runs the defaults on one series: errors of the network, of the best baseline, and their ratio."""
    file = folder / f"{kind}_{rows}.csv"
    write_csv(kind, rows, 0, file)
    workdir = folder / f"{kind}_{rows}"
    flags = [f"--csv={file}", "--dataset=csv", "--target=value", "--time=time", f"--num_seeds={seeds}"]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = launchable("forecast").main([f"--workdir={workdir}", *flags])
    if status:
        raise RuntimeError(f"{kind}, {rows} rows: {said.getvalue()[-400:]}")
    found = json.loads((workdir / "results.json").read_text(encoding="utf-8"))
    others = {name: each["mse"]["mean"] for name, each in found["baselines"].items() if not name.startswith("ensemble")}
    best = min(others, key=lambda name: others[name])
    mse = found["metrics"]["mse"]
    return {
        "kind": kind,
        "rows": rows,
        "mse": mse,
        "baseline": best,
        "baseline_mse": others[best],
        "linear_mse": others["linear_autoregression"],
        "ratio": mse["mean"] / others[best],
        "ratio_to_linear": mse["mean"] / others["linear_autoregression"],
        "p_value": found["diebold_mariano"][0]["p_value"],
        "windows": found["windows"]["test"],
        "train_seconds": found["train_seconds"],
        "share_of_line": found["share_of_line"],
    }


def main() -> None:
    """Runs all, prints a table and saves the raw numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default=",".join(KINDS), help="some of them, with commas between")
    parser.add_argument("--rows", default=",".join(map(str, ROWS)), help="lengths, with commas between")
    parser.add_argument("--num_seeds", type=int, default=3)
    parser.add_argument("--raw", type=Path, default=Path(__file__).parent / "raw" / "forecast_kinds.json")
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in arguments.kinds.split(","):
            for rows in map(int, arguments.rows.split(",")):
                if rows > LONGEST.get(kind, rows):
                    continue
                found.append(compare(kind, rows, arguments.num_seeds, Path(folder)))
                each = found[-1]
                print(f"{kind:<20} {rows:>6} rows: {each['ratio']:.3f} times {each['baseline']}", flush=True)
    about = {"series": found, "num_seeds": arguments.num_seeds, "device": device_name(), "versions": versions()}
    write_whole(arguments.raw, json.dumps(about, indent=1) + "\n")
    columns = ("kind", "rows", "ratio", "baseline", "ratio_to_linear", "p_value", "train_seconds")
    print(tabulate([[each[name] for name in columns] for each in found], headers=columns, floatfmt=".3g"))


if __name__ == "__main__":
    main()
