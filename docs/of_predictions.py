"""The tables of forecasts and of text classification, from the files of `docs/results`.

Every function takes the parsed files by name, without ".json", and returns Markdown. What no file has stands as a
literal in its row: the time of a whole command, what a lecture reported, the command itself.
"""

from typing import NamedTuple

from docs.figures import Files, bold, mean, percent, seconds, spread, table


class Forecast(NamedTuple):
    """A row of `szeged`: a run of three seeds, or with `baseline` what such a run stands beside."""

    model: str
    file: str
    flags: str = ""
    time: str = ""
    baseline: str = ""


SZEGED = {
    "lecture": (
        Forecast("LSTM", "szeged_lecture_lstm", "`--protocol=lecture`", "46 s"),
        Forecast(
            "RNN, 3 layers",
            "szeged_lecture_rnn_3_layers",
            "`--protocol=lecture --cell=rnn --num_layers=3 --learning_rate=3e-3`",
            "60 s",
        ),
        Forecast("RNN", "szeged_lecture_rnn", "`--protocol=lecture --cell=rnn --learning_rate=3e-3`", "23 s"),
        Forecast("linear autoregression", "szeged_lecture_lstm", baseline="linear_autoregression"),
        Forecast("persistence", "szeged_lecture_lstm", baseline="persistence"),
    ),
    "clean": (
        Forecast("GRU", "szeged_clean_gru", "`--cell=gru`", "51 s"),
        Forecast("LSTM", "szeged_clean_lstm", "", "57 s"),
        Forecast("boosted trees", "szeged_clean_lstm", baseline="trees"),
        Forecast("linear autoregression", "szeged_clean_lstm", baseline="linear_autoregression"),
        Forecast("persistence", "szeged_clean_lstm", baseline="persistence"),
        Forecast("same hour of the day before", "szeged_clean_lstm", baseline="seasonal_naive"),
    ),
}


def szeged(files: Files) -> str:
    """The temperature one hour ahead, both protocols, the best of each in bold."""
    rows = []
    for protocol, forecasts in SZEGED.items():
        measured = [
            files[row.file]["baselines"][row.baseline] if row.baseline else files[row.file]["metrics"]
            for row in forecasts
        ]
        best = min(measures["mse"]["mean"] for measures in measured)
        for at, (row, of) in enumerate(zip(forecasts, measured, strict=True)):
            mse = bold(spread(of["mse"], 3), of["mse"]["mean"] == best)
            skill = f"{of['skill']['mean']:.3g}"
            figures = [mse, mean(of["mae"], 3), mean(of["r2"], 4), skill]
            rows.append([protocol if at == 0 else "", row.model, row.flags, *figures, row.time])
    return table(["protocol", "model", "flags", "MSE", "MAE", "R2", "skill", "time"], rows)


STEPS = {
    "Szeged, temperature": ("szeged_24", "LSTM, 2 layers, H 96, all columns"),
    "Beijing, PM2.5": ("pm25_24", "GRU, 2 layers, H 128"),
}
"""Files of forecasts of 24 hours, and what the network is."""

ROWS = {
    "trees": "boosted trees",
    "linear_autoregression": "linear autoregression",
    "seasonal_naive": "same hour of the day before",
    "persistence": "persistence",
}


def hours_ahead(files: Files) -> str:
    """Mean squared errors 1, 6 and 24 hours ahead, of one network, an ensemble and baselines; the best in bold."""
    rows = []
    for data, (file, network) in STEPS.items():
        found = files[file]
        seeds = len(found["seeds"])
        of = {network: found["metrics_by_step"], f"the mean of {seeds} seeds' forecasts": None}
        of[f"the mean of {seeds} seeds' forecasts"] = found["baselines_by_step"][f"ensemble of {seeds}"]
        of |= {name: found["baselines_by_step"][key] for key, name in ROWS.items()}
        best = [min(each["mse"][k]["mean"] for each in of.values()) for k in range(3)]
        digits = 3 if best[0] < 10 else 0
        for at, (name, each) in enumerate(of.items()):
            figures = [bold(spread(each["mse"][k], digits), each["mse"][k]["mean"] == best[k]) for k in range(3)]
            time = seconds(found["train_seconds"] / seeds) if at == 0 else ""
            rows.append(["" if at else data, name, *figures, time])
    return table(["data", "model", "MSE, 1 hour", "6 hours", "24 hours", "training"], rows)


