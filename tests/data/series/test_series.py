"""Reading files: every error by its text, every repair by its rows and its sentence. What is missing stays missing."""

import gzip
import importlib.util

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_jax.data.errors import DataError
from rnn_jax.data.series.regularize import MAX_HOLE, regularize
from rnn_jax.data.series.series import Column, read_file

NAN = np.nan


def hours(count, start="2020-01-01"):
    return [str(t) for t in pd.date_range(start, periods=count, freq="h")]


def rows(times, *columns, header="t,x"):
    return "\n".join([header, *(",".join(map(str, row)) for row in zip(times, *columns, strict=True)), ""])


def told(series):
    return tuple(note.removeprefix("some.csv: ") for note in series.repairs)


class TestReads:
    def test_one_column_of_many_without_times(self, write):
        series = read_file(write("a,x,b\nq,1,2\nr,3.5,4\ns,-2e1,6\n"), ["x"])
        assert (series.name, series.columns, series.num_targets) == ("some.csv", (Column("x"),), 1)
        assert series.values.dtype == np.float64
        np.testing.assert_array_equal(series.values, [[1.0], [3.5], [-20.0]])
        np.testing.assert_array_equal(series.breaks, [False] * 3)
        assert (series.times, series.step, series.season, series.repairs) == (None, None, 1, ())
        assert (series.ids, series.id_names, series.split_rows, series.best) == (None, (), None, None)

    @pytest.mark.parametrize(
        ("targets", "inputs", "known", "columns"),
        [
            (["b"], (), (), "b"),
            (["b", "a"], (), (), "ba"),
            (["c"], ["a"], (), "ca"),
            (["c"], ["all"], (), "cabd"),
            (["c"], ["none"], (), "c"),
            (["c"], ["b"], ["d", "b"], "cbd"),
            (["c"], ["all"], ["b"], "cabd"),
        ],
    )
    def test_the_columns_and_their_order(self, write, targets, inputs, known, columns):
        path = write("t,a,b,c,d\n2020-01-01,1,2,3,4\n2020-01-02,10,20,30,40\n")
        series = read_file(path, targets, inputs, known_future=known, time="t", name="mine")
        assert (series.name, series.num_targets) == ("mine", len(targets))
        assert series.columns == tuple(Column(name, known=name in known) for name in columns)
        row = np.array([1 + "abcd".index(name) for name in columns])
        np.testing.assert_array_equal(series.values, [row, 10 * row])

    def test_kinds(self, write):
        text = "x,wind,sky,n\n1,350,clear,1\n2,,rain,2\n3,10, clear ,3\n4,20,null,4\n"
        series = read_file(write(text), ["x"], ["all"], angles=["wind"])
        assert series.columns == (
            Column("x"),
            Column("wind", "angle"),
            Column("sky", "category", categories=("clear", "rain")),
            Column("n"),
        )
        np.testing.assert_array_equal(series.values[:, 1:3], [[350, 0], [NAN, 1], [10, 0], [20, NAN]])
        assert told(series) == ("'wind': 1 of 4 values are missing", "'sky': 1 of 4 values are missing")

    def test_columns_that_are_left_out(self, write):
        text = "x,same,name,none,flag\n" + "".join(f"{i % 7},5,n{i},,{'yes' if i % 2 else ''}\n" for i in range(60))
        series = read_file(write(text), ["x"], ["all"])
        assert [column.name for column in series.columns] == ["x", "flag"]
        assert told(series)[:3] == (
            "left out column 'same': it is the same in all rows",
            "left out column 'name' holds 60 different texts, more than 50",
            "left out column 'none': it is the same in all rows",
        )
        assert read_file(write(text), ["same"]).values.shape == (60, 1)
        with pytest.raises(DataError, match=r"^some.csv: column 'name' holds 60 .* more than 50: leave it out$"):
            read_file(write(text), ["x"], ["name"])

    def test_gzip_crlf_byte_order_mark_quotes_and_no_newline_at_the_end(self, write):
        text = '\ufeffx,note\r\n1,"a, b"\r\n\r\n2,"two\r\nlines"\r\n3,c'
        series = read_file(write(gzip.compress(text.encode()), "some.csv.gz"), ["x"])
        np.testing.assert_array_equal(series.values[:, 0], [1, 2, 3])
        assert series.repairs == ()

    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_delimiters(self, write, delimiter):
        series = read_file(write("a,x\n1,2\n3,4\n".replace(",", delimiter)), ["x"])
        np.testing.assert_array_equal(series.values[:, 0], [2, 4])

    def test_spaces_around_cells_and_names(self, write):
        series = read_file(write("t, x\n 2020-01-01 , 2 \n 2020-01-02 , 3 \n"), ["x"], time="t")
        np.testing.assert_array_equal(series.values[:, 0], [2, 3])

    def test_one_row(self, write):
        series = read_file(write("t,x\n2020-01-01,2\n"), ["x"], time="t")
        assert (series.values.shape, series.step, series.season, series.repairs) == ((1, 1), None, 1, ())

    def test_offsets_are_converted_to_utc(self, write):
        # The clocks go back: local hours repeat, the offsets tell them apart.
        times = ["2020-10-25 01:00 +0200", "2020-10-25 02:00 +0200", "2020-10-25 02:00 +0100", "2020-10-25 03:00 +0100"]
        series = read_file(write(rows(times, range(4))), ["x"], time="t")
        assert list(series.times) == list(pd.date_range("2020-10-24 23:00", periods=4, freq="h", tz="UTC"))
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
        series = read_file(write(rows(cells, [1, 2])), ["x"], time="t")
        assert list(series.times.strftime("%Y-%m-%d")) == ["2020-01-31", "2020-02-01"]
        assert told(series) == (f"read the times of 't' as {time_format}",)


