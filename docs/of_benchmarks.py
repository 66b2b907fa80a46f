"""The tables of times, from the files of `benchmarks/raw`.

Every function takes the parsed files by name, without ".json", and returns Markdown. Times are medians over turns, and
a ratio is the median over turns of theirs / ours.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import scaling
from docs.figures import Files, bold, table

Contest = Mapping[str, Mapping[str, Any]]
"""Of one cell and shape, the rows of those who ran and agree, by peer."""

OURS = ("native", "manual", "scan")
PEERS = {
    "PyTorch": ("torch", "torch_one_thread", "torch_padded"),
    "Flax": ("flax", "flax_optimized"),
    "Equinox": ("equinox",),
    "Haiku": ("haiku",),
    "Keras": ("keras",),
}
"""The rows of each peer, of which the fastest counts."""
BOTH, FORWARD = "forward_backward", "forward"


def contests(*found: Mapping[str, Any]) -> dict[tuple[str, str], Contest]:
    """The contests of some files by cell and shape."""
    rows = [row for file in found for row in file["rows"] if row["status"] == "ran" and row["agrees"]]
    keys = dict.fromkeys((row["cell"], row["shape"]) for row in rows)
    return {key: {row["peer"]: row for row in rows if (row["cell"], row["shape"]) == key} for key in keys}


def fastest(contest: Contest, names: Sequence[str], what: str = BOTH) -> Mapping[str, Any] | None:
    """Of these peers the row that is fastest in `what`; None where none of them ran."""
    return min((contest[name] for name in names if name in contest), key=lambda row: row[what]["median"], default=None)


def best_peer(contest: Contest, what: str = BOTH) -> Mapping[str, Any]:
    """The fastest row that is not ours."""
    row = fastest(contest, [name for name in contest if name not in OURS], what)
    assert row is not None
    return row


def milliseconds(row: Mapping[str, Any] | None, what: str = BOTH) -> float | None:
    """The median time of a row."""
    return None if row is None else 1000 * row[what]["median"]


def short(time: float | None) -> str:
    """A time in ms in a narrow column."""
    return "" if time is None else f"{time:.2f}" if time < 10 else f"{time:.0f}"


SHAPES = {
    "S1": "B 64, T 64, I 1, H 32",
    "S2": "B 64, T 500, I 128, H 64",
    "S3": "B 128, T 24, I 1, H 400",
    "S4": "B 32, T 1000, I 64, H 256",
    "S7": "B 64, T up to 400, I 128, H 64",
}


def speed(files: Files) -> str:
    """The LSTM's gradient at each shape, and what the other cells gain."""
    lstm, others = contests(files["layer_lstm"]), contests(files["layer_gru_rnn"])
    rows = []
    for shape, sizes in SHAPES.items():
        contest = lstm["lstm", shape]
        ours, scan = (short(milliseconds(contest[name])) for name in ("native", "scan"))
        peers = [short(milliseconds(fastest(contest, PEERS[name]))) for name in ("PyTorch", "Flax", "Equinox")]
        rows.append([sizes, bold(ours), scan, *peers, f"{best_peer(contest)[BOTH]['ratio']:.1f}"])
    ranges = []
    for name, cell in (("GRU", "gru"), ("Elman", "rnn")):
        ratios = [best_peer(contest)[BOTH]["ratio"] for (of, _), contest in others.items() if of == cell]
        ranges.append(f"{name} {min(ratios):.1f} to {max(ratios):.1f}")
    head = ["LSTM", "rnn_jax", "plain scan", "PyTorch", "Flax", "Equinox", "best peer / rnn_jax"]
    return f"{table(head, rows)}\n\nBest peer / rnn_jax of the other cells: {', '.join(ranges)}."


def pair(contest: Contest, *names: str) -> str:
    """ms of a gradient / ms of a forward pass, each of the fastest of these rows; empty where none of them ran."""
    rows = [(what, fastest(contest, names, what)) for what in (BOTH, FORWARD)]
    return " / ".join(f"{1000 * row[what]['median']:.3g}" for what, row in rows if row is not None)


def ahead(contest: Contest) -> list[str]:
    """How many times as long the best peer takes as the native back end, and who it is: a gradient, a forward pass."""
    best = {what: best_peer(contest, what) for what in (BOTH, FORWARD)}
    return [f"{row[what]['ratio']:.2f} ({row['peer']})" for what, row in best.items()]


