"""The tables of gradients through time and of long memories, from the files of `docs/results`.

Every function takes the parsed files by name, without ".json", and returns Markdown.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from docs.figures import Files, bold, change, mebibytes, percent, scientific, seconds, significant, table

INITS = {
    "pytorch": "PyTorch's",
    "orthogonal": "orthogonal",
    "identity": "identity",
    "gaussian": "Gaussian",
    "forget_0": "forget bias 0",
    "forget_1": "forget bias 1",
    "forget_2": "forget bias 2",
    "chrono": "chrono",
}
"""The initializations of `launch.py vanishing`, in words."""

FEW = (
    ("Elman", "rnn", "orthogonal"),
    ("LSTM", "lstm", "pytorch"),
    ("LSTM", "lstm", "forget_1"),
    ("LSTM", "lstm", "forget_2"),
    ("LSTM", "lstm", "chrono"),
    ("GRU", "gru", "pytorch"),
    ("GRU", "gru", "chrono"),
)
"""What the README shows of the rows of `vanishing`: name, cell, initialization."""

MANY = (
    ("rnn", "pytorch", "orthogonal", "identity"),
    ("lstm_additive", "orthogonal"),
    ("lstm_no_forget", "orthogonal"),
    ("lstm", "pytorch", "forget_0", "forget_1", "forget_2", "chrono"),
    ("gru", "pytorch", "orthogonal", "chrono"),
)
"""A cell and its initializations."""


def row_of(found: Mapping[str, Any], cell: str, init: str) -> Mapping[str, Any]:
    """The row of a cell and an initialization at gain 1."""
    return next(row for row in found["rows"] if (row["cell"], row["init"], row["gain"]) == (cell, init, 1.0))


def longest(row: Mapping[str, Any]) -> int:
    """The largest T of a row."""
    return max(map(int, row["log10_gradient"]))


def horizon(row: Mapping[str, Any]) -> str:
    """After how many steps a thousandth of the gradient is left, in words."""
    if row["horizon_1000"] is not None:
        return f"{row['horizon_1000']:,.0f} steps"
    if row["lyapunov_exponent"] > 1e-3:
        return f"never: it explodes, by e every {1 / row['lyapunov_exponent']:.0f} steps"
    return f"more than {longest(row):,} steps"


def gradient_few(files: Files) -> str:
    """The README's rows of `vanishing`."""
    lengths, rows = (100, 1_000, 100_000), []
    for name, cell, init in FEW:
        row = row_of(files["vanishing"], cell, init)
        left = [f"{row['log10_gradient'][str(length)]:+.1f}".removeprefix("+") for length in lengths]
        rows.append([f"{name}, {INITS[init]}", *left, horizon(row)])
    head = [f"T {length:,}" for length in lengths]
    return table(["cell, initialization", *head, "a thousandth is left after"], rows)


def gradient_many(files: Files) -> str:
    """The rows of `vanishing` that experiments/README.md shows."""
    rows, lengths = [], list(files["vanishing"]["rows"][0]["log10_gradient"])
    for cell, *inits in MANY:
        for at, init in enumerate(inits):
            row = row_of(files["vanishing"], cell, init)
            name = INITS[init] + (f" (T_max {longest(row):,})" if init == "chrono" else "")
            left = [change(row["log10_gradient"][length]) for length in lengths]
            rows.append([f"`{cell}`" if at == 0 else "", name, *left, f"{row['lyapunov_exponent']:+.3f}"])
    return table(["cell", "initialization", *(f"T {int(n):,}" for n in lengths), "largest exponent"], rows)


def without_dc(files: Files) -> str:
    """What is left of an LSTM's gradient dL/dx_t, against lag 0, with dc and without."""
    lags, rows = (1, 2, 5, 10, 20, 50), []
    for bias, (right, wrong) in ((bias, both.values()) for bias, both in files["vanishing"]["without_dc"].items()):
        for name, values in ((f"{bias}", right), ("the same without dc", wrong)):
            left = [None if values[lag] is None else 10 ** (values[lag] - values[0]) for lag in lags]
            rows.append([name, *("0" if x is None else significant(x) if x > 1e-2 else scientific(x, 2) for x in left)])
    return table(["", *(f"lag {lag}" for lag in lags)], rows)