class TestSteps:
    @pytest.mark.parametrize(
        ("start", "freq", "step", "season"),
        [
            ("2020-01-01", "1h", "1h", 24),
            ("2020-01-01", "30min", "30min", 48),
            ("2020-01-01", "15min", "15min", 96),
            ("2020-01-01", "10min", "10min", 144),
            ("2020-01-01", "90min", "90min", 16),
            ("2020-01-01", "7h", "7h", 1),
            ("2020-01-05 06:00", "1D", "1D", 7),
            ("2020-01-05", "7D", "7D", 52),
            ("2020-01-05", "3D", "3D", 1),
            ("2020-01-01", "MS", "1MS", 12),
            ("2020-01-01 06:00", "MS", "1MS", 12),
            ("2020-01-31", "ME", "1ME", 12),
            ("2020-01-01", "3MS", "3MS", 4),
            ("2020-03-31", "3ME", "3ME", 4),
            ("2001-01-01", "12MS", "12MS", 1),
            ("2020-01-15 12:00", pd.DateOffset(months=1), pd.DateOffset(months=1), 12),
        ],
    )
    def test_the_step_continues_the_times_and_a_hole_gets_its_times(self, write, start, freq, step, season):
        times = pd.date_range(start, periods=30, freq=freq, tz="UTC")
        path = write(rows(times.delete([10, 11, 20]), np.delete(np.arange(30), [10, 11, 20])))
        series = read_file(path, ["x"], time="t")
        assert (series.step, series.season) == (step, season)
        assert list(series.times) == list(times)
        assert list(pd.date_range(series.times[-1], periods=4, freq=series.step)[1:]) == list(
            pd.date_range(start, periods=33, freq=freq, tz="UTC")[-3:]
        )
        expected = np.arange(30.0)
        expected[[10, 11, 20]] = NAN
        np.testing.assert_array_equal(series.values[:, 0], expected)
        assert not series.breaks.any()
        called = "1 month" if isinstance(step, pd.DateOffset) or step in ("1MS", "1ME") else step
        called = f"{step[:-2]} months" if step in ("3MS", "3ME", "12MS") else called
        assert told(series) == (f"inserted 3 rows for 2 holes: they are missing values (regular step: {called})",)

    def test_day_30_is_the_last_day_of_february(self, write):
        days = ["2020-01-30", "2020-03-30", "2020-04-30", "2020-05-30", "2020-06-30"]
        series = read_file(write(rows(days, range(5))), ["x"], time="t")
        assert list(series.times.strftime("%m-%d"))[:3] == ["01-30", "02-29", "03-30"]
        np.testing.assert_array_equal(series.values[:3, 0], [0, NAN, 1])


