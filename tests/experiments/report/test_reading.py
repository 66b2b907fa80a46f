"""Run folders of strangers: what is read, and the reason where nothing is."""

import json
import os

import pytest
from helpers.run_folders import leave, png

from experiments.report import reading
from experiments.report.folders import common_parent, find
from experiments.report.reading import Run, Unread, read
from rnn_jax.training import digests


def test_a_finished_run(tmp_path):
    found = read(leave(tmp_path / "run", [0.2, 0.4], baselines={"persistence": [0.9]}, pictures=True, hidden_size=16))
    assert isinstance(found, Run)
    assert found.finished
    assert (found.experiment, found.dataset, found.protocol) == ("forecast", "synthetic", "clean")
    assert found.flags["hidden_size"] == "16"
    assert found.flags["csv"] == ""
    assert found.seeds == (0, 1)
    assert found.metrics["mse"] == (0.2, 0.4)
    assert found.baselines == {"persistence": {"mse": (0.9,)}}
    assert found.curve.name == "validation_loss"
    assert found.curve.steps == [10, 20, 30, 40, 50]
    assert found.curve.losses == pytest.approx([1, 2 / 3, 1 / 2, 2 / 5, 1 / 3])
    assert [file.name for file in found.pictures] == ["loss.png"]
    assert found.facts["num_params"] == 1


def test_a_run_that_is_not_finished(tmp_path):
    found = read(leave(tmp_path / "run"))
    assert not found.finished
    assert found.curve.steps[-1] == 50
    (tmp_path / "run" / "metrics.jsonl").unlink()
    assert read(tmp_path / "run").curve is None


def test_a_log_with_torn_and_foreign_lines(tmp_path):
    folder = leave(tmp_path / "run")
    lines = [
        '{"step": 1, "loss": 3.0}',
        '{"step": 2, "los',
        "[1, 2]",
        '{"step": 2, "loss": 1e999}',
        '{"step": 3, "loss": 2}',
    ]
    lines += ['{"step": true, "loss": 1}', '{"loss": 5}', "[" * 100_000 + '"loss"', '{"step": 1, "loss": 4.0}', "\xff"]
    (folder / "metrics.jsonl").write_bytes("\n".join(lines).encode("latin-1"))
    assert read(folder).curve == reading.Curve("loss", [1, 3], [4.0, 2.0])


def test_a_long_log_is_thinned(tmp_path):
    found = read(leave(tmp_path / "run", steps=5000))
    assert reading.POINTS <= len(found.curve.steps) <= reading.POINTS + 1
    assert (found.curve.steps[0], found.curve.steps[-1]) == (10, 50_000)


def test_undefined_figures(tmp_path):
    assert str(read(leave(tmp_path / "run", [0.5, None])).metrics["mse"]) == "(0.5, nan)"


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("flags.txt", None, "no run: it has no flags.txt"),
        ("flags.txt", b"", "flags.txt is empty"),
        ("flags.txt", b"\xff\xfe--a=1", "flags.txt is not UTF-8 text"),
        ("flags.txt", b"--cell=gru\nimport os\n", "flags.txt, line 2: no --name=value"),
        ("flags.txt", b"--a=1\n" * 200_000, "flags.txt is larger than 1,048,576 bytes"),
        ("results.json", b"", "results.json is no JSON: cut short?"),
        ("results.json", b'{"experiment": "fore', "results.json is no JSON: cut short?"),
        ("results.json", DEEP.encode(), "results.json is no JSON: cut short?"),
        ("results.json", b"[]", "results.json holds no results"),
        ("results.json", b"{}", "results.json has no experiment"),
        ("results.json", {"seeds": "12"}, "results.json: seeds is no list of whole numbers"),
        ("results.json", {"metrics": [1]}, "results.json: metrics is no table"),
        ("results.json", {"metrics": {"mse": 3}}, "results.json: metrics.mse has no list of values"),
        ("results.json", {"baselines": 3}, "results.json: baselines is no table"),
        ("results.json", {"baselines": {"a": 3}}, "results.json: baselines.a is no table"),
    ],
)
def test_damaged(tmp_path, name, content, reason):
    folder = leave(tmp_path / "run", [0.5])
    if content is None:
        (folder / name).unlink()
    else:
        if isinstance(content, dict):
            content = json.dumps(json.loads((folder / name).read_text()) | content).encode()
        (folder / name).write_bytes(content)
    assert read(folder) == Unread(folder, reason)


def test_results_that_are_not_what_the_run_left(tmp_path):
    folder = leave(tmp_path / "run", [0.5])
    digests.write(folder, digests.of_folder(folder))
    assert read(folder).finished
    file = folder / "results.json"
    file.write_bytes(file.read_bytes().replace(b"0.5", b"0.4"))
    assert read(folder) == Unread(folder, "results.json is not what the run left (see digests.txt)")
    (folder / "digests.txt").write_text("x\n")
    assert read(folder) == Unread(folder, "digests.txt is damaged")


