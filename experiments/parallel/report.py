"""What the look at time in parallel leaves: results and a table."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from experiments.common import results
from experiments.parallel.flags import Config
from rnn_jax.backends.newton import LARGEST_MATRIX

CLOSE = 1.5
"""The factor within which a prediction counts as right."""
CRITICAL = (-0.1, 0.01)
"""Exponents between which fluctuations decide, and no prediction from an exponent is good."""


def counts(row: Mapping[str, Any], most: int) -> str:
    """Predicted and measured iterations in words; most: how many may be taken."""
    if row["measured"] is not None:
        measured = f"{row['measured']:,}"
    else:
        measured = "not run" if row["seconds"] is None else f"more than {most:,}"
    return (
        f"exponent {row['lyapunov_exponent']:+.3f}, iterations predicted {row['predicted']:,.0f}, measured {measured}"
    )


def ratio(row: Mapping[str, Any]) -> float | None:
    """By what factor the prediction is off, 1 or more; None where nothing was measured to the end."""
    return None if row["measured"] is None else math.exp(abs(math.log(row["predicted"] / row["measured"])))


def right(rows: Sequence[Mapping[str, Any]]) -> float:
    """The share of the measured rows whose prediction is within `CLOSE`; NaN of none."""
    known = [off for off in map(ratio, rows) if off is not None]
    return sum(off <= CLOSE + 1e-9 for off in known) / len(known) if known else math.nan


def away(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows that are not near the transition."""
    return [row for row in rows if not CRITICAL[0] < row["lyapunov_exponent"] < CRITICAL[1]]


def summary(config: Config, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What was measured, for `results.json`: at its top the first network over the longest T, beside the others."""

    def metrics(row: Mapping[str, Any]) -> dict[str, Any]:
        found = {key: row[key] for key in ("lyapunov_exponent", "predicted", "measured")}
        return {key: results.spread([math.nan if value is None else value]) for key, value in found.items()}

    longest = [row for row in rows if row["length"] == rows[-1]["length"]]
    first, *others = longest
    return {
        "metrics": metrics(first),
        "baselines": {row["network"]: metrics(row) for row in others},
        "max_iterations": config.max_iterations,
        "rows": list(rows),
        "within": {"all": right(rows), "away_from_the_transition": right(away(rows))},
    }


def figure(value: float | None, form: str) -> str:
    """A number in the form that is asked for; of a state that is lost or overflows there may be none."""
    return "none" if value is None else format(value, form)


def share(value: float | None) -> str:
    """A share of 1 in percent."""
    return "none" if value is None or math.isnan(value) else f"{value:.0%}"


def show(workdir: Path) -> None:
    """Prints the results of a finished run."""
    found = results.read(workdir)
    assert found is not None
    most, body = found["max_iterations"], []
    for row in found["rows"]:
        off, run = ratio(row), row["seconds"] is not None
        measured = f"{row['measured']:,}" if off is not None else f"> {min(most, row['length']):,}" if run else ""
        times = [f"{row['seconds']:.4f}" if run else "", f"{row['scan_seconds']:.4f}"]
        line = [row["network"], f"{row['length']:,}"]
        line += [figure(row["lyapunov_exponent"], "+.3f"), figure(row["predicted"], ",.0f")]
        line += [measured, "" if off is None else f"{off:.2f}", *times, f"{row['work']:.1e}", f"{row['depth']}"]
        body.append([*line, f"{row['gpu_pays_below']:.0f}"])
    head = ["network", "T", "exponent", "predicted", "measured", "off by", "seconds", "scan's", "work", "depth"]
    print("\niterations of Newton's method over all steps at once:\n")
    print(tabulate(body, headers=[*head, "GPU: pays below"], tablefmt="pipe", disable_numparse=True))
    within = found["within"]
    print(
        f"\npredicted within a factor of {CLOSE}: {share(within['all'])} of those measured, away from the transition "
        f"({CRITICAL[0]:g} to {CRITICAL[1]:g}) {share(within['away_from_the_transition'])}"
    )
    if wide := [row["network"] for row in found["rows"] if row.get("size", 0) > LARGEST_MATRIX]:
        names = ", ".join(dict.fromkeys(wide))
        print(
            f"all with whole Jacobians; --backend=newton takes the diagonals of carries of more than {LARGEST_MATRIX} "
            f"numbers, and more iterations: {names}"
        )
    print("work: operations of the products in one iteration; depth: rounds, one after the other, the scan's being T")
    print(f"GPU: the iterations that take as long as the scan, by a model\nplots: {workdir / 'plots'}")