def layer(files: Files) -> str:
    """Every cell and shape, and how far ahead the native back end is."""
    rows: list[list[str]] = []
    ratios: dict[str, list[float]] = {BOTH: [], FORWARD: []}
    for (cell, shape), contest in contests(files["layer_lstm"], files["layer_gru_rnn"]).items():
        ours = [pair(contest, name) for name in OURS]
        peers = [pair(contest, *names) for names in PEERS.values()]
        for what in (BOTH, FORWARD):
            ratios[what].append(best_peer(contest, what)[what]["ratio"])
        share = f"{100 * contest['native']['share_of_matmul_rate']:.0f} %"
        rows.append([cell, shape, bold(ours[0]), *ours[1:], *peers, *ahead(contest), share])
    head = ["cell", "shape", *OURS, *PEERS, "best peer / native", "forward alone", "of matmul rate"]
    forward, both = (
        f"{min(of):.2f} to {max(of):.1f} times as fast, median {statistics.median(of):.2f}"
        for of in (ratios[FORWARD], ratios[BOTH])
    )
    return f"{table(head, rows)}\n\n`native` against the best peer: forward {forward}; forward and backward {both}."


INSTRUCTION_SETS = ("layer_avx512", "layer_avx2")
"""The files measured with each instruction set."""


def instruction_sets(files: Files) -> str:
    """The native back end compiled for either instruction set, beside the peers that come closest, held to it too."""
    rows: dict[tuple[str, str], list[str]] = {}
    head, notes = ["cell", "shape"], []
    for name in INSTRUCTION_SETS:
        found = contests(files[name])
        compiled_for = files[name]["machine"]["instruction_sets"]["native"]
        head += [f"{compiled_for}: native", "PyTorch", "Flax", "best peer / native", "forward alone"]
        for (cell, shape), contest in found.items():
            peers = [pair(contest, *PEERS[name]) for name in ("PyTorch", "Flax")]
            rows.setdefault((cell, shape), [cell, shape]).extend(
                [bold(pair(contest, "native")), *peers, *ahead(contest)]
            )
        ratios = {
            what: [best_peer(contest, what)[what]["ratio"] for contest in found.values()] for what in (BOTH, FORWARD)
        }
        both, forward = (
            f"{min(of):.2f} to {max(of):.1f}, median {statistics.median(of):.2f}" for of in ratios.values()
        )
        notes.append(f"{compiled_for}: forward and backward {both}; forward alone {forward}.")
    return f"{table(head, list(rows.values()))}\n\n{' '.join(notes)}"


def small_batches(files: Files) -> str:
    """An LSTM over few sequences at once."""
    file = files["small_batches"]
    sizes = {row["shape"]: dict((part[0], int(part[1:])) for part in split_sizes(row["sizes"])) for row in file["rows"]}
    rows = []
    for (_, shape), contest in contests(file).items():
        ours, theirs = pair(contest, "native"), pair(contest, *PEERS["PyTorch"])
        rows.append([f"{sizes[shape]['H']:,}", str(sizes[shape]["B"]), bold(ours), theirs, *ahead(contest)])
    return table(["H", "B", "native", "PyTorch", "PyTorch / native", "forward alone"], rows)


STREAMING = {
    "rnn_jax, `auto`": ("rnn_jax",),
    "rnn_jax, XLA": ("rnn_jax_xla",),
    "PyTorch": ("pytorch_lstm_1", "pytorch_lstm_all", "pytorch_cell_1", "pytorch_cell_all"),
    "ONNX Runtime": ("onnxruntime_1", "onnxruntime_all"),
}
"""The contenders of each column, of which the one with the least median counts."""


def streaming(files: Files) -> str:
    """One step at a time: the median step and the slowest of a hundred."""
    rows = []
    for row in files["streaming"]["rows"]:
        best = [min((name for name in names if name in row["p50"]), key=row["p50"].get) for names in STREAMING.values()]
        times = [f"{1e6 * row['p50'][name]:,.0f} / {1e6 * row['p99'][name]:,.0f}" for name in best]
        rows.append([f"{row['hidden_size']:,}", str(row["batch_size"]), *times])
    return table(["H", "B", *STREAMING], rows)


SWEEPS = (("T", "125", "2000"), ("B", "16", "256"), ("H", "16", "256"))


def sweep(files: Files) -> str:
    """A gradient's time at the least and the largest T, B and H around S2."""
    columns: dict[str, Contest] = {}
    for letter, *sizes in SWEEPS:
        of_size = {row["shape"]: row["sizes"] for row in files[f"sweep_{letter}"]["rows"]}
        for (_, shape), contest in contests(files[f"sweep_{letter}"]).items():
            for size in sizes:
                if f"{letter}{size}" in split_sizes(of_size[shape]):
                    columns[f"{letter} {int(size):,}"] = contest
    rows = []
    for name, peers in (("native", ("native",)), ("manual", ("manual",)), *list(PEERS.items())[:2]):
        times = [milliseconds(fastest(contest, peers)) for contest in columns.values()]
        rows.append([name, *(bold(f"{time:.0f}", name == "native") for time in times if time is not None)])
    return table(["", *columns], rows)


def split_sizes(sizes: str) -> list[str]:
    """The letters of a shape apart.

    >>> split_sizes("B64T125I128H64")
    ['B64', 'T125', 'I128', 'H64']
    """
    return "".join(f" {sign}" if sign.isalpha() else sign for sign in sizes).split()


