"""A second file, read as the first was: the same numbers for the same words."""

import numpy as np
import pytest

from rnn_jax.data.errors import DataError
from rnn_jax.data.series.features import encode, fit_encoder
from rnn_jax.data.series.like import read_like
from rnn_jax.data.series.series import read_file

NAN = np.nan
FIRST = (
    "t,who,x,sky,wind,note\n"
    "2020-01-01 00:00,b,1,clear,90,\n2020-01-01 01:00,b,2,rain,180,\n2020-01-01 02:00,b,4,clear,0,\n"
    "2020-01-01 00:00,a,10,rain,90,\n2020-01-01 01:00,a,30,rain,180,\n2020-01-01 02:00,a,20,snow,0,\n"
)


@pytest.fixture
def first(tmp_path):
    path = tmp_path / "first.csv"
    path.write_text(FIRST)
    series = read_file(path, ["x"], ["sky", "wind"], angles=["wind"], time="t", series_id="who")
    return series, fit_encoder(series, np.ones(len(series.values), bool))


@pytest.fixture
def second(tmp_path):
    def write(text):
        path = tmp_path / "second.csv"
        path.write_text(text)
        return path

    return write


def test_the_same_file(first, second):
    series, encoder = first
    again = read_like(second(FIRST), encoder, "t", "who")
    np.testing.assert_array_equal(encode(encoder, again), encode(encoder, series))
    assert (again.id_names, again.columns, again.num_targets) == (series.id_names, series.columns, 1)
    assert (again.step, again.season, again.times.tolist()) == (series.step, series.season, series.times.tolist())


def test_other_rows_and_categories(first, second):
    """Of one series alone, in another order of columns, with a column that nobody asked for and a word that is new."""
    _, encoder = first
    path = second(
        "wind,sky,t,more,who,x\n0,snow,2020-03-01 01:00,q,a,50\n90,fog,2020-03-01 02:00,q,a,\n"
        "270,,2020-03-01 04:00,q,a,7\n"
    )
    found = read_like(path, encoder, "t", "who")
    np.testing.assert_array_equal(found.values, [[50, 2, 0], [NAN, NAN, 90], [NAN, NAN, NAN], [7, NAN, 270]])
    np.testing.assert_array_equal(found.ids, [encoder.id_names.index("a")] * 4)
    assert "second.csv: column 'sky': 'fog' was not seen in training, and counts as missing" in found.repairs
    scaled = encode(encoder, found)[:, 0]
    number = encoder.id_names.index("a")
    center, scale = encoder.center[number, 0], encoder.scale[number, 0]
    np.testing.assert_allclose(scaled * scale + center, [50, 50, 50, 7])


def test_a_category_without_any_word(first, second):
    found = read_like(
        second("t,who,x,sky,wind\n2020-01-01 00:00,a,1,,\n2020-01-01 01:00,a,2,,\n"), first[1], "t", "who"
    )
    assert np.isnan(found.values[:, 1:]).all()
    assert "second.csv: column 'sky' has no value in any row" in found.repairs
    assert not [note for note in found.repairs if "seen" in note]


def test_words_that_look_like_numbers(tmp_path, second):
    """Of words of which some are numbers a file may have these alone."""
    path = tmp_path / "words.csv"
    path.write_text("x,shop\n1,1\n2,2\n4,A\n3,1\n")
    series = read_file(path, ["x"], ["shop"])
    encoder = fit_encoder(series, np.ones(4, bool))
    found = read_like(second("x,shop\n1,2\n2,1\n4,\n"), encoder, None, None)
    np.testing.assert_array_equal(found.values[:, 1], [1, 0, NAN])
    assert not [note for note in found.repairs if "seen" in note]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t,who,x,sky\n2020-01-01 00:00,a,1,rain\n", r"second\.csv.*'wind'"),
        ("t,who,x,sky,wind\n2020-01-01 00:00,a,some,rain,1\n", r"second\.csv.*'some'"),
        (
            "t,who,x,sky,wind\n2020-01-01 00:00,c,1,rain,1\n2020-01-01 01:00,c,2,rain,1\n",
            r"^second\.csv: series 'c' is none that was trained on: take out its rows$",
        ),
        (
            "t,who,x,sky,wind\n2020-01-01 00:00,a,,rain,1\n",
            r"^second\.csv: no value of 'x' in any row: there is no past to read$",
        ),
    ],
)
def test_errors(first, second, text, message):
    with pytest.raises(DataError, match=message):
        read_like(second(text), first[1], "t", "who")
