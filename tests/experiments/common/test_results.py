"""What a run leaves: the same form for every experiment, whole or not at all."""

import json

import numpy as np
import pytest
from helpers.finished import RUNS, finished

from experiments import EXPERIMENTS
from experiments.common import begun, results
from experiments.common.flags import UsageError
from rnn_jax.data.errors import DataError

FOUND = {
    **dict.fromkeys(results.KEYS, 0),
    "experiment": "demo",
    "cell": "gru",
    "seeds": [0, 1],
    "metrics": {"mse": results.spread([1.0, 2.0])},
    "baselines": {"naive": {"mse": results.spread([3.0])}},
}


def test_all_experiments_have_a_small_run_here():
    assert {run.experiment for run in RUNS.values()} == set(EXPERIMENTS) - {"benchmark", "report", "sweep"}, (
        "they have tests of their own"
    )


@pytest.mark.parametrize("name", RUNS)
class TestOfEveryRun:
    def test_keys(self, tmp_path_factory, name):
        found = finished(tmp_path_factory, name).results
        assert set(found) >= {*results.KEYS, "device", "versions"}
        assert found["experiment"] == RUNS[name].experiment, "what one launches"
        assert isinstance(found["num_params"], int)
        assert isinstance(found["steps"], int)
        assert found["num_params"] > 0
        assert found["steps"] > 0
        assert found["compile_seconds"] >= 0
        assert found["train_seconds"] > 0
        assert all(isinstance(found[key], str) and found[key] for key in ("dataset", "protocol", "cell", "device"))
        assert {"python", "jax", "flax", "optax", "numpy"} <= set(found["versions"])

    def test_measures(self, tmp_path_factory, name):
        """Each has mean, spread and values, one for each seed of the model."""
        found = finished(tmp_path_factory, name).results
        rows = [found["metrics"], *found["baselines"].values()]
        assert found["metrics"]
        for measure, entry in ((measure, entry) for row in rows for measure, entry in row.items()):
            assert measure == measure.lower()
            assert set(entry) == {"mean", "std", "values"}
            if entry["mean"] is not None:
                assert entry["mean"] == pytest.approx(np.mean(entry["values"]))
                several = len(entry["values"]) > 1
                assert entry["std"] == pytest.approx(np.std(entry["values"], ddof=1) if several else 0)
        if name not in ("gradcheck", "long_sequences", "vanishing", "parallel"):
            assert {len(entry["values"]) for entry in found["metrics"].values()} == {len(found["seeds"])}

    def test_nothing_of_this_machine_but_its_device(self, tmp_path_factory, name):
        """No folder of the run in what is to be reproduced elsewhere."""
        run = finished(tmp_path_factory, name)
        for file in ("results.json", "flags.txt"):
            assert str(run.folder) not in (run.folder / file).read_text(encoding="utf-8")


class TestWrite:
    def test_a_key_that_is_missing(self, tmp_path):
        for key in results.KEYS:
            with pytest.raises(KeyError, match=f"lack {key}"):
                results.write(tmp_path, {name: value for name, value in FOUND.items() if name != key})
        assert not list(tmp_path.iterdir())

    def test_what_was_written_is_read(self, tmp_path):
        assert results.read(tmp_path) is None
        results.write(tmp_path, {**FOUND, "more": (1, [2.5])})
        found = results.read(tmp_path)
        assert {**found, "more": None} == {**FOUND, "more": None} | {key: found[key] for key in ("device", "versions")}
        assert found["more"] == [1, [2.5]]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["digests.txt", "results.json"]

    def test_figures_that_are_not_defined(self, tmp_path):
        """JSON as every program reads it: no NaN, no infinity."""

        def refuse(word):
            raise AssertionError(word)

        results.write(tmp_path, {**FOUND, "metrics": {"skill": results.spread([np.nan]), "x": [np.inf, (-np.inf, 1)]}})
        found = json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)
        assert found["metrics"]["skill"] == {"mean": None, "std": 0.0, "values": [None]}
        assert found["metrics"]["x"] == [None, [None, 1]]
        assert "undefined" in results.table({"a": found["metrics"]}, ["skill"])

    @pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[1]"])
    def test_a_file_that_holds_no_results(self, tmp_path, content):
        (tmp_path / "results.json").write_bytes(content)
        with pytest.raises(UsageError, match=r"results\.json there holds no results; delete it, and the command of"):
            results.read(tmp_path)


class TestData:
    def test_is_noted_once_and_another_refused(self, tmp_path):
        begun.check_data(tmp_path, "a")
        begun.note(tmp_path / "run", "a")
        begun.note(tmp_path / "run", "b")
        assert (tmp_path / "run" / "data.txt").read_text() == "a\n"
        begun.check_data(tmp_path / "run", "a")
        with pytest.raises(UsageError, match=r"was made with other data \(data.txt\); put it back or name another"):
            begun.check_data(tmp_path / "run", "b")


class TestRunOrShow:
    @pytest.fixture
    def done(self, tmp_path):
        """What was called, in order."""
        return []

    def call(self, folder, done, fingerprint=lambda: "a"):
        results.run_or_show(
            "demo", folder, lambda: done.append("train"), lambda folder: done.append("show"), fingerprint
        )

    def test_trains_first(self, tmp_path, done, capsys):
        self.call(tmp_path, done)
        assert done == ["train", "show"]
        assert capsys.readouterr().out == ""

    def test_shows_what_is_finished(self, tmp_path, done, capsys):
        begun.note(tmp_path, "a")
        results.write(tmp_path, FOUND)
        self.call(tmp_path, done)
        assert done == ["show"]
        said = capsys.readouterr()
        assert said.out == "this run is finished; its results:\n"
        assert said.err == f"no plots there: delete {tmp_path / 'results.json'}, and the same command draws them\n"

    def test_says_nothing_of_plots_that_are_there(self, tmp_path, done, capsys):
        begun.note(tmp_path, "a")
        results.write(tmp_path, FOUND)
        (tmp_path / "plots").mkdir()
        self.call(tmp_path, done)
        assert capsys.readouterr().err == ""

    def test_not_of_other_data(self, tmp_path, done):
        begun.note(tmp_path, "b")
        results.write(tmp_path, FOUND)
        with pytest.raises(UsageError, match="was made with other data"):
            self.call(tmp_path, done)
        assert not done

    def test_says_where_the_data_is_gone(self, tmp_path, done, capsys):
        def gone():
            raise DataError("no file a.csv")

        begun.note(tmp_path, "b")
        results.write(tmp_path, FOUND)
        self.call(tmp_path, done, gone)
        assert done == ["show"]
        assert "this run is finished, its data cannot be read any more (no file a.csv)" in capsys.readouterr().out


def test_rows_and_table():
    rows = results.rows(FOUND)
    assert list(rows) == ["gru (2 seeds)", "naive"]
    assert list(results.rows({**FOUND, "seeds": [7]})) == ["gru (1 seed)", "naive"]
    table = results.table({**rows, "other": {}}, ["mse"], digits=1)
    assert table.splitlines()[2:] == ["| gru (2 seeds) | 1.5 ± 0.7 |", "| naive         | 3.0       |",
                                      "| other         |           |"]  # fmt: skip


def test_costs():
    found = {**FOUND, "num_params": 1234, "steps": 5000, "train_seconds": 1.25, "compile_seconds": 0.5, "device": "cpu"}
    words = "1,234 parameters, 5,000 steps in 1.2 s of training, 0.5 s of compiling\ncpu, back end scan"
    assert results.costs({**found, "backend": "scan"}) == words
    assert results.costs(found).endswith("back end not noted"), "an older run"
