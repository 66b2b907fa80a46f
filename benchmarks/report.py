"""What a contest leaves for people: a line, a Markdown table, a plot."""

import importlib.metadata
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks import shapes
from benchmarks.peers import PEERS
from rnn_jax.plotting.style import COLOURS, STYLE, rc_context, save, subplots

SHORT = {"not_asked": "", "not_here": "not here", "left_out": ""}
"""What stands in the table instead of a time; the reasons stand below it."""
PACKAGES = ("torch", "flax", "equinox", "dm-haiku", "keras")


def versions() -> dict[str, str | None]:
    """Of the peers; None for one that is not installed."""
    found: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def best_peer(rows: Sequence[Mapping[str, Any]], what: str = "forward_backward") -> Mapping[str, Any] | None:
    """Of one contest the row that is fastest in `what`, agrees and is not ours; None where there is none."""
    others = [row for row in rows if "ratio_to" in row and not PEERS[row["peer"]].ours]
    return min(others, key=lambda row: row[what]["median"], default=None)


def cell_of(row: Mapping[str, Any]) -> str:
    """Milliseconds forward + backward / forward, in brackets where the peer is not ranked."""
    if row["status"] != "ran":
        return SHORT.get(row["status"], row["status"])
    shown = " / ".join(f"{1000 * row[what]['median']:.3g}" for what in ("forward_backward", "forward"))
    return shown if row["agrees"] else f"({shown})"


def line(key: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """A contest in one line."""
    shown = ", ".join(f"{row['peer']} {cell_of(row)}" for row in rows if row["status"] == "ran")
    return f"{key}: {shown or rows[0]['reason']}"


def tables(found: Mapping[str, Any]) -> str:
    """Markdown: for each type a table, a row per cell and shape and a column per peer, and why any was left out.

    `found` is `results.json`.
    """
    rows = found["rows"]
    heads = dict.fromkeys(_head(row) for row in rows)
    return "\n".join(_table(head, [row for row in rows if _head(row) == head]) for head in heads)


def _head(row: Mapping[str, Any]) -> str:
    """Of the table that a row stands in: its type, and the title of its contest where that has one."""
    return row["dtype"] + (f", {row['title']}" if row.get("title") else "")


def _table(head: str, rows: list[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(row["peer"] for row in rows if row["status"] != "left_out"))
    body = []
    ratios: dict[str, list[float]] = {"forward_backward": [], "forward": []}
    reasons: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for cell, shape, sizes in dict.fromkeys((row["cell"], row["shape"], row["sizes"]) for row in rows):
        contest = {row["peer"]: row for row in rows if (row["cell"], row["shape"]) == (cell, shape)}
        shown = []
        for what in ratios:
            best = best_peer(list(contest.values()), what)
            shown.append("" if best is None else f"{best[what]['ratio']:.2f} ({best['peer']})")
            ratios[what] += [] if best is None else [best[what]["ratio"]]
        if any(row["status"] != "left_out" for row in contest.values()):
            where = shape if shape == sizes else f"{shape} {sizes}"
            body.append([cell, where, *(cell_of(contest[name]) if name in contest else "" for name in names), *shown])
        for name, row in contest.items():
            reason = row.get("reason", row.get("remark"))
            if reason and row["status"] != "not_asked":
                peers, places = reasons.setdefault(reason, ({}, {}))
                peers[name] = places[f"{cell} {shape}"] = None
    headers = ["cell", "shape", *names, "best peer / ours", "forward alone"]
    table = tabulate(body, headers=headers, tablefmt="pipe", disable_numparse=True)
    head = f"{head}: median ms, forward and backward / forward alone; (in brackets: not ranked)"
    notes = [
        f"- best peer / ours, {what.replace('_', ' and ')}: median {statistics.median(of):.2f}, least {min(of):.2f}"
        for what, of in ratios.items()
        if of
    ]
    notes += [f"- {', '.join(peers)}: {reason} ({', '.join(places)})" for reason, (peers, places) in reasons.items()]
    lines = [table, ""] if body else []  # else all of it is still due
    return "\n".join([head, "", *lines, *notes, *([""] if notes else [])])


def details(found: Mapping[str, Any]) -> str:
    """Markdown: a row for each peer that ran, with all that was measured. `ratio`: their time / ours, of a gradient."""
    body = []
    for row in found["rows"]:
        if row["status"] != "ran":
            continue
        times = [1000 * row[what][kind] for what in ("forward_backward", "forward") for kind in ("median", "p90")]
        ratio = row["forward_backward"].get("ratio")
        body.append(
            [
                *(row[name] for name in ("cell", "shape", "dtype", "peer")),
                f"{sum(row['compile_seconds'].values()):.2g}",
                f"{1000 * row['first_call_seconds']['forward_backward']:.3g}",
                *(f"{time:.3g}" for time in times),
                f"{row['steps_per_second']:.3g}",
                f"{row['tokens_per_second']:.3g}",
                f"{row['peak_bytes'] / 2**20:.0f}",
                f"{row['share_of_matmul_rate']:.1%}",
                "" if ratio is None else f"{ratio:.2f}",
                f"{max(row['errors'].values()):.0e}",
            ]
        )
    headers = ["cell", "shape", "dtype", "peer", "compile s", "first ms", "fwd+bwd ms", "p90", "fwd ms", "p90"]
    headers += ["steps/s", "tokens/s", "peak MiB", "of matmul rate", "ratio", "error"]
    return tabulate(body, headers=headers, tablefmt="pipe", disable_numparse=True)


def plot_sweep(path: Path, rows: Sequence[Mapping[str, Any]], letter: str) -> None:
    """Time of a gradient against T, B or H: a panel per cell and type, a line per peer; those not ranked are dotted.

    Args:
        path: the PNG to write.
        rows: of `benchmarks.contest.hold`.
        letter: `T`, `B` or `H`.
    """
    panels = list(dict.fromkeys((row["cell"], row["dtype"]) for row in rows))
    names = list(dict.fromkeys(row["peer"] for row in rows if row["status"] == "ran"))
    with rc_context(STYLE):
        figure, several = subplots(1, len(panels), figsize=(1 + 4.5 * len(panels), 4.5), squeeze=False)
        for axes, (cell, dtype) in zip(several[0], panels, strict=True):
            for at, name in enumerate(names):
                points = sorted(
                    (
                        getattr(shapes.get(row["shape"]), shapes.LETTERS[letter]),
                        1000 * row["forward_backward"]["median"],
                    )
                    for row in rows
                    if (row["cell"], row["dtype"], row["peer"], row["status"]) == (cell, dtype, name, "ran")
                )
                of_peer = [row for row in rows if (row["cell"], row["dtype"], row["peer"]) == (cell, dtype, name)]
                ranked = all(row.get("agrees", True) for row in of_peer)
                style: Any = {"color": COLOURS[at % len(COLOURS)], "markersize": 4, "label": name}
                mark = ("o" if at < len(COLOURS) else "s") + ("-" if ranked else ":")
                axes.plot(*zip(*points, strict=True) if points else ([], []), mark, **style)
            axes.set(
                xscale="log", yscale="log", xlabel=letter, ylabel="ms, forward and backward", title=f"{cell}, {dtype}"
            )
            sizes = sorted({getattr(shapes.get(row["shape"]), shapes.LETTERS[letter]) for row in rows})
            axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
            axes.set_xticks([], minor=True)
        several[0][0].legend(fontsize=8)
        save(figure, path)
