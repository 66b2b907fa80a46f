"""From the columns of a series to the numbers that a model reads, by constants of the training rows alone.

A row's features, in this order:

* the targets, scaled; a missing value is the last one that was measured;
* the other columns: a number like a target, an angle as sine and cosine, a category as a 1 among zeros;
* for every column with missing values among the training rows whether it was measured, 1 or 0, and log(1 + rows since);
* what is known of the future too: columns marked so, and the calendar, sine and cosine of each cycle.

Nothing here looks ahead: features of row t are functions of rows up to t, but for the known ones, of row t alone.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rnn_jax.data.errors import DataError, listed
from rnn_jax.data.series import CYCLES, SCALINGS
from rnn_jax.data.series.series import Column, Series
from rnn_jax.data.series.windows import carry_forward

FAR = 1e18
"""A value more deviations than this from the training rows is a mistake: its square is infinite in float32."""

LEAST = 1e-100
"""A column that moves less than this is constant: squares of it are 0 in float64."""

ROUNDING = 1e-14
"""And so is one that moves less than this share of its largest value: what moves are the last bits of float64."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """How rows become features.

    Attributes:
        columns: F, the targets first.
        num_targets: M.
        scaling: one of `SCALINGS` for each column.
        center, scale: `[D, F]` float64, of each of D series.
        masked: `[F]` bool: there were missing values among the training rows.
        cycles: those of `CYCLES` that are features.
        id_names: the names of the D series; empty for one without a name.
    """

    columns: tuple[Column, ...]
    num_targets: int
    scaling: tuple[str, ...]
    center: np.ndarray
    scale: np.ndarray
    masked: tuple[bool, ...]
    cycles: tuple[str, ...]
    id_names: tuple[str, ...] = ()

    @property
    def groups(self) -> dict[str, list[int]]:
        """The places of the features of each column and cycle; those of the known ones are the last."""
        places: dict[str, list[int]] = {}
        for place, name in enumerate(_names(self)):
            places.setdefault(name, []).append(place)
        return places

    @property
    def num_known(self) -> int:
        """K, features that are known of the future."""
        return sum(_width(column) for column in self.columns if column.known) + 2 * len(self.cycles)

    @property
    def num_features(self) -> int:
        """I, known ones included."""
        return len(_names(self))

    def to_json(self) -> dict[str, Any]:
        """Lists, numbers and words, for a file; `from_json` is the way back."""
        found = dataclasses.asdict(self)
        return found | {"center": self.center.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Encoder":
        """An encoder from what `to_json` gave."""
        columns = tuple(Column(**{**each, "categories": tuple(each["categories"])}) for each in found["columns"])
        center, scale = (np.asarray(found[name], np.float64) for name in ("center", "scale"))
        scaling, masked, cycles, names = (tuple(found[name]) for name in ("scaling", "masked", "cycles", "id_names"))
        return cls(columns, found["num_targets"], scaling, center, scale, masked, cycles, names)


def _width(column: Column) -> int:
    return {"number": 1, "angle": 2, "category": len(column.categories)}[column.kind]


def _names(encoder: Encoder) -> list[str]:
    """The column or cycle that each feature belongs to."""
    past = [column.name for column in encoder.columns if not column.known for _ in range(_width(column))]
    masks = [column.name for column, masked in zip(encoder.columns, encoder.masked, strict=True) if masked] * 2
    known = [column.name for column in encoder.columns if column.known for _ in range(_width(column))]
    return past + masks + known + [cycle for cycle in encoder.cycles for _ in range(2)]


def fit_encoder(
    series: Series, train: np.ndarray, scaling: Sequence[str] = ("standard",), cycles: Sequence[str] = ()
) -> Encoder:
    """The encoder of a series; of its values it reads those of the training rows, and no others.

    Args:
        series: what is encoded.
        train: `[N]` bool, the training rows.
        scaling: one of `SCALINGS` for every column, or for all.
        cycles: of `CYCLES`.

    Raises:
        DataError: a word that there is not, scalings that are neither one nor F, a cycle without times; a target that
            is constant over the training rows or was not measured there.
    """
    # A target is forecast as a number, even if it is an angle.
    own, others = series.columns[: series.num_targets], series.columns[series.num_targets :]
    columns = (*(dataclasses.replace(column, kind="number") for column in own), *others)
    count = len(columns)
    words = tuple(scaling) * (count if len(scaling) == 1 else 1)
    _check_words("scaling", words, SCALINGS)
    _check_words("calendar", cycles, CYCLES)
    if len(words) != count:
        names = listed([column.name for column in columns])
        raise DataError(
            f"scaling={','.join(words)}: {len(words)} for {count} columns ({names}): give one, or each one's"
        )
    if cycles and series.times is None:
        raise DataError(f"calendar={','.join(cycles)}: {series.name} has no times: name their column, or leave it out")
    groups = series.num_series
    center, scale = np.zeros((groups, count)), np.ones((groups, count))
    for number in range(groups):
        rows = series.values[train & (series.numbers == number)]
        for place, column in enumerate(columns):
            if column.kind != "number":
                continue
            known = rows[~np.isnan(rows[:, place]), place]
            _check_target(series, number, place, known, len(rows))
            if known.size:
                center[number, place], scale[number, place] = _constants(known, words[place])
    masked = np.isnan(series.values[train]).any(axis=0) & [not column.known for column in columns]
    return Encoder(
        columns, series.num_targets, words, center, scale, tuple(masked.tolist()), tuple(cycles), series.id_names
    )


def _check_words(name: str, words: Sequence[str], known: Sequence[str]) -> None:
    for word in words:
        if word not in known:
            raise DataError(f"{name}={word}: take one of {', '.join(known)}")


def _check_target(series: Series, number: int, place: int, known: np.ndarray, rows: int) -> None:
    if place >= series.num_targets or (known.size and _moves(known)):
        return
    whose = f" of {series.id_names[number]!r}" if series.id_names else ""
    said = f"is {known[0]:g} in all {known.size}" if known.size else f"has no value in the {rows}"
    but = " but for rounding" if known.size and known.max() > known.min() else ""
    raise DataError(
        f"{series.name}: column {series.columns[place].name!r}{whose} {said} training rows{but}, there is nothing to "
        "learn: take another column or a longer series"
    )


def _moves(values: np.ndarray) -> bool:
    return bool(values.max() - values.min() > max(LEAST, ROUNDING * np.abs(values).max()))


def _constants(values: np.ndarray, scaling: str) -> tuple[float, float]:
    center, spread = 0.0, 1.0
    if not _moves(values) and scaling != "none":
        return float(values[0]), 1.0  # the deviation of what is constant is a rounding error
    if scaling == "standard":
        center, spread = float(values.mean()), float(values.std())
    elif scaling == "robust":
        low, center, high = (float(each) for each in np.quantile(values, (0.25, 0.5, 0.75)))
        # Half the values may be one value, of counts say; 1.349 makes it the standard deviation of a normal one.
        spread = (high - low) / 1.349 or float(values.std())
    return center, spread or 1.0


def scaled(encoder: Encoder, series: Series) -> np.ndarray:
    """(value - center) / scale of each column, `[N, F]` float64, NaN where missing."""
    ids = series.numbers
    return (series.values - encoder.center[ids]) / encoder.scale[ids]


def encode(encoder: Encoder, series: Series) -> np.ndarray:
    """The features of each row, `[N, I]` float64.

    Args:
        encoder: of `fit_encoder`, perhaps of another series with the same columns.
        series: what is encoded.

    Raises:
        DataError: a value too far from the training rows, with its column.
    """
    values = scaled(encoder, series)
    for row, place in np.argwhere(np.abs(values) > FAR):
        raise DataError(
            f"{series.name}: column {encoder.columns[place].name!r}: {series.values[row, place]:g} is more than "
            f"{FAR:g} deviations from the training rows: correct the cell or leave it empty"
        )
    carried, age = carry_forward(values, series.breaks)
    measured = ~np.isnan(series.values)

    def parts(known: bool) -> list[np.ndarray]:
        return [
            _column(column, carried[:, place]) for place, column in enumerate(encoder.columns) if column.known == known
        ]

    masked = np.asarray(encoder.masked, bool)
    masks = [measured[:, masked].astype(float), np.log1p(age[:, masked])]
    calendar = [_cycle(name, series.times) for name in encoder.cycles if series.times is not None]
    return np.concatenate([*parts(False), *masks, *parts(True), *calendar], axis=1)


def _column(column: Column, values: np.ndarray) -> np.ndarray:
    missing = np.isnan(values)
    if column.kind == "category":
        return np.where(missing, -1, values)[:, None] == np.arange(len(column.categories))
    if column.kind == "angle":
        radians = np.deg2rad(values)
        return np.where(missing[:, None], 0.0, np.stack([np.sin(radians), np.cos(radians)], axis=1))
    return np.where(missing, 0.0, values)[:, None]


def _cycle(name: str, times: pd.DatetimeIndex) -> np.ndarray:
    day = (times - times.normalize()) / pd.Timedelta(days=1)
    phase = {
        "hour": day,
        "weekday": (times.day_of_week + day) / 7,
        "year": (times.day_of_year - 1 + day) / 365.2425,
    }[name]
    radians = 2 * np.pi * np.asarray(phase, np.float64)
    return np.stack([np.sin(radians), np.cos(radians)], axis=1)
