"""What a run leaves and reads back is checked against its digests: a byte that changed is one line, never an answer."""

import hashlib
import json
import os
import re
import shutil
import subprocess

import pytest
from helpers.finished import RUNS, finished
from helpers.running import contents, flip, run, sign

from experiments import launchable, spelled_out
from experiments.common import digests, results
from experiments.common.flags import UsageError
from experiments.forecast import report as forecast
from experiments.language_model import report as language_model
from experiments.memory import report as memory
from experiments.text import report as text
from experiments.vanishing import report as vanishing
from rnn_jax.training import digests as of_files


def listed(folder):
    """Path to digest, as `digests.txt` says."""
    lines = (folder / "digests.txt").read_text().splitlines()
    return {path: digest for digest, path in (line.split("  ", 1) for line in lines)}


@pytest.fixture
def made(tmp_path):
    """A folder as a run leaves it, with names that would be special elsewhere."""
    folder = tmp_path / "run [1]"
    for path in ("a b.json", "model/[x].bin", "model/d/ü", "checkpoints/1/x", "rungs/gru/checkpoints/1", "plots/a.png"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    (folder / "metrics.jsonl").touch()
    digests.finish(folder, "results.json", "{}\n")
    return folder


class TestOfAFolder:
    def test_what_counts(self, made):
        assert sorted(listed(made)) == ["a b.json", "model/[x].bin", "model/d/ü", "results.json"]
        assert listed(made)["results.json"] == hashlib.sha256(b"{}\n").hexdigest()
        digests.check(made, "a b.json", "model", "results.json")

    def test_as_another_program_checks_them(self, made):
        if shutil.which("sha256sum") is None:
            pytest.skip("no sha256sum here")
        command = ["sha256sum", "--check", "--strict", "--quiet", "digests.txt"]
        assert subprocess.run(command, cwd=made, check=False).returncode == 0
        flip(made / "model" / "d" / "ü", 0)
        assert subprocess.run(command, cwd=made, check=False, capture_output=True).returncode == 1

    @pytest.mark.parametrize("path", ["a b.json", "model/d/ü"])
    @pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "removed", "a folder", "a pipe", "a dead link"])
    def test_damage(self, made, path, damage):
        file = made / path
        if damage == "flipped":
            flip(file, 0)
        elif damage in ("cut", "emptied"):
            file.write_bytes(file.read_bytes()[: -1 if damage == "cut" else 0])
        else:
            file.unlink()
        if damage == "a folder":
            file.mkdir()
        elif damage == "a pipe":
            os.mkfifo(file)
        elif damage == "a dead link":
            file.symlink_to("nowhere")
        with pytest.raises(UsageError, match=rf"^--run=x: {path} there .*; put it back, or delete results\.json there"):
            digests.check(made, "a b.json", "model", where="--run=x")
        digests.check(made, "results.json")

    def test_what_cannot_be_read(self, made, monkeypatch):
        def refuse(*given, **more):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(hashlib, "file_digest", refuse)
        with pytest.raises(UsageError, match=r"results\.json there cannot be read \(Permission denied\)"):
            digests.check(made, "results.json")

    def test_a_file_too_many(self, made):
        """Orbax might read it."""
        (made / "model" / "d" / "more").touch()
        with pytest.raises(UsageError, match="model/d/more there is not what the run left"):
            digests.check(made, "model")

    @pytest.mark.parametrize("content", [b"", b"\n", b"\xff", b"x  a b.json\n", None])
    def test_damaged_digests(self, made, content):
        file = made / "digests.txt"
        file.write_bytes(file.read_bytes()[:-5] + b"\n" if content is None else content)
        with pytest.raises(
            UsageError, match=r"(digests\.txt there (is damaged|cannot)|results\.json there is not what)"
        ):
            digests.check(made, "results.json")

    def test_a_run_of_an_older_version_is_read_with_one_remark(self, made, capsys):
        (made / "digests.txt").unlink()
        digests.check(made, "a b.json")
        digests.check(made, "model")
        told = f"--workdir={made}: no digests.txt there, as of an older version: what is read there is not checked\n"
        assert capsys.readouterr().err == told

    def test_are_there_before_the_run_counts_as_finished(self, tmp_path, monkeypatch):
        written = []
        for module in (digests, of_files):
            monkeypatch.setattr(module, "write_whole", lambda file, content: written.append(file.name))
        digests.finish(tmp_path, "results.json", "{}")
        assert written == ["digests.txt", "results.json"]


def copy_of(tmp_path_factory, name, folder):
    """A finished run of its own, without what no mode reads."""
    unread = shutil.ignore_patterns("checkpoints", "plots", "events", "baselines", "projector", "backtest")
    shutil.copytree(finished(tmp_path_factory, name).folder, folder, ignore=unread)
    sign(folder)
    return folder


def again(name):
    """The command of a finished run, which shows its results."""
    return RUNS[name].experiment, RUNS[name].flags, "workdir"


