"""What the long sequences leave: results and tables."""

from typing import Any

import jax
import numpy as np
from tabulate import tabulate

from experiments.common import results
from experiments.long_sequences.flags import Config
from rnn_jax import cells

TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
"""How far a gradient may be from the reference, ||g - g64|| / ||g64||: a row above it fails the run."""


def outcome(row: dict[str, Any]) -> str:
    """A row of the costs in a few words."""
    if row["ran"]:
        return f"{row['seconds']:.3g} s, {mib(row['predicted_bytes'])} MiB planned"
    return row.get("error") or f"not run: {row['predicted_bytes'] / 2**30:.1f} GiB"


def mib(count: float) -> str:
    """Bytes in MiB."""
    return f"{count / 2**20:.1f}"


def summarize(config: Config, rows: list[dict[str, Any]], truncation: dict[str, Any]) -> dict[str, Any]:
    """`results.json`: at its top the longest length with the last method and back end, beside the first ones."""
    float32 = [row for row in rows if row["dtype"] == "float32" and row["length"] == rows[-1]["length"]]
    shapes = jax.eval_shape(lambda: cells.get(config.cell).init_params(jax.random.key(0), 1, config.hidden_size))

    def metrics(row: dict[str, Any]) -> dict[str, Any]:
        names = ("predicted_bytes", "process_bytes", "seconds", "gradient_error")
        return {name: results.spread([row[name]]) for name in names if name in row}

    return {
        "dataset": "echoes of white noise",
        "protocol": f"loss={config.loss}",
        "cell": config.cell,
        "num_params": sum(leaf.size for leaf in jax.tree.leaves(shapes)),
        "seeds": list(range(config.seed, config.seed + config.num_seeds)),
        "metrics": metrics(float32[-1]),
        "baselines": {f"{row['backend']} {row['method']}": metrics(row) for row in float32[:-1]},
        "steps": float32[-1]["length"],
        "compile_seconds": float32[-1].get("compile_seconds"),
        "train_seconds": float32[-1].get("seconds"),
        "costs": rows,
        "truncation": truncation,
    }


def show(found: dict[str, Any]) -> int:
    """Prints the tables; returns the exit status, 1 where a row failed."""
    columns = ("T", "dtype", "back end", "method", "k", "planned MiB", "process MiB", "seconds", "gradient error")
    body, failed = [], 0
    for row in found["costs"]:
        error = row.get("gradient_error")
        failed += "error" in row or (row["ran"] and (error is None or not error <= TOLERANCE[row["dtype"]]))
        every = "" if row["method"] == "plain" else row["every"]
        line = [row["length"], row["dtype"], row["backend"], row["method"], every]
        if row["ran"]:
            shown = "undefined" if error is None else f"{error:.1e}"
            line += [mib(row["predicted_bytes"]), mib(row["process_bytes"]), f"{row['seconds']:.4g}", shown]
        else:
            line += [outcome(row)]
        body.append(line)
    print("\n" + tabulate(body, headers=columns, tablefmt="pipe", disable_numparse=True))
    print("\nrelative error of the truncated gradient, mean over seeds (cosine)\n")
    bias = found["truncation"]
    body = []
    for at, k in enumerate(next(iter(bias.values()))["lengths"]):
        means = [[np.mean(entry[name][at]) for name in ("relative_error", "cosine")] for entry in bias.values()]
        body.append([k, *(f"{error:.4f} ({cosine:.3f})" for error, cosine in means)])
    print(tabulate(body, headers=["k", *bias], tablefmt="pipe", disable_numparse=True))
    limits = ", ".join(f"{dtype} {limit:.0e}" for dtype, limit in TOLERANCE.items())
    print(f"\n{failed} of {len(found['costs'])} rows failed (no result, or a gradient error above {limits})")
    return int(failed > 0)
