"""Which runs are a row, what baselines are, and what is best."""

import pytest
from helpers.run_folders import leave

from experiments.common.directions import BETTER
from experiments.common.flags import UsageError
from experiments.report.reading import read
from experiments.report.significance import FIXED
from experiments.report.tables import make_tables


@pytest.fixture
def make(tmp_path):
    """Runs by what `leave` takes, and their tables."""

    def of(*runs, **asked):
        return make_tables([read(leave(tmp_path / str(i), **run)) for i, run in enumerate(runs)], **asked)

    return of


def test_runs_that_differ_in_seeds_alone_are_one_row(make):
    [table] = make(
        {"mse": [0.3, 0.5], "num_seeds": 2},
        {"mse": [0.7], "seeds": [2], "seed": 2},
        {"mse": [0.2], "cell": "gru"},
    )
    assert table.by == ("cell",)
    assert table.differing == ["cell"]
    assert table.same == {"hidden_size": "8", "learning_rate": "0.01", "csv": ""}
    assert [row.label for row in table.rows] == ["cell=gru", "cell=lstm"]
    lstm = table.rows[1]
    assert lstm.figures["mse"] == {(0,): 0.3, (1,): 0.5, (2,): 0.7}
    assert lstm.mean("mse") == pytest.approx(0.5)
    assert lstm.std("mse") == pytest.approx(0.2)
    assert (table.metric, table.better, table.best) == ("mse", "lower", "cell=gru")


def test_a_seed_counts_once(make):
    [table] = make({"mse": [0.3, 0.5]}, {"mse": [0.3, 0.5]})
    assert table.rows[0].figures["mse"] == {(0,): 0.3, (1,): 0.5}
    assert any("counts once" in remark for remark in table.remarks)


def test_grouped_by_a_flag(make):
    """What is pooled over pairs where all else is the same."""
    runs = [
        {"mse": [size / 100 + (cell == "gru")], "cell": cell, "hidden_size": size}
        for cell in ("gru", "lstm")
        for size in (8, 9, 16)
    ]
    [table] = make(*runs, by=["cell"])
    assert [row.label for row in table.rows] == ["cell=lstm", "cell=gru"]
    assert table.rows[0].figures["mse"] == {("8", 0): 0.08, ("9", 0): 0.09, ("16", 0): 0.16}
    found = table.against[0].comparisons["cell=gru"]
    assert found.difference == pytest.approx(1.0)
    assert found.test == "no spread, no test, n = 3"
    assert "pooled over hidden_size" in table.remarks[0]


def test_other_data_is_another_table(make):
    tables = make(
        {"mse": [0.3]},
        {"mse": [0.3], "results": {"dataset": "szeged"}},
        {"mse": [0.3], "results": {"protocol": "lecture"}},
        {"mse": [0.3], "results": {"experiment": "memory"}},
    )
    assert [table.title for table in tables] == [
        "forecast · synthetic · clean",
        "forecast · szeged · clean",
        "forecast · synthetic · lecture",
        "memory · synthetic · clean",
    ]


def test_a_run_that_is_not_finished_stands_with_those_that_it_is_like(make):
    [table, other, foreign] = make(
        {"mse": [0.3]},
        {"hidden_size": 16},
        {"lag": 4, "cell": "rnn", "ahead": "3", "learning_rate": 3, "hidden_size": 4},
        {"nonsense": 4, "cell": "rnn", "ahead": "3", "learning_rate": 3, "hidden_size": 4},
    )
    assert [row.label for row in table.rows] == ["hidden_size=8", "hidden_size=16"]
    assert table.rows[1].figures == {}
    assert (other.title, other.metric, other.best) == ("forecast", "", None), "whose flags it has"
    assert foreign.title == "unknown"


def test_a_run_that_is_not_finished_on_other_data_is_another_table(make):
    tables = make({"mse": [0.3], "dataset": "szeged"}, {"dataset": "szeged"}, {"dataset": "etth1"})
    assert [(table.title, len(table.runs)) for table in tables] == [
        ("forecast · synthetic · clean", 2),
        ("forecast", 1),
    ]


def test_baselines(make):
    """What is the same in all runs and for all seeds is a fixed value; what a seed changes pairs by seed."""
    both = {"persistence": [0.9], "bag": [0.4, 0.5], "constant": [0.7, 0.7]}
    [table] = make(
        {"mse": [0.3, 0.1], "baselines": both | {"trees": [0.2]}},
        {"mse": [0.6, 0.5], "baselines": both | {"trees": [0.3]}, "cell": "gru"},
    )
    rows = {row.label: row for row in table.rows}
    assert list(rows) == ["cell=lstm", "trees", "bag", "cell=gru", "constant", "persistence"]
    assert rows["persistence"].figures["mse"] == {FIXED: 0.9}
    assert rows["constant"].figures["mse"] == {FIXED: 0.7}
    assert rows["bag"].figures["mse"] == {(0,): 0.4, (1,): 0.5}
    assert rows["trees"].mean("mse") == pytest.approx(0.25)
    comparisons = table.against[0].comparisons
    assert comparisons["persistence"].test == "t against a fixed value, n = 2"
    assert comparisons["bag"].test == "paired t, n = 2"
    assert comparisons["trees"].test == "differs between runs, no test"
    assert table.best == "cell=lstm", "a baseline is not the best run"


