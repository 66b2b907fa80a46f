"""CSV and Parquet files of a strange kind or size: one line that says where, in bounded time and memory."""

import gzip
import importlib.util

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_jax.data.errors import DataError
from rnn_jax.data.series.cells import LONGEST_LINE, read_csv
from rnn_jax.data.series.features import fit_encoder
from rnn_jax.data.series.future import with_future
from rnn_jax.data.series.series import read_file

needs_pyarrow = pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs pyarrow")
MANY = ",".join(f"c{i}" for i in range(50_000))
ONES = ",".join(["1"] * 50_000)


def message_of(path, *arguments, **options):
    with pytest.raises(DataError) as error:
        read_file(path, *arguments, **options)
    text = str(error.value)
    assert text.isprintable()
    assert len(text) < 1000
    return text


class TestLines:
    def test_one_line_of_many_megabytes(self, tmp_path):
        path = tmp_path / "some.csv.gz"
        with gzip.open(path, "wb", 1) as file:
            file.write(b"x\n")
            for _ in range(30):
                file.write(b"1" * 1_000_000)
        assert message_of(path, ["x"]) == f"some.csv.gz, line 2: more than {LONGEST_LINE:,} characters: break the line"

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_bytes_that_are_no_utf8_are_named_by_their_line(self, write, end):
        lines = ["t,x", *(f"caf\u00e9 {n},{n}" for n in range(5000))]
        content = end.join(lines).encode() + end.encode()
        bad = content.replace("caf\u00e9 4711,".encode(), b"caf\xe9 4711,")
        assert message_of(write(bad), ["x"]) == "some.csv is not UTF-8 text (line 4713): save it as UTF-8"
        np.testing.assert_array_equal(read_file(write(content), ["x"]).values[:, 0], range(5000))

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ('x,n\n1,"a\n2,b\n3,c\n', 2),  # was read as one row
            ('x,n\n1,a\n2,b\n3,"c\n', 4),
            ('x,n\n1,a\n2,"b"c\n3,d\n', 3),
            ('"x,n\n1,a\n', 1),
        ],
    )
    def test_a_quote_that_is_not_closed(self, write, text, line):
        assert message_of(write(text), ["x"]).startswith(f"some.csv, line {line}: ")

    def test_nul_bytes(self, write):
        assert message_of(write("x\n1\n\0\n2\n"), ["x"]).startswith(
            "some.csv, line 3, column 'x': '\\x00' is not a num"
        )
        assert message_of(write("\0" * 5000), ["x"]).startswith("some.csv: the name of column 1 is '\\x00\\x00")

    def test_lines_without_a_cell_count_too(self, write):
        message = message_of(write("x,y\n" + "\n" * 1000 + "1,2\n"), ["x"], max_cells=500)
        assert message.startswith("some.csv has more than 500 cells in 1 column to read: read fewer columns")


class TestSizes:
    def test_too_many_cells(self, write):
        path = write("x,y,z\n" + "1,2,3\n" * 100)
        assert read_file(path, ["x"], max_cells=101).values.shape == (100, 1)
        message = message_of(path, ["x"], ["y"], max_cells=150)
        assert message == (
            "some.csv has more than 150 cells in 2 columns to read: read fewer columns, take a shorter file, or set a "
            "larger max_cells=150"
        )

    def test_too_many_bytes(self, write):
        path = write(gzip.compress(b"x\n" + b"1\n" * 10_000), "some.csv.gz")
        assert read_file(path, ["x"], max_file_bytes=20_002).values.shape == (10_000, 1)
        message = message_of(path, ["x"], max_file_bytes=20_001)
        assert message.endswith(
            "holds more than 20,001 bytes: take a smaller file, or set a larger max_file_bytes=20001"
        )

    def test_many_columns(self, write):
        path = write(f"{MANY}\n{ONES}\n{ONES.replace('1', '2')}\n")
        np.testing.assert_array_equal(read_file(path, ["c49999"]).values, [[1], [2]])
        assert message_of(path, ["x"]).endswith("'c18', 'c19' and 49,980 more")
        assert read_file(path, ["c0"], ["all"]).values.shape == (2, 50_000)
        constant = read_file(write(f"{MANY}\n{ONES}\n{ONES}\n"), ["c0"], ["all"])
        assert constant.values.shape == (2, 1)
        assert constant.repairs[-1] == "some.csv: ... and so in 49,979 columns more"
        assert len(constant.repairs) == 21

    def test_long_names_and_cells(self, write):
        assert message_of(write("x" * 100_000 + ",y\n1,2\n"), ["y"]).endswith(
            "(100,000 characters), more than 500: give a header line with a name for each column"
        )
        path = write("x\n1\n" + "y" * 100_000 + "\n")
        assert message_of(path, ["x"]).endswith(
            "(100,000 characters) is not a number: correct the cell or leave it empty"
        )

    def test_long_names_of_series(self, write):
        message = message_of(write("x,id\n1,a\n2," + "b" * 501 + "\n"), ["x"], series_id="id")
        assert message.endswith("'... (501 characters), more than 500: give the series a shorter name")

    @needs_pyarrow
    def test_of_parquet(self, tmp_path):
        path = tmp_path / "some.parquet"
        pd.DataFrame({"x": np.arange(5000.0), "s": ["y" * 1000] * 5000}).to_parquet(path)
        assert path.stat().st_size < 100_000
        assert read_file(path, ["x"], max_file_bytes=100_000, max_cells=5000).values.shape == (5000, 1)
        assert message_of(path, ["x"], max_cells=4999).startswith("some.parquet has more than 4,999 cells in 1 column")
        message = message_of(path, ["x"], ["s"], max_file_bytes=4_500_000)
        assert message.startswith("some.parquet holds more than 4,500,000 bytes: take a smaller file")

    @needs_pyarrow
    def test_lists_in_parquet_are_text(self, tmp_path):
        path = tmp_path / "some.parquet"
        pd.DataFrame({"x": [1.0, 2.0], "s": [[1], [2, 3]], "d": [{"a": 1}, None]}).to_parquet(path)
        assert [column.kind for column in read_file(path, ["x"], ["all"]).columns] == ["number", "category", "category"]
        assert message_of(path, ["s"]).startswith("some.parquet, row 1, column 's': '[1]' is not a number")