FORECAST_EPOCH = {
    "rnn_jax": "auto (native), one device",
    "rnn_jax_manual": "manual, one device",
    "rnn_jax_manual_cores": "manual, batch split over the cores",
    "pytorch": "",
}


def forecast_epoch(files: Files) -> str:
    """An epoch of the temperature LSTM."""
    found = files["forecast_epoch"]
    best = min(found["median_seconds"].values())
    rows = []
    for name, words in FORECAST_EPOCH.items():
        time, ratio = found["median_seconds"][name], found["pytorch_over"][name]
        what = f"`{name}`" + (f": {words}" if words else "")
        rows.append([what, bold(f"{time:.2f}", time == best), "1" if name == "pytorch" else f"{ratio:.2f}"])
    return table(["", "seconds", "PyTorch / ours"], rows)


IMDB_EPOCH = {
    "rnn_jax": "auto (native), one device",
    "rnn_jax_manual": "manual, one device",
    "rnn_jax_manual_cores": "manual, batch split over the cores",
    "pytorch": "packed",
    "pytorch_padded": "",
}


def imdb_epoch(files: Files) -> str:
    """An epoch of the review classifiers."""
    found = files["imdb_epoch"]
    models = [found["models"][name] for name in ("lstm", "bidirectional")]
    rows = []
    for name, words in IMDB_EPOCH.items():
        cells = []
        for model in models:
            times, ratio = model["seconds_per_1000_reviews"], model["faster_pytorch_over"][name]
            shown = f"{times[name]:.3g}" if times[name] >= 10 else f"{times[name]:.2f}"
            time = bold(shown, times[name] == min(times.values()))
            cells.append(f"{time} ({'1' if name == model['faster_pytorch'] else f'{ratio:.2f}'})")
        rows.append([f"`{name}`" + (f": {words}" if words else ""), *cells])
    epochs = [(model["extrapolated_seconds_per_epoch"], model["faster_pytorch"]) for model in models]
    reviews = f"{found['reviews_per_extrapolated_epoch']:,}"
    rows.append(
        [f"extrapolated seconds per epoch of {reviews}, `rnn_jax`", *(f"{of['rnn_jax']:.1f}" for of, _ in epochs)]
    )
    rows.append(["the same, the faster PyTorch", *(f"{of[faster]:.1f}" for of, faster in epochs)])
    return table(["seconds per 1,000 reviews (PyTorch / ours)", "LSTM", "2 layers, bidirectional"], rows)


def epochs(files: Files) -> str:
    """What an epoch takes, in a sentence for the README."""
    forecast, reviews = files["forecast_epoch"]["median_seconds"], files["imdb_epoch"]["models"]["lstm"]
    ours, theirs = forecast["rnn_jax"], forecast["pytorch"]
    ratio = reviews["faster_pytorch_over"]["rnn_jax"]
    return (
        f"A whole epoch of the temperature LSTM takes {ours:.1f} s, in PyTorch on the same cores {theirs:.1f} s; an "
        f"epoch of the LSTM on reviews takes {ratio:.1f} times as long in PyTorch as here."
    )


def profile_step(files: Files) -> str:
    """Where the time of a training step goes."""
    kinds, rows = ("recurrent", "embedding", "pooling", "optimizer", "norms", "rest"), []
    for name, times in files["profile_step"]["milliseconds"].items():
        whole = times["whole"]
        parts = [times.get(part) for part in kinds]
        shares = ["" if part is None else f"{100 * part / whole:.0f} %" for part in parts]
        rows.append([f"`{name}`", f"{whole:.2f}", *shares, f"{times['dispatch']:.1f}"])
    heads = ["of it norms" if part == "norms" else part for part in kinds]
    return table(["", "ms per step", *heads, "ms per dispatch"], rows)


def seeds(files: Files) -> str:
    """S replicas in one program."""
    times = files["seeds"]["times_one_replica"]
    rows = [[str(s), *(f"{times[f'{how}_{s}']:.1f}" for how in ("at_once", "one_after_another"))] for s in (4, 8)]
    return table(["S", "at once (`vmap`)", "one after another (`lax.map`)"], rows)


def data_parallel(files: Files) -> str:
    """Steps of several devices and processes, beside what the model says."""
    raw = files["scaling"]
    return scaling.table(scaling.settings_of(raw), raw["cores"])


TABLES = {
    "speed": speed,
    "layer": layer,
    "instruction_sets": instruction_sets,
    "small_batches": small_batches,
    "streaming": streaming,
    "sweep": sweep,
    "forecast_epoch": forecast_epoch,
    "imdb_epoch": imdb_epoch,
    "epochs": epochs,
    "profile_step": profile_step,
    "seeds": seeds,
    "data_parallel": data_parallel,
    "cluster": lambda files: scaling.cluster_table(),
}