def costs(found: Mapping[str, Any], length: int = 1_000_000) -> dict[tuple[str, str], Mapping[str, Any]]:
    """The float32 rows of `long_sequences` at one length, by back end and method."""
    rows = [row for row in found["costs"] if (row["length"], row["dtype"]) == (length, "float32")]
    order = {"scan": 0, "manual": 1, "plain": 0, "checkpointed": 1, "segmented": 2}
    rows.sort(key=lambda row: (order[row["backend"]], order[row["method"]]))
    return {(row["backend"], row["method"]): row for row in rows}


def long_sequences(files: Files) -> str:
    """What the gradient through a million steps costs, both losses."""
    rows = []
    for loss, file in (("mean", "long_sequences"), ("final", "long_sequences_final_loss")):
        before = None
        for at, ((backend, method), row) in enumerate(costs(files[file]).items()):
            figures = [mebibytes(row["predicted_bytes"]), mebibytes(row["process_bytes"]), f"{row['seconds']:.1f}"]
            where = [f"`{loss}`" if at == 0 else "", backend if backend != before else "", method]
            rows.append([*where, *figures, scientific(row["gradient_error"], 2)])
            before = backend
    head = ["`--loss`", "back end", "method", "planned MiB", "process MiB", "seconds", "gradient against float64"]
    return table(head, rows)


def truncation(files: Files) -> str:
    """The bias of the truncated gradient by k and cell, mean over seeds."""
    found = files["long_sequences"]["truncation"]
    lengths = next(iter(found.values()))["lengths"]
    rows = []
    for k in (1, 4, 16, 64, 256, 1024):
        errors = [of["relative_error"][lengths.index(k)] for of in found.values()]
        means = [sum(error) / len(error) for error in errors]
        rows.append([str(k), *("0" if value == 0 else f"{value:.3f}" for value in means)])
    return table(["k", *(f"`{cell}`" for cell in found)], rows)


def parallel(files: Files) -> str:
    """Iterations of Newton's method over all steps, predicted and measured, by network and T."""
    found = files["parallel"]
    lengths = sorted({row["length"] for row in found["rows"]})
    networks = list(dict.fromkeys(row["network"] for row in found["rows"]))
    by = {(row["network"], row["length"]): row for row in found["rows"]}

    def counts(row: Mapping[str, Any] | None) -> str:
        if row is None:
            return ""
        most = min(found["max_iterations"], row["length"])
        ended = "not run" if row["seconds"] is None else f"more than {most:,}"
        return f"{row['predicted']:,.0f} / {ended if row['measured'] is None else row['measured']}"

    def line(network: str) -> list[str]:
        rows = [by.get((network, length)) for length in lengths]
        last = [row for row in rows if row is not None][-1]
        name = network.removeprefix(last["cell"])
        told = f", trained by `{name.removeprefix(', ')}`" if last["trained"] else name
        return [f"`{last['cell']}`{told}", f"{last['lyapunov_exponent']:+.3f}", *map(counts, rows)]

    return table(["network", "largest exponent", *(f"T {length:,}" for length in lengths)], [*map(line, networks)])


def parallel_right(files: Files) -> str:
    """How many predictions are right."""
    found = files["parallel"]
    measured = sum(row["measured"] is not None for row in found["rows"])
    share, away = (f"{found['within'][of]:.0%}" for of in ("all", "away_from_the_transition"))
    return (
        f"Within a factor of 1.5, the aim, are {share} of the {measured} that were measured to the end, and {away} of "
        f"those among them whose exponent is not between -0.1 and 0.01; the other {len(found['rows']) - measured} take "
        f"more than {found['max_iterations']:,} iterations, or were not run."
    )


class Memory(NamedTuple):
    """A row of `memory`: command, file, what stands behind the command and the time."""

    command: str
    file: str
    cell: str = " (GRU)"
    remark: str = ""


MEMORY = (
    Memory("memory", "memory_adding_100", remark="; 60 s where nothing else runs"),
    Memory(
        "memory --length=1000 --chrono=1000 --batch_size=32 --num_examples=32000 --epochs=2",
        "memory_adding_1000",
        remark=" on both cores of an Intel Xeon",
    ),
    Memory(
        "memory --length=10000 --chrono=10000 --batch_size=32 --num_examples=16000 --epochs=6 --num_evaluation=500 "
        "--evaluate_lengths=10000",
        "memory_adding_10000",
        remark=" beside other programs, on both cores of an Intel Xeon",
    ),
    Memory(
        "memory --task=sequential_mnist --chrono=4 --epochs=15 --learning_rate=2e-3",
        "memory_sequential_mnist",
        remark=" on both cores of an Intel Xeon",
    ),
    Memory(
        "memory --task=permuted_mnist --chrono=784 --hidden_size=128 --batch_size=128 --epochs=16",
        "memory_permuted_mnist",
        remark=" on both cores of an Intel Xeon",
    ),
    Memory("memory --length=100 --cell=lstm --forget_bias=1 --evaluate_lengths=100", "memory_adding_100_lstm", ""),
    Memory(
        "memory --length=100 --cell=lstm_without_dc --forget_bias=1 --evaluate_lengths=100",
        "memory_adding_100_without_dc",
        "",
    ),
)