def test_parquet_equals_csv(write, tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(
        {
            "t": pd.to_datetime(["2020-01-01 00:00", "2020-01-01 01:00", "2020-01-01 03:00", "2020-01-01 04:00"]),
            "x": [1.5, None, 3.25, 0.1],
            "n": [3, 1, 2, 2],
            "sky": ["rain", None, "clear", "rain"],
            "off": [True, False, True, True],
        }
    )
    path = tmp_path / "some.parquet"
    written = read_file(write(frame.to_csv(index=False)), ["x"], ["all"], time="t")
    for saved in (
        frame,
        frame.set_index("t"),
        frame.assign(t=frame["t"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")),
    ):
        saved.to_parquet(path)
        series = read_file(path, ["x"], ["all"], time="t")
        assert (series.columns, list(series.times)) == (written.columns, list(written.times))
        np.testing.assert_array_equal(series.values, written.values)
        assert told(series) == tuple(note.replace(".csv", ".parquet") for note in written.repairs)
    with pytest.raises(DataError, match=r"^some.parquet, row 1, column 'sky': 'rain' is not a number: correct"):
        read_file(path, ["sky"])
    path.write_bytes(b"no")
    with pytest.raises(DataError, match=r"^some.parquet cannot be read \(.*\): fetch it again$"):
        read_file(path, ["x"])


def test_parquet_without_pyarrow(write, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"^some.parquet: reading Parquet needs pyarrow: pip install pyarrow$"):
        read_file(write("", "some.parquet"), ["x"])


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
                "t,x\n2020-01-01,1\n2020-01-02,-1e300\n",
                "some.csv, line 3, column 'x': '-1e300' is beyond 1e+30: correct the cell or leave it empty",
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
            ("t,x\n,\n", "some.csv: column 'x' has no value in any row: take another column"),
            (b"t,x\n2020-01-01,\xb0\n", "some.csv is not UTF-8 text (line 2): save it as UTF-8"),
        ],
    )
    def test_text(self, write, text, message):
        with pytest.raises(DataError) as error:
            read_file(
                write(text), ["x"], time="t" if b"t" in (text if isinstance(text, bytes) else text.encode()) else None
            )
        assert str(error.value) == message

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"targets": []}, "some.csv: no target: name a column to forecast"),
            ({"targets": ["x", "x"]}, "some.csv: column 'x' is named twice: name it once"),
            ({"inputs": ["x"]}, "some.csv: column 'x' is named twice: name it once"),
            ({"known_future": ["x"]}, "some.csv: column 'x' is named twice: name it once"),
            ({"inputs": ["y"], "time": "y"}, "some.csv: column 'y' is named twice: name it once"),
            ({"time": "y", "series_id": "y"}, "some.csv: column 'y' is named twice: name it once"),
            ({"targets": ["q"]}, "some.csv has no column 'q': take one of 'x', 'y', 's'"),
            ({"inputs": ["q"]}, "some.csv has no column 'q': take one of 'x', 'y', 's'"),
            ({"time": "q"}, "some.csv has no column 'q': take one of 'x', 'y', 's'"),
            ({"targets": ["q"], "inputs": ["all"]}, "some.csv has no column 'q': take one of 'x', 'y', 's'"),
            ({"inputs": ["all"], "known_future": ["q"]}, "some.csv has no column 'q': take one of 'x', 'y', 's'"),
            (
                {"angles": ["y"]},
                "some.csv: the angle 'y' is neither a target nor an input: name it there too",
            ),
            (
                {"targets": ["s"]},
                "some.csv, line 2, column 's': 'a' is not a number: correct the cell or leave it empty",
            ),
            (
                {"inputs": ["s"], "angles": ["s"]},
                "some.csv, line 2, column 's': 'a' is not a number: correct the cell or leave it empty",
            ),
        ],
    )
    def test_columns(self, write, arguments, message):
        with pytest.raises(DataError) as error:
            read_file(write("x,y,s\n1,2,a\n2,3,b\n"), **({"targets": ["x"]} | arguments))
        assert str(error.value) == message

    @pytest.mark.parametrize(("wrong", "refused"), [(1, True), (4, True), (5, False), (50, False)])
    def test_rare_text_among_numbers_is_a_mistake(self, write, wrong, refused):
        path = write("x,y\n" + "".join(f"{i},{'o' if i < wrong else i % 30}\n" for i in range(100)))
        if refused:
            with pytest.raises(DataError, match=r"^some.csv, line 2, column 'y': 'o' is not a number: correct"):
                read_file(path, ["x"], ["y"])
        else:
            assert read_file(path, ["x"], ["all"]).columns[1].kind == "category"

    def test_many_columns_are_not_all_listed(self, write):
        path = write(",".join(f"c{i}" for i in range(100)) + "\n" + ",".join(["1"] * 100) + "\n")
        with pytest.raises(DataError, match=r"'c18', 'c19' and 80 more$"):
            read_file(path, ["x"])

    def test_a_row_without_an_id(self, write):
        with pytest.raises(DataError, match=r"^some.csv, line 3, column 'id': no id: name the series of this row$"):
            read_file(write("id,x\na,1\n,2\n"), ["x"], series_id="id")

    def test_missing_file(self, tmp_path):
        for name in ("nowhere.csv", "nowhere.parquet"):
            with pytest.raises(DataError, match=rf"^no file .*{name}: check the path$"):
                read_file(tmp_path / name, ["x"])
        with pytest.raises(DataError, match=r"is a folder: name a file$"):
            read_file(tmp_path, ["x"])

    def test_a_field_without_end(self, write):
        with pytest.raises(
            DataError, match=r"^some.csv, line 2: field larger than field limit .*: mend the quotes of this line$"
        ):
            read_file(write('x\n"' + "1\n" * 100_000), ["x"])

    @pytest.mark.parametrize("damage", [lambda b: b"plain", lambda b: b[:-20], lambda b: b[:40] + b"#" * 40 + b[80:]])
    def test_damaged_gzip(self, write, damage):
        packed = gzip.compress(("x\n" + "".join(f"{i}\n" for i in range(1000))).encode())
        with pytest.raises(
            DataError, match=r"some.csv.gz (is damaged or cut short \(.*\): fetch it again|has no column)"
        ):
            read_file(write(damage(packed), "some.csv.gz"), ["x"])

    def test_every_message_is_one_line(self, write):
        with pytest.raises(DataError) as error:
            read_file(write('x,y\n"1\n2",3\n'), ["x"])
        assert str(error.value).count("\n") == 0