def test_what_no_run_is_to_beat(make):
    [table] = make({"mse": [0.5], "baselines": {"known_limit": [0.1], "ensemble of 3": [0.4], "naive": [0.6]}})
    assert [row.label for row in table.rows] == ["known_limit", "ensemble of 3", "lstm", "naive"]
    assert table.best_baseline.label == "naive"


def test_against_a_row_that_is_named(make):
    runs = [{"mse": [0.3, 0.1], "baselines": {"naive": [0.9]}}, {"mse": [0.6, 0.5], "cell": "gru", "hidden_size": 4}]
    for name in ("naive", "cell=gru,hidden_size=4", "cell=gru, hidden_size=4"):
        [table] = make_tables_again(make, runs, name)
        assert [against.label for against in table.against] == ["cell=lstm, hidden_size=8", name.replace(",h", ", h")]
    [table] = make_tables_again(make, runs, "cell=lstm, hidden_size=8")
    assert len(table.against) == 1, "it is the best"
    assert set(table.against[0].corrected) == {"naive", "cell=gru, hidden_size=4"}
    with pytest.raises(UsageError, match=r"^--baseline=nave: no such row; the rows are cell=lstm, .*; naive$"):
        make_tables_again(make, runs, "nave")


def make_tables_again(make, runs, baseline, made={}):  # noqa: B006  # folders are made once
    key = id(make)
    if key not in made:
        made.clear()
        made[key] = [run for table in make(*runs) for run in table.runs]
    return make_tables(made[key], baseline=baseline)


def test_higher_is_better_for_some(make):
    runs = [{"mse": [0.3]}, {"mse": [0.6], "cell": "gru"}]
    [table] = make(*runs, metric="r2")
    assert (table.better, table.best, table.metrics) == ("higher", "cell=lstm", ["r2", "mse"])
    assert [row.label for row in table.rows] == ["cell=lstm", "cell=gru"]


def test_metrics_without_a_direction_have_no_best(make):
    entry = {"metrics": {"lyapunov_exponent": {"mean": 1.0, "std": 0.0, "values": [1.0]}}}
    [table] = make({"mse": [0.3], "results": entry}, {"mse": [0.6], "cell": "gru", "results": entry})
    assert (table.metric, table.better, table.best, table.against) == ("lyapunov_exponent", None, None, [])


def test_labels_are_unique(make):
    """A flag without a value is as good as not there; a baseline may be called like a row."""
    [table] = make(
        {"mse": [0.2]},
        {"mse": [0.3], "csv": "unset", "lag": ""},
        {"mse": [0.4], "lag": 3, "baselines": {"lag=3": [0.1]}},
    )
    assert table.by == ("lag",)
    assert [row.label for row in table.rows] == ["lag=3 (2)", "lag=unset", "lag=3"]
    assert table.rows[1].values == ("unset",)
    assert set(table.against[0].comparisons) == {"lag=3 (2)", "lag=3"}


def test_one_seed_is_no_evidence(make):
    remark = "cell=gru has one seed: no test can say that it is the best."
    others = [{"mse": [0.3, 0.4]}, {"mse": [0.5, 0.6], "cell": "rnn"}]
    [table] = make({"mse": [0.2], "cell": "gru"}, *others)
    assert remark in table.remarks
    assert {found.test for found in table.against[0].comparisons.values()} == {"n = 1, no test"}


def test_undefined_figures_are_counted(make):
    [table] = make({"mse": [0.3, None, 0.5]})
    assert table.rows[0].figures["mse"] == {(0,): 0.3, (2,): 0.5}
    assert "all runs" not in table.remarks[0]
    assert table.remarks == ["lstm: 1 figures of mse are not defined."]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"metric": "acc"}, "--metric=acc: the runs have mse, r2"),
        ({"by": ["lag"]}, "--by=lag: no run has such a flag"),
    ],
)
def test_unknown(make, asked, message):
    with pytest.raises(UsageError) as error:
        make({"mse": [0.3]}, **asked)
    assert str(error.value) == message


def test_every_metric_of_the_stored_results_has_a_direction():
    """But for those of `vanishing` and `parallel`, of which neither more nor less is better."""
    import json
    from pathlib import Path

    folder = Path(__file__).resolve().parents[3] / "docs" / "results"
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]
    names = {
        name
        for each in found
        if each["experiment"] not in ("vanishing", "parallel")
        for name in each.get("metrics", {})
    }
    assert len(names) > 10
    assert names <= set(BETTER)