def remembered(found: Mapping[str, Any]) -> tuple[str, str]:
    """The result of a long-memory task in words, and that of the answer without a memory."""
    metrics, trivial = found["metrics"], found["baselines"]["trivial"]
    if "mse" not in metrics:
        return percent(metrics["accuracy"], 2), percent(trivial["accuracy"], 2)
    error, without = metrics["mse"]["mean"], trivial["mse"]["mean"]
    longer = [
        f"{significant(of['metrics']['mse']['mean'])} at T {int(length):,}"
        for length, of in found["lengths"].items()
        if of["metrics"]["mse"]["mean"] != error
    ]
    right = f"{percent(metrics['accuracy'], 1)} of the sums right"
    return f"MSE {significant(error)}, {right}" + (f"; {', '.join(longer)}" if longer else ""), f"{without:.3f}"


def memory(files: Files) -> str:
    """What networks learn of the long-memory tasks."""
    rows = []
    for row in MEMORY:
        found = files[row.file]
        rows.append([f"`{row.command}`{row.cell}", *remembered(found), seconds(found["train_seconds"]) + row.remark])
    return table(["command", "result", "without a memory", "training"], rows)


REMEDIES = (
    ("none (`--clip_norm=0`)", "none"),
    ("`--clip_norm=1`, the default", "clip"),
    ("`--init=glorot_orthogonal`", "orthogonal"),
    ("`--forget_bias=1`", "forget_1"),
    ("`--zoneout=0.1`", "zoneout"),
    ("`--flossing=8` (200 steps before training)", "flossing"),
    ("`--flossing=8 --flossing_steps=50 --flossing_every=100` (and during it)", "flossing_during"),
    ("`--chrono=200`", "chrono"),
    ("`--cell=lstm_layer_norm`", "layer_norm"),
)
"""What is done against a vanishing gradient, and the end of the file's name."""


def remedies(files: Files) -> str:
    """What an LSTM learns of the adding problem over 200 steps, by remedy."""
    found = [(name, files[f"memory_adding_200_{end}"]["metrics"]) for name, end in REMEDIES]
    best = min(of["mse"]["mean"] for _, of in found)
    rows = [
        [name, bold(f"{of['mse']['mean']:.4f}", of["mse"]["mean"] == best), percent(of["accuracy"], 0)]
        for name, of in found
    ]
    return table(["remedy", "MSE", "sums right"], rows)


def long_memory(files: Files) -> str:
    """What a long memory and a long gradient take, in the README."""
    adding, million = files["memory_adding_10000"], costs(files["long_sequences_final_loss"])
    plain, checkpointed = million["scan", "plain"], million["scan", "checkpointed"]
    learned, without = remembered(adding)
    rows = [
        [
            "`memory`: a GRU with chrono initialization adds two numbers that are up to 10,000 steps back",
            f"{learned} (without a memory: MSE {without})",
            f"{adding['train_seconds'] / 60:.0f} min, two busy cores",
        ]
    ]
    for name, row in (("the plain scan", plain), ("with `checkpoint_every=1000`", checkpointed)):
        rows.append(
            [
                f"`long_sequences`: the gradient through 1,000,000 steps of an LSTM, {name}",
                f"{scientific(row['gradient_error'])} from that in float64",
                f"{mebibytes(row['predicted_bytes'], 0)} MiB, {seconds(row['seconds'])}",
            ]
        )
    return table(["", "result", "cost"], rows)


TABLES = {
    "gradient_few": gradient_few,
    "gradient_many": gradient_many,
    "without_dc": without_dc,
    "long_sequences": long_sequences,
    "truncation": truncation,
    "memory": memory,
    "parallel": parallel,
    "parallel_right": parallel_right,
    "remedies": remedies,
    "long_memory": long_memory,
}