class TestTimes:
    @pytest.mark.parametrize("cell", ["now", "today", "Now", "NOW"])
    def test_the_clock_is_no_time(self, write, cell):
        message = message_of(write(f"t,x\n2020-01-01,1\n{cell},2\n"), ["x"], time="t")
        assert message == f"some.csv, line 3, column 't': {cell!r} is not a time: write times as 2014-01-31 13:00"

    @pytest.mark.parametrize(
        "cell", ["0001-01-01", "0000-01-01", "0999-12-31", "3000-01-01", "9999-12-31", "-0044-03-15"]
    )
    def test_outside_the_years(self, write, cell):
        message = message_of(write(f"t,x\n{cell},1\n2020-01-02,2\n"), ["x"], time="t")
        assert message == (
            f"some.csv, line 2, column 't': {cell!r} lies outside the years 1000 to 2999: correct the time, or "
            "take out the row"
        )

    @pytest.mark.parametrize("cell", ["10000-01-01", "294276-12-31", "2" * 400, "2020-01-01 00:00+99:99", "1e5"])
    def test_beyond_what_pandas_reads(self, write, cell):
        message = message_of(write(f"t,x\n2020-01-01,1\n{cell},2\n"), ["x"], time="t")
        assert message.endswith("is not a time: write times as 2014-01-31 13:00")

    @pytest.mark.parametrize(("ahead", "fine"), [(6000, True), (7500, False), (300_000, False)])
    def test_a_forecast_beyond_four_digits(self, write, ahead, fine):
        series = read_file(write("t,x\n2018-03-02,1\n2019-03-02,2\n2020-03-02,3\n"), ["x"], time="t")
        if fine:
            assert with_future(series, ahead)[0].times[-1].year == 2020 + ahead
        else:
            with pytest.raises(DataError, match=rf"^some.csv: the {ahead:,} times to forecast end after the year 9000"):
                with_future(series, ahead)


class TestValues:
    @pytest.mark.parametrize(
        "values",
        [
            np.where(np.arange(50) % 2, 0.1 + 0.2, 0.3),
            1e15 + 0.125 * (np.arange(50) % 2),
            1e25 * (1 + 1e-15 * (np.arange(50) % 3)),
            1e-310 * (np.arange(50) % 5),
        ],
    )
    def test_what_moves_by_rounding_alone_is_constant(self, write, values):
        path = write("x\n" + "".join(f"{value!r}\n" for value in values.tolist()))
        series = read_file(path, ["x"])
        with pytest.raises(
            DataError, match=r"^some.csv: column 'x' is .* training rows but for rounding, there is noth"
        ):
            fit_encoder(series, np.ones(50, bool))

    @pytest.mark.parametrize("scale", [1e-90, 1e29])
    def test_what_is_small_or_large_is_scaled(self, write, scale):
        path = write("x\n" + "".join(f"{scale * (k % 7)!r}\n" for k in range(50)))
        encoder = fit_encoder(read_file(path, ["x"]), np.ones(50, bool))
        assert encoder.scale[0, 0] == pytest.approx(2 * scale, rel=0.05)

    @pytest.mark.parametrize("cell", ["1e308", "-1e308", "1e31", "9" * 400])
    def test_what_is_too_large(self, write, cell):
        message = message_of(write(f"x\n1\n{cell}\n"), ["x"])
        assert message.startswith("some.csv, line 3, column 'x': ")


CELL = st.text(st.characters(codec="utf-8", exclude_characters='",;\t\r\n'), max_size=5)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    rows=st.lists(st.tuples(CELL, st.floats(-1e30, 1e30), CELL), min_size=1, max_size=20),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    delimiter=st.sampled_from([",", ";", "\t"]),
    packed=st.booleans(),
)
def test_what_was_written_is_read(tmp_path_factory, rows, end, delimiter, packed):
    """Whatever its delimiter, its line ends and the text in its cells."""
    path = tmp_path_factory.mktemp("csv") / "some.csv"
    lines = [delimiter.join(("a", "x", "b")), *(delimiter.join((a, repr(x), b)) for a, x, b in rows)]
    content = (end.join(lines) + end).encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    numbers, cells = read_csv(path, ["x", "b"], 10**6, 10**6)
    assert numbers.tolist() == list(range(2, 2 + len(rows)))
    assert cells == {"x": [repr(x) for _, x, _ in rows], "b": [b for _, _, b in rows]}
