"""Load and oil temperature of two electricity transformers in China, hourly, July 2016 to June 2018.

Source: Zhou et al. (2021), "Informer: Beyond Efficient Transformer for Long Sequence Time-Series Forecasting", AAAI;
GitHub `zhouhaoyi/ETDataset`, files `ETT-small/ETTh1.csv` and `ETT-small/ETTh2.csv`. Files of the same name elsewhere
may differ.

The protocol of its literature: 12, 4 and 4 months of 30 days for training, validation and test; all seven columns are
inputs and targets, standardised by the training rows; errors are means over all columns and all hours ahead in
standardised units; a window of validation or test may read rows before its part; and every window of the test counts,
those of a last batch that is not full among them.
"""

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike

from rnn_jax.data.errors import DataError
from rnn_jax.data.find import find
from rnn_jax.data.series import DATASETS, check_protocol
from rnn_jax.data.series.series import Series, from_table
from rnn_jax.data.series.table import read_table

COLUMNS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
TIME = "date"
SOURCE = "the GitHub repository zhouhaoyi/ETDataset, folder ETT-small,"

SPLIT_ROWS = (12 * 30 * 24, 16 * 30 * 24, 20 * 30 * 24)
"""Rows for training, validation and test lie before these. What follows the last is no part of the protocol."""


def read(
    data_dir: str | PathLike[str],
    protocol: str,
    *,
    station: int,
    target: Sequence[str] = (),
    inputs: Sequence[str] = (),
) -> Series:
    """Reads `ETTh1.csv` or `ETTh2.csv`, plain or `.gz`, of `data_dir`: its first 14,400 rows.

    Args:
        data_dir: the folder with the file.
        protocol: `clean`.
        station: 1 or 2.
        target: the columns to forecast, by default all seven.
        inputs: more columns; `("all",)`: all others.

    Returns:
        A `Series`, hourly, season 24, with `split_rows`.

    Raises:
        DataError: an unknown protocol; a file that is missing, with where to get it, that cannot be read or that has
            fewer rows; a column that is missing.
    """
    name = f"etth{station}"
    check_protocol(protocol, DATASETS[name].protocols)
    target = tuple(target) or COLUMNS
    path = find(data_dir, f"ETTh{station}.csv", SOURCE)
    table = read_table(path, None, TIME, numbers=target)
    series = from_table(table, target, inputs, name=name)
    end = SPLIT_ROWS[-1]
    if len(series.values) < end:
        raise DataError(f"{path.name} holds {len(series.values):,} hours, fewer than {end:,}: fetch the whole file")
    assert series.times is not None
    rest = len(series.values) - end
    return replace(
        series,
        values=series.values[:end],
        times=series.times[:end],
        breaks=series.breaks[:end],
        repairs=(*series.repairs, *([f"{path.name}: left out the last {rest:,} rows, in no split"] if rest else [])),
        split_rows=SPLIT_ROWS,
    )
