"""Reading CSV files: every error by its text, every repair by its rows and its sentence."""

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_jax.data.errors import DataError
from rnn_jax.data.series.series import MAX_HOLE, read_csv, regularize
from rnn_jax.data.series.table import Table


@pytest.fixture
def write(tmp_path):
    def write(text, name="some.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def hours(count, start="2020-01-01"):
    return [str(t) for t in pd.date_range(start, periods=count, freq="h")]


def rows(times, values):
    return "t,x\n" + "".join(f"{t},{x}\n" for t, x in zip(times, values, strict=True))


class TestReads:
    def test_one_column_of_many_without_times(self, write):
        series = read_csv(write("a,x,b\nq,1,2\nr,3.5,4\ns,-2e1,6\n"), "x")
        assert series.name == "some.csv"
        assert series.columns == ("x",)
        assert series.values.dtype == np.float64
        np.testing.assert_array_equal(series.values, [[1.0], [3.5], [-20.0]])
        np.testing.assert_array_equal(series.breaks, [False] * 3)
        assert series.times is None
        assert series.repairs == ()

    def test_gzip_crlf_byte_order_mark_quotes_and_no_newline_at_the_end(self, write):
        text = '\ufeffx,note\r\n1,"a, b"\r\n\r\n2,"two\r\nlines"\r\n3,c'
        series = read_csv(write(gzip.compress(text.encode()), "some.csv.gz"), "x")
        np.testing.assert_array_equal(series.values[:, 0], [1, 2, 3])
        assert series.repairs == ()

    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_delimiters(self, write, delimiter):
        series = read_csv(write("a,x\n1,2\n3,4\n".replace(",", delimiter)), "x")
        np.testing.assert_array_equal(series.values[:, 0], [2, 4])

    def test_spaces_around_cells_and_names(self, write):
        series = read_csv(write("t, x\n 2020-01-01 , 2 \n 2020-01-02 , 3 \n"), "x", "t")
        np.testing.assert_array_equal(series.values[:, 0], [2, 3])

    def test_one_regular_row(self, write):
        series = read_csv(write("t,x\n2020-01-01,2\n"), "x", "t")
        assert series.values.shape == (1, 1)
        assert series.repairs == ()

    def test_offsets_are_converted_to_utc(self, write):
        # The clocks go back: local hours repeat, the offsets tell them apart.
        times = ["2020-10-25 01:00 +0200", "2020-10-25 02:00 +0200", "2020-10-25 02:00 +0100", "2020-10-25 03:00 +0100"]
        series = read_csv(write(rows(times, range(4))), "x", "t")
        assert series.times.equals(
            pd.date_range("2020-10-24 23:00", periods=4, freq="h", tz="UTC").as_unit(series.times.unit)
        )
        np.testing.assert_array_equal(series.values[:, 0], range(4))
        assert series.repairs == ()

    @pytest.mark.parametrize(
        ("cells", "time_format"),
        [
            (["01/31/2020", "02/01/2020"], "%m/%d/%Y"),
            (["31/01/2020", "01/02/2020"], "%d/%m/%Y"),
            (["31.01.2020 00:00", "01.02.2020 00:00"], "%d.%m.%Y %H:%M"),
            (["31-01-2020 00:00:00", "01-02-2020 00:00:00"], "%d-%m-%Y %H:%M:%S"),
        ],
    )
    def test_times_that_are_not_iso_are_read_and_the_format_is_told(self, write, cells, time_format):
        series = read_csv(write(rows(cells, [1, 2])), "x", "t")
        assert list(series.times.strftime("%Y-%m-%d")) == ["2020-01-31", "2020-02-01"]
        assert series.repairs == (f"some.csv: read the times of 't' as {time_format}",)

    @pytest.mark.parametrize("freq", ["MS", "ME", "QS", "YS"])
    def test_calendar_steps_are_regular(self, write, freq):
        times = pd.date_range("2019-01-01", periods=30, freq=freq).strftime("%Y-%m-%d")
        series = read_csv(write(rows(times, range(30))), "x", "t")
        assert not series.breaks.any()
        assert series.repairs == ()


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "some.csv is empty: give a CSV file with a header line and rows below it"),
            ("t,x\n", "some.csv holds a header and no rows: give a file with rows below the header"),
            ("t,x\n\n\n", "some.csv holds a header and no rows: give a file with rows below the header"),
            ("t,y\n1,2\n", "some.csv has no column 'x': take one of 't', 'y'"),
            ("x,x\n1,2\n", "some.csv has 2 columns called 'x': give them different names"),
            (
                "t,x\n2020-01-01,1\n\n2020-01-02,12 C\n",
                "some.csv, line 4, column 'x': '12 C' is not a number: correct the cell or leave it empty",
            ),
            (
                "t,x\n2020-01-01,1\n2020-01-02,1_000\n",
                "some.csv, line 3, column 'x': '1_000' is not a number: correct the cell or leave it empty",
            ),
            (
                "t,x\n2020-01-01,1\n2020-01-02,-inf\n",
                "some.csv, line 3, column 'x': '-inf' is infinite: correct the cell or leave it empty",
            ),
            (
                "t,x\n2020-01-01,1\n2020-01-02,1e999\n",
                "some.csv, line 3, column 'x': '1e999' is infinite: correct the cell or leave it empty",
            ),
            (
                "t,x\n2020-01-01,1\n2020-02-30,2\n",
                "some.csv, line 3, column 't': '2020-02-30' is not a time: write times as 2014-01-31 13:00",
            ),
            (
                "t,x\n01/31/2020,1\nsoon,2\n02/01/2020,2\n",
                "some.csv, line 3, column 't': 'soon' is not a time: write times as 2014-01-31 13:00",
            ),
            ("t,x\n,1\n", "some.csv, line 2, column 't': '' is not a time: write times as 2014-01-31 13:00"),
            ("t,x\n2020-01-01,1,5\n", "some.csv, line 2: 3 cells under a header of 2: mend the line"),
            ("t,x\n2020-01-01\n", "some.csv, line 2: 1 cells under a header of 2: mend the line"),
            ("t,x\n2020-01-01,NA\n", "some.csv: column 'x' has no value in any row: take another column"),
            (b"t,x\n2020-01-01,\xb0\n", "some.csv is not UTF-8 text: save it as UTF-8"),
        ],
    )
    def test_text(self, write, text, message):
        with pytest.raises(DataError) as error:
            read_csv(write(text), "x", "t" if b"t" in (text if isinstance(text, bytes) else text.encode()) else None)
        assert str(error.value) == message

    def test_missing_time_column(self, write):
        with pytest.raises(DataError, match=r"^some.csv has no column 'when': take one of 't', 'x'$"):
            read_csv(write("t,x\n1,2\n"), "x", "when")

    def test_missing_file(self, tmp_path):
        with pytest.raises(DataError, match=r"^no file .*nowhere.csv: check the path$"):
            read_csv(tmp_path / "nowhere.csv", "x")
        with pytest.raises(DataError, match=r"^no file "):
            read_csv(tmp_path, "x")

    def test_a_field_without_end(self, write):
        with pytest.raises(
            DataError, match=r"^some.csv, after line \d+: field larger than field limit .*: mend the file$"
        ):
            read_csv(write('x\n"' + "1\n" * 100_000), "x")

    @pytest.mark.parametrize("damage", [lambda b: b"plain", lambda b: b[:-20], lambda b: b[:40] + b"#" * 40 + b[80:]])
    def test_damaged_gzip(self, write, damage):
        packed = gzip.compress(("x\n" + "".join(f"{i}\n" for i in range(1000))).encode())
        with pytest.raises(DataError, match=r"^some.csv.gz (cannot be read \(.*\): fetch it again|is not UTF-8)"):
            read_csv(write(damage(packed), "some.csv.gz"), "x")

    def test_every_message_is_one_line(self, write):
        with pytest.raises(DataError) as error:
            read_csv(write('x,y\n"1\n2",3\n'), "x")
        assert str(error.value).count("\n") == 0