class TestRepairs:
    def test_unsorted_times_are_sorted(self, write):
        times = hours(4)
        series = read_file(write(rows([times[i] for i in (2, 0, 3, 1)], [2, 0, 3, 1])), ["x"], time="t")
        np.testing.assert_array_equal(series.values[:, 0], range(4))
        assert series.times.is_monotonic_increasing
        assert told(series) == ("sorted 4 rows by time (2 steps went back)",)

    def test_of_repeated_times_the_first_is_kept(self, write):
        times = hours(3)
        series = read_file(write(rows([*times, times[1], times[1]], [0, 1, 2, 1, 9])), ["x"], time="t")
        np.testing.assert_array_equal(series.values[:, 0], [0, 1, 2])
        assert told(series) == (
            "sorted 5 rows by time (1 step went back)",
            "dropped 2 rows of a time that had occurred, 1 with another value (first kept)",
        )

    @pytest.mark.parametrize(("missing", "broken"), [(3, False), (MAX_HOLE, False), (MAX_HOLE + 1, True)])
    def test_a_hole_is_rows_of_missing_values_or_a_break(self, write, missing, broken):
        size = missing + 8
        kept = np.r_[0:3, 3 + missing : size]
        times = hours(size)
        series = read_file(write(rows([times[i] for i in kept], kept)), ["x"], time="t")
        if broken:
            np.testing.assert_array_equal(series.values[:, 0], kept)
            np.testing.assert_array_equal(np.flatnonzero(series.breaks), [3])
            assert told(series) == (
                "marked 1 break where more than 1,000 steps are missing (the longest hole: 1,001; regular step: 1h)",
            )
            return
        expected = np.full(size, NAN)
        expected[kept] = kept
        np.testing.assert_array_equal(series.values[:, 0], expected)
        assert list(series.times.tz_localize(None).astype(str)) == times
        assert not series.breaks.any()
        assert told(series) == (f"inserted {missing:,} rows for 1 hole: they are missing values (regular step: 1h)",)

    def test_a_step_off_the_grid_is_a_break(self, write):
        times = ["2020-01-01 00:00", "2020-01-01 01:00", "2020-01-01 02:00", "2020-01-01 02:20", "2020-01-01 03:20"]
        series = read_file(write(rows(times, range(5))), ["x"], time="t")
        np.testing.assert_array_equal(series.values[:, 0], range(5))
        np.testing.assert_array_equal(np.flatnonzero(series.breaks), [3])
        assert told(series) == ("marked 1 break at a step that is no multiple (regular step: 1h)",)

    @pytest.mark.parametrize("with_times", [True, False])
    @pytest.mark.parametrize("marker", ["", "NA", "NaN", "null", " "])
    def test_missing_cells_stay_missing_but_at_the_ends(self, write, with_times, marker):
        values = [marker, 1, 2, marker, marker, 5, marker, marker, marker, marker, 10, 11, marker]
        text = rows(hours(13), values)
        series = read_file(write(text), ["x"], time="t" if with_times else None)
        np.testing.assert_array_equal(series.values[:, 0], [1, 2, NAN, NAN, 5, NAN, NAN, NAN, NAN, 10, 11])
        assert not series.breaks.any()
        assert told(series) == (
            "dropped 2 rows before the first or after the last one with a target",
            "'x': 8 of 13 values are missing",
        )

    def test_empty_lines_are_missing_cells_in_a_file_of_one_column(self, write):
        np.testing.assert_array_equal(read_file(write("x\n1\n\n3\n"), ["x"]).values[:, 0], [1, NAN, 3])

    def test_a_row_without_time_and_value_is_dropped(self, write):
        series = read_file(write("t,x\n2020-01-01,1\n,\n2020-01-02,2\n"), ["x"], time="t")
        np.testing.assert_array_equal(series.values[:, 0], [1, 2])
        assert told(series) == ("dropped 1 row without t and without a value",)

    def test_rows_to_come_stay_where_something_is_known(self, write):
        text = rows(hours(6), ["", 1, 2, "", "", ""], [9, 8, 7, 6, 5, ""], [0, 1, 0, 1, 0, 1], header="t,x,plan,y")
        series = read_file(write(text), ["x"], ["y"], known_future=["plan"], time="t")
        np.testing.assert_array_equal(series.values, [[1, 1, 8], [2, 0, 7], [NAN, 1, 6], [NAN, 0, 5]])
        assert [column.known for column in series.columns] == [False, False, True]
        assert "kept 2 rows after the last one with a target: their known values are given" in told(series)
        series = read_file(write(text), ["x"], ["y", "plan"], time="t")
        np.testing.assert_array_equal(series.values[:, 0], [1, 2])


