"""The shapes that peers are timed at.

A name (`S1` ... `S7`), or a shape spelled out: `B64T100I1H32`. Behind it stands `r` for sequences of unequal length,
`x` for a carry that begins anew at 1 % of the steps.
"""

import dataclasses
import re
from dataclasses import dataclass

import numpy as np

REVIEW_LENGTHS = (10, 73, 107, 122, 131, 141, 152, 165, 181, 200, 224, 255, 295, 349, 429, 573, 2525)
"""Words in IMDB's training reviews at the quantiles 0, 1/16, 2/16, ... 1."""
LONGEST = 400
"""Where reviews are cut: 400 words keep 79 % of them whole."""
RESET_SHARE = 0.01
"""Of the steps, where the carry begins anew."""


@dataclass(frozen=True)
class Shape:
    """One layer, one direction, over inputs `[T, B, I]`.

    Attributes:
        name: what the tables call it.
        batch_size, length, input_size, hidden_size: B, T, I, H.
        ragged: sequences of unequal length, spread as film reviews are, the longest of T steps.
        dtype: the one type that the shape is timed in; None: whatever the run asks for.
        restarts: whether the carry begins anew at 1 % of the steps, here and there.
    """

    name: str
    batch_size: int
    length: int
    input_size: int
    hidden_size: int
    ragged: bool = False
    dtype: str | None = None
    restarts: bool = False

    def lengths(self) -> np.ndarray | None:
        """`[B]` int32, 1..T, in random order and always the same; None where all are T."""
        if not self.ragged:
            return None
        at = (np.arange(self.batch_size) + 0.5) / self.batch_size
        words = np.interp(at, np.linspace(0, 1, len(REVIEW_LENGTHS)), REVIEW_LENGTHS)
        lengths = np.ceil(np.minimum(words / LONGEST, 1) * self.length).astype(np.int32)
        return np.random.default_rng(0).permutation(lengths)

    def resets(self) -> np.ndarray | None:
        """`[T, B]` bool, true at one step in a hundred, always the same; None where the carry never begins anew."""
        if not self.restarts:
            return None
        return np.random.default_rng(0).random((self.length, self.batch_size)) < RESET_SHARE

    @property
    def tokens(self) -> int:
        """The valid steps of all sequences together."""
        lengths = self.lengths()
        return self.batch_size * self.length if lengths is None else int(lengths.sum())

    def multiply_adds(self, num_gates: int) -> int:
        """Of the matrix products of a forward pass, padding left out; a backward pass has twice as many."""
        return self.tokens * num_gates * self.hidden_size * (self.input_size + self.hidden_size)

    def describe(self) -> str:
        """The sizes in one word.

        >>> SHAPES["S1"].describe()
        'B64T64I1H32'
        """
        sizes = f"B{self.batch_size}T{self.length}I{self.input_size}H{self.hidden_size}"
        return sizes + "r" * self.ragged + "x" * self.restarts


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("S1", 64, 64, 1, 32),  # the temperature forecast
        Shape("S2", 64, 500, 128, 64),  # reviews of 500 words
        Shape("S3", 128, 24, 1, 400),  # a day of hours, a wide state
        Shape("S4", 32, 1000, 64, 256),
        Shape("S5", 256, 1024, 512, 512),
        Shape("S6", 16, 4096, 1024, 1024, dtype="bfloat16"),
        Shape("S7", 64, LONGEST, 128, 64, ragged=True),  # reviews of unequal length
    )
}

_SIZES = re.compile(r"B([1-9]\d{0,5})T([1-9]\d{0,7})I([1-9]\d{0,5})H([1-9]\d{0,5})(r?)(x?)")


def get(name: str) -> Shape:
    """The shape of that name or spelling.

    Raises: `ValueError` for another name.

    >>> get("B2T5I3H4r").length, get("S2x").describe()
    (5, 'B64T500I128H64x')
    """
    if name in SHAPES:
        return SHAPES[name]
    if name[-1:] == "x" and name[:-1] in SHAPES:
        return dataclasses.replace(SHAPES[name[:-1]], name=name, restarts=True)
    found = _SIZES.fullmatch(name)
    if found is None:
        raise ValueError(f"unknown {name!r}: take some of {','.join(SHAPES)} or spell one out, like B64T100I1H32")
    batch_size, length, input_size, hidden_size = (int(size) for size in found.groups()[:4])
    sizes = (batch_size, length, input_size, hidden_size)
    return Shape(name, *sizes, ragged=bool(found[5]), restarts=bool(found[6]))


LETTERS = {"B": "batch_size", "T": "length", "H": "hidden_size"}


def sweep(base: Shape, letter: str, factors: tuple[float, ...]) -> list[Shape]:
    """`base` with its B, T or H times each factor, rounded, at least 1.

    >>> [shape.name for shape in sweep(SHAPES["S1"], "T", (0.5, 2))]
    ['B64T32I1H32', 'B64T128I1H32']
    """
    name = LETTERS[letter]
    shapes = [dataclasses.replace(base, **{name: max(round(getattr(base, name) * factor), 1)}) for factor in factors]
    return [dataclasses.replace(shape, name=shape.describe()) for shape in shapes]