class TestRepairs:
    def test_unsorted_times_are_sorted(self, write):
        times = hours(4)
        series = read_csv(write(rows([times[i] for i in (2, 0, 3, 1)], [2, 0, 3, 1])), "x", "t")
        np.testing.assert_array_equal(series.values[:, 0], range(4))
        assert series.times.is_monotonic_increasing
        assert series.repairs == ("some.csv: sorted 4 rows by time (2 steps went back)",)

    def test_of_repeated_times_the_first_is_kept(self, write):
        times = hours(3)
        series = read_csv(write(rows([*times, times[1], times[1]], [0, 1, 2, 1, 9])), "x", "t")
        np.testing.assert_array_equal(series.values[:, 0], [0, 1, 2])
        assert series.repairs == (
            "some.csv: sorted 5 rows by time (1 step went back)",
            "some.csv: dropped 2 rows of a time that had occurred, 1 with another value (first kept)",
        )

    def test_a_short_hole_in_time_is_filled(self, write):
        times = hours(10)
        kept = [0, 1, 2, 6, 7, 8, 9]
        series = read_csv(write(rows([times[i] for i in kept], kept)), "x", "t")
        np.testing.assert_array_equal(series.values[:, 0], range(10))
        assert list(series.times.tz_localize(None).astype(str)) == times
        assert not series.breaks.any()
        assert series.repairs == (
            "some.csv: filled 1 hole of at most 3 steps by linear interpolation "
            "(3 rows inserted; regular step: 01:00:00)",
        )

    def test_a_long_hole_in_time_is_a_break(self, write):
        times = hours(12)
        kept = [0, 1, 2, 7, 8, 9, 10, 11]
        series = read_csv(write(rows([times[i] for i in kept], kept)), "x", "t")
        np.testing.assert_array_equal(series.values[:, 0], kept)
        np.testing.assert_array_equal(np.flatnonzero(series.breaks), [3])
        assert series.repairs == (
            "some.csv: marked 1 break where more than 3 steps are missing "
            "(the longest hole: 4; regular step: 01:00:00)",
        )

    def test_a_step_off_the_grid_is_a_break(self, write):
        times = ["2020-01-01 00:00", "2020-01-01 01:00", "2020-01-01 02:00", "2020-01-01 02:20", "2020-01-01 03:20"]
        series = read_csv(write(rows(times, range(5))), "x", "t")
        np.testing.assert_array_equal(series.values[:, 0], range(5))
        np.testing.assert_array_equal(np.flatnonzero(series.breaks), [3])
        assert series.repairs == ("some.csv: marked 1 break at a step that is no multiple of 01:00:00",)

    def test_a_missing_month_is_filled(self, write):
        series = read_csv(write("t,x\n2020-01,1\n2020-02,2\n2020-04,4\n2020-05,5\n"), "x", "t")
        np.testing.assert_array_equal(series.values[:, 0], [1, 2, 3, 4, 5])
        assert "regular step: 1 month)" in series.repairs[0]

    @pytest.mark.parametrize("with_times", [True, False])
    @pytest.mark.parametrize("marker", ["", "NA", "NaN", "null", " "])
    def test_missing_cells(self, write, with_times, marker):
        values = [marker, 1, 2, marker, marker, 5, marker, marker, marker, marker, 10, 11, marker]
        text = rows(hours(13), values)
        series = read_csv(write(text), "x", "t" if with_times else None)
        np.testing.assert_array_equal(series.values[:, 0], [1, 2, 3, 4, 5, 10, 11])
        np.testing.assert_array_equal(np.flatnonzero(series.breaks), [5])
        step = "01:00:00" if with_times else "row"
        assert series.repairs == (
            "some.csv: dropped 8 rows without a value in 'x'",
            "some.csv: filled 1 hole of at most 3 steps by linear interpolation "
            f"(2 rows inserted; regular step: {step})",
            f"some.csv: marked 1 break where more than 3 steps are missing (the longest hole: 4; regular step: {step})",
        )

    def test_empty_lines_are_missing_cells_in_a_file_of_one_column(self, write):
        series = read_csv(write("x\n1\n\n3\n"), "x")
        np.testing.assert_array_equal(series.values[:, 0], [1, 2, 3])

    def test_a_row_without_time_and_value_is_dropped(self, write):
        series = read_csv(write("t,x\n2020-01-01,1\n,\n2020-01-02,2\n"), "x", "t")
        np.testing.assert_array_equal(series.values[:, 0], [1, 2])
        assert series.repairs == ("some.csv: dropped 1 row without a value in 'x'",)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_between_breaks_the_grid_is_regular_and_known_values_stay(data):
    """Rows of a grid, some missing, repeated or without value, in any order: the result against a plain search."""
    size = data.draw(st.integers(1, 40))
    ticks = data.draw(st.lists(st.integers(0, size), min_size=2, max_size=60))
    ticks += [size + 1, size + 2, size + 3] + [size + 3 + i for i in range(size)]  # so that one step is the commonest
    order = data.draw(st.permutations(ticks))
    values = np.array(order, dtype=float) ** 2
    values[data.draw(st.lists(st.integers(0, len(order) - 1), max_size=5))] = np.nan
    known = {tick: tick**2 for tick, value in zip(order, values, strict=True) if not np.isnan(value)}
    table = Table(
        "t.csv",
        values,
        pd.DatetimeIndex(np.array(order) * np.timedelta64(1, "h") + np.datetime64("2020-01-01T00:30", "s")).tz_localize(
            "UTC"
        ),
        (),
    )
    if not known:
        return
    series = regularize(table, "x")
    row_ticks = ((series.times - pd.Timestamp("2020-01-01 00:30", tz="UTC")) / pd.Timedelta("1h")).to_numpy()
    steps = np.diff(sorted(known))
    values_of_steps, counts = np.unique(steps, return_counts=True)
    step = values_of_steps[np.argmax(counts)] if len(steps) else 1
    assert not series.breaks[0]
    assert set(known) <= set(row_ticks)
    for i, tick in enumerate(row_ticks):
        if tick in known:
            assert series.values[i, 0] == known[tick]
        if i:
            gap = tick - row_ticks[i - 1]
            assert series.breaks[i] == (gap != step)
            if series.breaks[i]:
                assert gap % step or gap > (MAX_HOLE + 1) * step