class TestIds:
    def test_each_series_by_itself(self, write):
        t = hours(8)
        table = [
            (t[1], "b", 11), (t[0], "a", 0), (t[0], "b", 10), (t[1], "a", 1), (t[4], "a", 4), (t[2], "b", 12),
            (t[2], "b", 99), (t[5], "none yet", ""), (t[7], "b", ""), (t[2], "a", 2),
        ]  # fmt: skip
        path = write(rows(*zip(*table, strict=True), header="t,id,x"))
        series = read_file(path, ["x"], time="t", series_id="id")
        np.testing.assert_array_equal(series.values[:, 0], [10, 11, 12, 0, 1, 2, NAN, 4])
        np.testing.assert_array_equal(series.ids, [0, 0, 0, 1, 1, 1, 1, 1])
        assert (series.ids.dtype, series.id_names, series.step, series.season) == (np.int32, ("b", "a"), "1h", 24)
        np.testing.assert_array_equal(np.flatnonzero(series.breaks), [3])
        assert [str(x)[:-6] for x in series.times] == [*t[:3], *t[:5]]
        assert told(series) == (
            "sorted 10 rows by time (2 steps went back)",
            "dropped 1 row of a time that had occurred, 1 with another value (first kept)",
            "dropped 2 rows before the first or after the last one with a target",
            "inserted 1 row for 1 hole: it is a missing value (regular step: 1h)",
            "'x': 2 of 10 values are missing",
        )

    def test_without_times(self, write):
        series = read_file(write("id,x\na,1\nb,5\na,2\nb,\nb,7\n"), ["x"], series_id="id")
        np.testing.assert_array_equal(series.values[:, 0], [1, 2, 5, NAN, 7])
        np.testing.assert_array_equal(series.ids, [0, 0, 1, 1, 1])
        np.testing.assert_array_equal(np.flatnonzero(series.breaks), [2])
        assert (series.times, series.id_names) == (None, ("a", "b"))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_between_breaks_the_grid_is_regular_and_known_values_stay(data):
    """Rows of a grid, some missing, repeated or without value, in any order: the result against a plain search."""
    size = data.draw(st.integers(1, 40))
    ticks = data.draw(st.lists(st.integers(0, size), min_size=2, max_size=60))
    ticks += [size + 1, size + 2, size + 3] + [size + 3 + i for i in range(size)]  # so that one step is the commonest
    ticks += [3 * size + MAX_HOLE + 9] * data.draw(st.integers(0, 1))
    order = data.draw(st.permutations(ticks))
    values = np.array(order, dtype=float) ** 2
    values[data.draw(st.lists(st.integers(0, len(order) - 1), max_size=5))] = NAN
    first = dict(reversed([*zip(order, values, strict=True)]))
    measured = [tick for tick, value in first.items() if not np.isnan(value)]
    if not measured:
        return
    start = pd.Timestamp("2020-01-01 00:30", tz="UTC")
    times = pd.DatetimeIndex(start + pd.to_timedelta(order, unit="h"))
    known = ~np.isnan(values)
    series = regularize(values[:, None], times, None, known, np.zeros_like(known))
    row_ticks = ((series.times - start) / pd.Timedelta("1h")).to_numpy()
    kept = sorted(tick for tick in first if min(measured) <= tick <= max(measured))
    steps, counts = np.unique(np.diff(kept), return_counts=True)
    step = steps[np.argmax(counts)] if len(steps) else 1
    assert not series.breaks[0]
    assert set(kept) <= set(row_ticks)
    for i, tick in enumerate(row_ticks):
        np.testing.assert_array_equal(series.values[i, 0], first.get(tick, NAN))
        if i:
            gap = tick - row_ticks[i - 1]
            assert series.breaks[i] == (gap != step)
            assert not series.breaks[i] or gap % step or gap > (MAX_HOLE + 1) * step


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 11), st.integers(0, 1), st.floats(-1e6, 1e6), st.permutations(range(12)))
def test_a_cell_changes_no_other_cell(tmp_path_factory, row, column, value, order):
    """Nothing of one row's value gets into another, whatever has to be put in order."""
    times = hours(20)
    hour = [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 18, 19]
    cells = np.column_stack([np.arange(12.0), np.arange(12.0) % 5])
    cells[3, 0], cells[5, 1] = NAN, NAN

    def read(cells):
        path = tmp_path_factory.getbasetemp() / "some.csv"
        path.write_text(rows([times[hour[i]] for i in order], *(cells[[*order]].T), header="t,x,y"))
        return read_file(path, ["x"], ["y"], time="t").values

    changed = cells.copy()
    changed[row, column] = value
    before, after = read(cells), read(changed)
    expected = before.copy()
    expected[hour[row], column] = value
    np.testing.assert_array_equal(after, expected)
