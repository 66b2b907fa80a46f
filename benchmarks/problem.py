"""What every peer is given: the same weights, inputs and derivative of the loss. NumPy only.

The loss is sum(ys * weights) with fixed random `weights`, which are zero past the end of a sequence: so that a peer
that computes on in the padding has the gradient of one that does not.
"""

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.shapes import Shape

NUM_GATES = {"rnn": 1, "lstm": 4, "gru": 3}
"""The cells that are timed, and G of each."""
DTYPES = ("float32", "float64", "bfloat16", "tf32")
"""What is computed in. `tf32` is float32 whose products may round their factors to 10 bits; in `float32` they
may not."""
PASSES = ("forward", "forward_backward")
"""What is timed, by the names of `benchmarks.peers.runner`."""
SAMPLE = 65_536
"""How many entries of an array are compared."""


@dataclass(frozen=True)
class Problem:
    """A cell at a shape, arrays in float32 for any dtype: peers narrow or widen them.

    Attributes:
        cell: `rnn`, `lstm` or `gru`.
        shape: the sizes.
        dtype: of the arrays.
        tf32: whether products may round float32, see `DTYPES`.
        params: our layout and names: `w_ih [I, G*H]`, `w_hh [H, G*H]`, `b [G*H]`, and `b_hn [H]` for a GRU.
        xs: `[T, B, I]`.
        weights: `[T, B, H]`, the derivative of the loss with respect to ys.
        lengths: `[B]` int32, or None.
        resets: `[T, B]` bool, or None.
    """

    cell: str
    shape: Shape
    dtype: str
    tf32: bool
    params: dict[str, np.ndarray]
    xs: np.ndarray
    weights: np.ndarray
    lengths: np.ndarray | None
    resets: np.ndarray | None

    def to(self, dtype: str) -> "Problem":
        """The same problem for another of `DTYPES`."""
        tf32 = dtype == "tf32"
        return replace(self, dtype="float32" if tf32 else dtype, tf32=tf32)

    @property
    def mask(self) -> np.ndarray:
        """`[T, B, 1]`, 1 where a step is valid, else 0."""
        lengths = np.full(self.shape.batch_size, self.shape.length) if self.lengths is None else self.lengths
        return (np.arange(self.shape.length)[:, None] < lengths)[..., None].astype(np.float32)


def draw(cell: str, shape: Shape, dtype: str, seed: int = 0) -> Problem:
    """The problem of a seed, the same in every process, for one of `DTYPES`.

    A GRU's `b_hn` is zero: Flax's GRU has no such bias, and could not be compared with another value.
    """
    generator = np.random.default_rng(seed)
    columns, scale = NUM_GATES[cell] * shape.hidden_size, shape.hidden_size**-0.5

    def uniform(*sizes: int) -> np.ndarray:
        return generator.uniform(-scale, scale, sizes).astype(np.float32)

    params = {
        "w_ih": uniform(shape.input_size, columns),
        "w_hh": uniform(shape.hidden_size, columns),
        "b": uniform(columns),
    }
    if cell == "gru":
        params["b_hn"] = np.zeros(shape.hidden_size, np.float32)
    steps = (shape.length, shape.batch_size)
    xs = generator.standard_normal((*steps, shape.input_size), np.float32)
    weights = generator.standard_normal((*steps, shape.hidden_size), np.float32)
    problem = Problem(cell, shape, "float32", False, params, xs, weights, shape.lengths(), shape.resets())
    weights *= problem.mask
    return problem.to(dtype)


def sample(values: dict[str, np.ndarray], mask: np.ndarray) -> dict[str, np.ndarray]:
    """Entries of each array at random places, the same in every process: large arrays need not be handed over whole.

    Args:
        values: name to array; of `ys [T, B, H]` what stands in the padding is taken for zero.
        mask: `Problem.mask`.

    Returns: name to float64 `[N]`, N at most `SAMPLE`.
    """
    found = {}
    for name, array in values.items():
        array = np.asarray(array)
        places = np.arange(array.size)
        if array.size > SAMPLE:
            places = np.random.default_rng(1).integers(array.size, size=SAMPLE)
        where = np.unravel_index(places, array.shape)
        entries = array[where].astype(np.float64)
        if name == "ys":  # not times the mask: NaN in the padding must not count either
            entries = np.where(mask[where[0], where[1], 0] > 0, entries, 0.0)
        found[name] = entries
    return found


def relative_errors(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> dict[str, float]:
    """||got - want|| / ||want|| of every array that both have, NaN where a number is not finite."""
    errors = {}
    for name in want.keys() & got.keys():
        size = float(np.linalg.norm(want[name]))
        error = float(np.linalg.norm(got[name] - want[name]))
        errors[name] = error / size if size else error
    return dict(sorted(errors.items()))