OF_MODELS = {"flags.txt", "results.json", "model"}
READING = {
    "predict": (
        "imdb_lecture",
        ("imdb", ("--mode=predict", "--text=dull"), "workdir"),
        {*OF_MODELS, "tokenizer.json", "count_ratios.npz"},
    ),
    "generate": (
        "language_model",
        ("language_model", ("--mode=generate",), "workdir"),
        {*OF_MODELS, "vocabulary.json"},
    ),
    "forecast": (
        "forecast",
        ("forecast", ("--mode=predict", "--csv=rows.csv"), "workdir"),
        {*OF_MODELS, "encoder.json"},
    ),
    "look": ("memory", ("vanishing", ("--workdir=look",), "run"), OF_MODELS),
    "look at texts": (
        "language_model",
        ("vanishing", ("--workdir=look",), "run"),
        {*OF_MODELS, "rungs/gru/model", "rungs/lstm/model"},
    ),
    "begin with": ("language_model", ("imdb", ("--workdir=new",), "init_from"), {"results.json"}),
    **{
        f"again {name}": (name, again(name), {"results.json", "flags.txt"})
        for name in ("memory", "vanishing", "spelled_out", "long_sequences")
    },
}
"""By what is done: whose folder is read, by which command, and which files and folders there."""


@pytest.mark.parametrize("doing", READING)
def test_a_flipped_byte_is_never_an_answer(tmp_path_factory, tmp_path, monkeypatch, doing):
    """Every file that the command reads there, the bit of a byte that its name decides."""
    monkeypatch.chdir(tmp_path)
    made, (experiment, flags, flag), read = READING[doing]
    folder = copy_of(tmp_path_factory, made, tmp_path / "run")
    files = [path for path in listed(folder) if any(path == each or path.startswith(f"{each}/") for each in read)]
    assert len(files) >= len(read)
    for path in files:
        before = (folder / path).read_bytes()
        number = int(hashlib.sha256(path.encode()).hexdigest(), 16)
        flip(folder / path, number % len(before), number // 7 % 8)
        ran = run(launchable(experiment).main, *flags, f"--{flag}={folder}")
        if path == "flags.txt" and doing.startswith("again"):
            assert re.search("was made with other flags|flags.txt there is damaged", ran.one_error())
        else:
            message = f"--{flag}={folder}: {path} there is not what the run left (see digests.txt)"
            assert ran.one_error().startswith(message)
            assert "results" not in ran.out
        (folder / path).write_bytes(before)


def test_another_experiments_results_are_not_shown(tmp_path_factory, tmp_path):
    """Both files, so that the digests agree."""
    folder = copy_of(tmp_path_factory, "memory", tmp_path / "run")
    other = finished(tmp_path_factory, "spelled_out").folder
    for file in ("results.json", "digests.txt"):
        shutil.copy(other / file, folder / file)
    ran = run(launchable("memory").main, *RUNS["memory"].flags, f"--workdir={folder}")
    assert ran.one_error() == (
        f"--workdir={folder}: results.json there is of 'spelled_out', not of memory; name another folder"
    )


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000, '"text"', "null", "NaN", None])
@pytest.mark.parametrize("signed", [True, False])
def test_results_that_are_none(tmp_path_factory, tmp_path, content, signed):
    """With digests that agree, as somebody else may have made them, or without any."""
    folder = copy_of(tmp_path_factory, "memory", tmp_path / "run")
    file = folder / "results.json"
    if content is None:
        file.unlink()
        file.mkdir()
        (folder / "digests.txt").unlink()
    else:
        file.write_text(content)
        sign(folder)
    if not signed and content is not None:
        (folder / "digests.txt").unlink()
    before = contents(folder)
    ran = run(launchable("memory").main, *RUNS["memory"].flags, f"--workdir={folder}")
    *remark, line = ran.err.splitlines()
    assert ran.status == 2
    wanted = "results.json there holds no results; delete it, and the command of the run makes it anew"
    assert line == f"error: --workdir={folder}: {wanted}"
    assert len(remark) == (not signed or content is None)
    assert contents(folder) == before


def refusal(folder, show):
    """Why results cannot be shown; None where they can."""
    try:
        results.show_old(folder, show)
    except UsageError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("name", "show"),
    [
        ("forecast", forecast.show),
        ("language_model", language_model.show),
        ("memory", memory.show),
        ("vanishing", vanishing.show),
        ("spelled_out", spelled_out.show),
        ("imdb", text.show),
    ],
)
def test_results_that_lack_something(tmp_path_factory, tmp_path, name, show):
    """Whatever is missing or of another type, it is one line or shown without it."""
    found = finished(tmp_path_factory, name).results
    refused = 0
    for key in found:
        for value in (None, 7, "text", [], {}):
            digests.finish(tmp_path, "results.json", json.dumps({**found, key: value}))
            message = refusal(tmp_path, show)
            assert message is None or "results.json there is of another version (" in message
            refused += message is not None
    assert refused > 5