DUST = (
    ("clean", "pm25_1", "GRU, 2 layers, H 64", "`--cell=gru --num_layers=2 --hidden_size=64 --epochs=8`"),
    ("clean", "pm25_150", "LSTM, 150 neurons, one seed", "`--hidden_size=150 --epochs=5`"),
    ("clean", "pm25_500", "LSTM, 500 neurons, one seed", "`--hidden_size=500 --epochs=3`"),
    ("copied", "pm25_copied", "GRU, H 32", "`--protocol=copied --cell=gru`"),
)
"""Protocol, file, network, flags; the baselines are those of the first file of a protocol."""


def dust(files: Files) -> str:
    """Fine dust of the next hour, missing targets left out, and as the copied tutorial has it."""
    rows, last = [], ""
    for at, (protocol, file, network, flags) in enumerate(DUST):
        found = files[file]
        rows.append(["" if protocol == last else protocol, network, flags, spread(found["metrics"]["rmse"], 2)])
        last = protocol
        if at + 1 < len(DUST) and DUST[at + 1][0] == protocol:
            continue
        own = files[next(each[1] for each in DUST if each[0] == protocol)]
        for key in ("trees", "linear_autoregression", "persistence"):
            rows.append(["", ROWS[key], "", mean(own["baselines"][key]["rmse"], 2)])
    return table(["protocol", "model", "flags", "RMSE"], rows)


def ablation(files: Files) -> str:
    """Mean squared errors of the Szeged temperature with one flag changed at a time."""
    rows = []
    for each in files["forecast_ablation"]["rows"]:
        figures = " / ".join(f"{found['mean']:.3f}" for found in each["validation"])
        tested = [spread(found, 3) for found in each["test"]]
        together = " / ".join(f"{value:.3f}" for value in each["test_ensemble"])
        name = f"`{each['flags']}`" if each["flags"] else "the base"
        rows.append([name, figures, *tested, together, seconds(each["train_seconds"])])
    head = ["changed", "validation, 1 / 6 / 24 h", "test, 1 h", "6 h", "24 h", "mean of three forecasts", "training"]
    return table(head, rows)


HORIZONS = (96, 192, 336, 720)
PUBLISHED = {
    "SegRNN, published": (".351 / .392", ".392 / .414", ".423 / .433", ".466 / .472"),
    "NLinear, published": (".374 / .394", ".408 / .415", ".429 / .427", ".440 / .453"),
    "DLinear, published": (".375 / .399", ".405 / .416", ".439 / .443", ".472 / .490"),
}


def etth(files: Files) -> str:
    """MSE / MAE of the seven columns of ETTh1, standardized, beside what was published."""
    found = [files[f"etth1_{ahead}"] for ahead in HORIZONS]

    def both(of: list[dict[str, dict[str, float]]]) -> list[str]:
        mean_of_all = [sum(each[name]["mean"] for each in of) / len(of) for name in ("mse", "mae")]
        return [
            *(f"{spread(each['mse'], 4)} / {mean(each['mae'], 4)}" for each in of),
            f"{mean_of_all[0]:.3f} / {mean_of_all[1]:.3f}",
        ]

    rows = [["GRU in segments, and a line", *both([each["metrics"] for each in found])]]
    for key, name in (("nlinear", "NLinear"), ("dlinear", "DLinear"), ("persistence", "persistence")):
        rows.append([name, *both([each["baselines"][key] for each in found])])
    rows += [[name, *figures, ""] for name, figures in PUBLISHED.items()]
    return table(["", *(f"{ahead} hours" for ahead in HORIZONS), "average"], rows)


def kinds(files: Files) -> str:
    """The defaults on made-up series: squared error against that of the best baseline of each table."""
    found = files["forecast_kinds"]["series"]
    lengths = sorted({each["rows"] for each in found})
    by_kind: dict[str, dict[int, dict[str, object]]] = {}
    for each in found:
        by_kind.setdefault(each["kind"], {})[each["rows"]] = each
    rows = []
    for kind, of in by_kind.items():
        cells = [
            f"{of[n]['ratio']:.3f} ({str(of[n]['baseline']).replace('_', ' ')})" if n in of else "" for n in lengths
        ]
        rows.append([kind.replace("_", " "), *cells])
    return table(["series", *(f"{n:,} rows" for n in lengths)], rows)


