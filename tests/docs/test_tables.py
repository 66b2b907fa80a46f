"""Tables and pictures of the documentation are those of the files of measured figures."""

import copy
import doctest
import re

import numpy as np
import pytest
from helpers.finished import finished
from helpers.running import as_in_a_new_process
from PIL import Image

from docs import figures, of_benchmarks, pictures, tables
from experiments.common import restore

FILES = tables.read_files()
PAGES = tables.read_pages()


def test_all_are_as_the_files_have_them(capsys):
    assert tables.main(["--check"]) == 0, capsys.readouterr().err


BLOCKS = [f"{page}: {block[1]}" for page, text in PAGES.items() for block in tables.BLOCK.finditer(text)]


@pytest.mark.parametrize("name", BLOCKS)
def test_a_changed_digit_is_noticed(name):
    """The last digit of a table in a page."""
    page, table = name.split(": ")
    block = next(block[0] for block in tables.BLOCK.finditer(PAGES[page]) if block[1] == table)
    before, digit, after = re.fullmatch(r"(.*)(\d)(\D*)", block, re.S).groups()
    changed = f"{before}{(int(digit) + 1) % 10}{after}"
    assert tables.differing({**PAGES, page: PAGES[page].replace(block, changed)}, FILES) == [name]


def test_a_changed_file_is_noticed(monkeypatch, capsys):
    files = copy.deepcopy(FILES)
    files["szeged_clean_gru"]["metrics"]["mse"]["mean"] += 0.001
    monkeypatch.setattr(tables, "read_files", lambda: files)
    assert tables.main(["--check"]) == 1
    assert capsys.readouterr().err.split("\n") == ["differs: README.md: szeged (python -m docs.tables writes it)", ""]


def test_a_table_that_stands_nowhere_is_noticed():
    assert tables.differing({"README.md": ""}, FILES) == [f"in no page: {name}" for name in tables.TABLES]


def test_filling_again_changes_nothing():
    for text in PAGES.values():
        assert tables.filled(text, FILES) == text


def test_an_unknown_table():
    with pytest.raises(KeyError, match="nothing"):
        tables.filled("<!-- table: nothing -->\n<!-- end -->", FILES)


def test_a_cell_that_would_break_the_table():
    with pytest.raises(ValueError, match="bar"):
        figures.table(["a"], [["b | c"]])
    with pytest.raises(ValueError, match="2 cells"):
        figures.table(["a"], [["b", "c"]])


@pytest.mark.parametrize("module", [figures, of_benchmarks])
def test_examples(module):
    tested = doctest.testmod(module)
    assert tested.attempted
    assert not tested.failed


def test_a_vanishing_file_of_either_form():
    """Older files call the two gradients by back ends, newer ones by cells: right first, wrong second."""
    files = copy.deepcopy(FILES)
    for bias, both in files["vanishing"]["without_dc"].items():
        files["vanishing"]["without_dc"][bias] = dict(zip(("lstm", "lstm_without_dc"), both.values(), strict=True))
    assert tables.TABLES["without_dc"](files) == tables.TABLES["without_dc"](FILES)


@pytest.mark.parametrize("name", [*pictures.PICTURES, "forecast"])
def test_pictures_are_small(name):
    path = pictures.FOLDER / f"{name}.png"
    assert path.stat().st_size < 60_000
    with Image.open(path) as image:
        assert 700 <= image.width <= 900


def test_a_picture_of_other_figures_is_noticed():
    files = copy.deepcopy(FILES)
    files["vanishing"]["rows"] = [
        {**row, "log10_gradient": {n: -1.0 for n in row["log10_gradient"]}} for row in FILES["vanishing"]["rows"]
    ]
    assert pictures.differing(files) == ["docs/pictures/gradient_by_lag.png"]
    row = next(row for row in files["layer_lstm"]["rows"] if row["peer"] == "equinox")
    row["forward_backward"]["ratio"] += 1
    assert pictures.differing(files) == ["docs/pictures/gradient_by_lag.png", "docs/pictures/speed.png"]


def test_pictures_are_drawn(tmp_path_factory, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "FOLDER", tmp_path)
    run = finished(tmp_path_factory, "forecast").folder
    with as_in_a_new_process():
        pictures.draw_all(FILES, run)
    assert {path.stem for path in tmp_path.iterdir()} == {*pictures.PICTURES, "forecast"}
    assert pictures.differing(FILES) == []


def test_the_errors_of_a_drawn_forecast(tmp_path_factory):
    """They are those of the run: smaller than persistence's, which is drawn beside them."""
    with as_in_a_new_process():
        above, below = pictures.forecast(finished(tmp_path_factory, "forecast").folder).axes
    real, ours = (line.get_ydata() for line in above.lines)
    _, naive_error, our_error = (line.get_ydata() for line in below.lines)
    np.testing.assert_allclose(ours - real, our_error)
    np.testing.assert_allclose(naive_error[1:], real[:-1] - real[1:], rtol=1e-4, atol=1e-6)
    assert np.mean(our_error**2) < np.mean(naive_error**2)


def test_real_data_is_not_drawn(tmp_path_factory, monkeypatch):
    found = restore.restore(finished(tmp_path_factory, "forecast").folder, "run")
    monkeypatch.setattr(restore, "restore", lambda *_: found._replace(results={"dataset": "szeged"}))
    with pytest.raises(ValueError, match="synthetic series alone"):
        pictures.forecast(pictures.FOLDER)