@pytest.mark.parametrize("name", ["flags.txt", "results.json", "metrics.jsonl"])
def test_no_regular_file(tmp_path, name):
    """A named pipe would wait for ever, and a link would bring what is not the run's."""
    folder, elsewhere = leave(tmp_path / "run", [0.5]), tmp_path / "elsewhere"
    (folder / name).rename(elsewhere)
    for make, reason in (
        (lambda: os.mkfifo(folder / name), f"{name} is no regular file"),
        (lambda: (folder / name).symlink_to(elsewhere), f"{name} is a link out of the folder"),
    ):
        make()
        found = read(folder)
        if name == "metrics.jsonl":  # which costs the curve alone
            assert (found.finished, found.curve, found.facts["remark"]) == (True, None, f"no curve: {reason}")
        else:
            assert found == Unread(folder, reason)
        (folder / name).unlink()
    for make in (lambda: (folder / name).symlink_to(name), lambda: (folder / name).mkdir()):
        make()
        found = read(folder)
        assert isinstance(found, Unread) if name != "metrics.jsonl" else found.facts["remark"].startswith("no curve: ")
        (folder / name).unlink() if (folder / name).is_symlink() else None


def test_numbers_that_are_none(tmp_path):
    values = "[NaN, Infinity, 1e999, 1e300, true, null, 1" + "0" * 400 + ", 0.5]"
    folder = leave(tmp_path / "run", [0.5])
    found = json.loads((folder / "results.json").read_text()) | {"metrics": "HERE"}
    text = json.dumps(found).replace('"HERE"', f'{{"mse": {{"values": {values}}}}}')
    (folder / "results.json").write_text(text)
    assert str(read(folder).metrics["mse"]) == "(nan, nan, nan, nan, nan, nan, nan, 0.5)"


def test_texts_move_no_cursor(tmp_path):
    folder = leave(tmp_path / "run", [0.5], results={"dataset": "a\x1b[2Jb\n\u202e\ud800" + "x" * 1000}, csv="\x07")
    found = read(folder)
    assert found.dataset.startswith("a\ufffd[2Jb\ufffd\ufffd\ufffdxxx")
    assert len(found.dataset) == reading.LONGEST + 1
    assert found.flags["csv"] == "\ufffd"


class TestPicture:
    @pytest.fixture
    def file(self, tmp_path):
        return leave(tmp_path / "run", pictures=True) / "plots" / "loss.png"

    def test_a_png(self, file):
        assert reading.picture(file, 10_000) == png()

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"<svg onload=alert(1)>", "no PNG"),
            (b"", "no PNG"),
            (png()[:20], "no PNG"),
            (png()[:16] + b"\x7f\xff\xff\xff" * 2 + png()[24:], "2147483647 x 2147483647 pixels are too many"),
            (png() + bytes(10_000), "plots/loss.png is larger than 10,000 bytes"),
        ],
    )
    def test_none(self, file, content, reason):
        file.write_bytes(content)
        with pytest.raises(reading.Damaged, match=f"^{reason}$"):
            reading.picture(file, 10_000)

    def test_a_link(self, file, tmp_path):
        (tmp_path / "secret.png").write_bytes(png())
        file.unlink()
        file.symlink_to(tmp_path / "secret.png")
        with pytest.raises(reading.Damaged, match="link out of the folder"):
            reading.picture(file, 10_000)


class TestFind:
    def test_names_patterns_and_folders_of_runs(self, tmp_path):
        one, two = leave(tmp_path / "runs" / "one"), leave(tmp_path / "runs" / "lr[0.01]")
        (tmp_path / "runs" / "a_file").touch()
        (tmp_path / "runs" / "notes").mkdir()
        assert find([str(one)]) == [one]
        assert find([str(two)]) == [two], "brackets in a name are no pattern"
        assert find([str(tmp_path / "runs" / "*")]) == [two, tmp_path / "runs" / "notes", one]
        assert find([str(tmp_path / "runs")]) == [two, one], "a folder of runs"
        assert find([str(one), str(tmp_path / "ru*" / "one"), str(tmp_path / "runs" / "..") + "/runs/one"]) == [one]

    def test_a_sweep(self, tmp_path):
        """Which has flags and results of its own."""
        points = [leave(tmp_path / "sweep" / "points" / name) for name in ("a", "b")]
        for name in ("flags.txt", "results.json"):
            (tmp_path / "sweep" / name).touch()
        assert find([str(tmp_path / "sweep")]) == points
        assert common_parent(points) == tmp_path / "sweep"
        assert common_parent(points[:1]) == tmp_path / "sweep"

    def test_a_report_is_no_run(self, tmp_path):
        run = leave(tmp_path / "run")
        (tmp_path / "report").mkdir()
        for name in ("index.html", "runs.csv"):
            (tmp_path / "report" / name).touch()
        assert find([str(tmp_path / "*")]) == [run]