class Reviews(NamedTuple):
    """A row of `reviews`; without a command a baseline, which every run has."""

    model: str
    file: str
    command: str = ""
    baseline: str = ""
    remark: str = ""


REVIEWS = {
    "IMDB": (
        Reviews(
            "bidirectional LSTM, H 384, begun as two language models of the training reviews, with count ratios",
            "imdb_bilstm_pretrained_count_ratios",
            "imdb --init_from=RUN,REVERSE --count_ratios=3 --max_tokens=1000 --num_lengths=12 --batch_size=64 "
            "--epochs=2 --learning_rate=1e-3 --embedding_dropout=0.3",
            remark=", other work beside, after the 721 s of RUN and as many of REVERSE, with `--reverse`; one seed",
        ),
        Reviews(
            "bidirectional LSTM, 2 layers, with count ratios",
            "imdb_bilstm2_count_ratios",
            "imdb --bidirectional --num_layers=2 --count_ratios=3 --max_tokens=1000 --num_lengths=12 "
            "--batch_size=32 --epochs=1",
            remark=" on an Intel Xeon",
        ),
        Reviews(
            "bidirectional LSTM with count ratios",
            "imdb_bilstm_count_ratios",
            "imdb --bidirectional --count_ratios=3 --max_tokens=1000 --num_lengths=12",
        ),
        Reviews(
            "LSTM, H 384, begun as a language model of the training reviews, with count ratios",
            "imdb_lstm_pretrained_count_ratios",
            "imdb --init_from=RUN --count_ratios=3 --max_tokens=1000 --num_lengths=12 --epochs=2 "
            "--learning_rate=1e-3 --embedding_dropout=0.3",
            remark=" after the 721 s of RUN; one seed",
        ),
        Reviews(
            "LSTM, H 384, begun as a language model of the training reviews",
            "imdb_lstm_pretrained",
            "imdb --init_from=RUN --max_tokens=1000 --num_lengths=12 --epochs=2 --learning_rate=1e-3 "
            "--embedding_dropout=0.3",
            remark=" after the 721 s of RUN, `language_model --dataset=imdb`; one seed",
        ),
        Reviews(
            "bidirectional LSTM, H 384, with count ratios",
            "imdb_bilstm_384_count_ratios",
            "imdb --bidirectional --hidden_size=384 --embedding_size=512 --count_ratios=3 --max_tokens=1000 "
            "--num_lengths=12 --batch_size=64 --epochs=2 --learning_rate=1e-3 --embedding_dropout=0.3",
            remark=", other work beside; one seed",
        ),
        Reviews(
            "LSTM, H 384, with count ratios",
            "imdb_lstm_384_count_ratios",
            "imdb --hidden_size=384 --embedding_size=256 --count_ratios=3 --max_tokens=1000 --num_lengths=12 "
            "--epochs=2 --learning_rate=1e-3 --embedding_dropout=0.3",
            remark=", other work beside; one seed",
        ),
        Reviews("LSTM, 1,000 tokens", "imdb_lstm_1000", "imdb --max_tokens=1000 --num_lengths=12 --batch_size=32"),
        Reviews("LSTM, 400 tokens", "imdb_lstm", "imdb", remark=", one core"),
        Reviews("NB-SVM, word trigrams", "imdb_baselines", baseline="nbsvm_trigrams"),
        Reviews("NB-SVM, word bigrams", "imdb_baselines", baseline="nbsvm_bigrams"),
        Reviews("mean of embeddings (bag)", "imdb_baselines", baseline="bag"),
        Reviews("flattened embeddings", "imdb_baselines", baseline="flatten"),
    ),
    "NTC-SCV": (
        Reviews(
            "bidirectional LSTM with count ratios",
            "ntc_scv_bilstm_count_ratios",
            "ntc_scv --bidirectional --count_ratios=3",
        ),
        Reviews("NB-SVM, word bigrams", "ntc_scv_baselines", baseline="nbsvm_bigrams"),
        Reviews("NB-SVM, word trigrams", "ntc_scv_baselines", baseline="nbsvm_trigrams"),
        Reviews("mean of embeddings (bag)", "ntc_scv_baselines", baseline="bag"),
        Reviews("flattened embeddings", "ntc_scv_baselines", baseline="flatten"),
    ),
}


def reviews(files: Files) -> str:
    """Accuracy on film and restaurant reviews, from the best down, and the time to train one seed."""
    rows = []
    for data, entries in REVIEWS.items():
        measured = []
        for row in entries:
            run = files[row.file]
            of = run["baselines"][row.baseline] if row.baseline else run["metrics"]
            time = "" if row.baseline else seconds(run["train_seconds"] / len(run["seeds"])) + row.remark
            measured.append((of["accuracy"], row, time))
        measured.sort(key=lambda entry: -entry[0]["mean"])
        for at, (accuracy, row, time) in enumerate(measured):
            command = f"`{row.command}`" if row.command else "in every run"
            shown = bold(spread(accuracy, 2, 100), at == 0)
            rows.append(["" if at else data, row.model, command, shown, time])
    return table(["data", "model", "command", "accuracy", "time"], rows)


LECTURE = (
    ("imdb --lecture --cell=rnn", "imdb_lecture_rnn", "68 %"),
    ("imdb --lecture --noread_padding --cell=rnn", "imdb_lecture_rnn_lengths", ""),
    ("imdb --lecture", "imdb_lecture_lstm", "87 %"),
    ("imdb --lecture --noread_padding", "imdb_lecture_lstm_lengths", ""),
    ("imdb --lecture --bidirectional --num_layers=2 --epochs=3 --patience=1", "imdb_lecture_bilstm", "88 %"),
)
"""Command, file, and what the lecture reported."""


def lecture_reviews(files: Files) -> str:
    """The lectures' text classifiers as they were and, where it makes a difference, given the lengths."""
    rows = []
    for command, file, reported in LECTURE:
        run = files[file]
        accuracy = percent(run["metrics"]["accuracy"], 1)
        rows.append([f"`{command}`", reported, accuracy, seconds(run["train_seconds"])])
    head = ["command (one seed, JAX 0.10.2, one core)", "reported", "measured", "training"]
    better = percent(files["imdb_lstm_1000"]["metrics"]["accuracy"], 1)
    note = f"With pooling over valid steps, dropout, averaged weights and 1,000 tokens the LSTM has {better}."
    return f"{table(head, rows)}\n\n{note}"


def padding(files: Files) -> str:
    """What reading the padding costs, for the errata: accuracy in %."""
    read, given, both = (
        {cell: mean(files[f"imdb_lecture_{cell}{end}"]["metrics"]["accuracy"], 1, 100) for cell in cells}
        for cells, end in ((("rnn", "lstm"), ""), (("rnn", "lstm"), "_lengths"), (("bilstm",), ""))
    )
    rows = [
        ["RNN", "68", read["rnn"], given["rnn"]],
        ["LSTM", "87", read["lstm"], given["lstm"]],
        ["bidirectional LSTM, 2 layers, backward state", "88", f"{both['bilstm']} (3 epochs)", ""],
    ]
    return table(["", "lecture, reported", "padding read", "lengths given"], rows)


def expected(files: Files) -> str:
    """What the runs without a table of their own end with."""
    synthetic, sine = files["synthetic_lstm"], files["spelled_out"]
    mse = {"LSTM": synthetic["metrics"], **synthetic["baselines"]}
    wanted = ("LSTM", "trees", "linear_autoregression", "persistence", "known_limit")
    lstm, trees, linear, naive, limit = (mean(mse[k]["mse"], 3) for k in wanted)
    rnn_error, lstm_error = (spread(sine["cells"][cell]["metrics"]["train_mse"], 3) for cell in ("rnn", "lstm"))
    persistence = mean(sine["baselines"]["persistence"]["train_mse"], 3)
    rows = [
        [
            "`forecast`",
            f"MSE of persistence {naive}, linear autoregression {linear}, boosted trees {trees}, LSTM {lstm}; no "
            f"forecast of the made-up series is better than {limit}",
            "17 s",
        ],
        [
            "`spelled_out`",
            f"mean squared standardized error in training: RNN {rnn_error}, LSTM {lstm_error}; persistence "
            f"{persistence}; the lecture's version ends at 0.14",
            "15 s",
        ],
        ["`gradcheck`", "70 of 70 rows within tolerance: float64 1e-10 and 1e-6, float32 1e-5", "45 s"],
    ]
    return table(["command", "figure", "time on 2 cores"], rows)


TABLES = {
    "szeged": szeged,
    "hours_ahead": hours_ahead,
    "etth": etth,
    "kinds": kinds,
    "dust": dust,
    "ablation": ablation,
    "reviews": reviews,
    "lecture_reviews": lecture_reviews,
    "padding": padding,
    "expected": expected,
}
