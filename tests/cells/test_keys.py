"""No two parameters of a cell begin from one random draw: every purpose has a key of its own."""

import inspect
from itertools import combinations

import jax
import numpy as np
import pytest
from helpers.unrolls import THOROUGH

from rnn_jax import cells, initializers

I, H = 96, 128  # noqa: E741  # the letters of the axes; large, so that chance does not correlate two draws

CASES = [
    (name, scheme, chrono)
    for name, cell in cells.CELLS.items()
    for scheme in (initializers.SCHEMES if name in THOROUGH else ("pytorch",))
    for chrono in (None, 100)
    if chrono is None or "chrono" in inspect.signature(cell.init_params).parameters
]
TIED = ("lstm", "lstm_without_dc", "lstm_peephole", "lstm_layer_norm", "lstm_projection", "minlstm", "slstm")
"""Here chrono gives the input gate's bias the forget gate's with its sign turned, from one draw by intent."""


def draw(name, scheme, chrono, seed):
    options = {} if chrono is None else {"chrono": chrono}
    return cells.get(name).init_params(jax.random.key(seed), I, H, init=scheme, **options)


def blocks(params) -> dict[str, np.ndarray]:
    """Every array cut into pieces with H columns, one per gate (or peephole), the entries of each in a row."""
    cut = {}
    for field, array in params._asdict().items():
        rows = np.asarray(array) if array.ndim == 2 and len(array) < 5 else np.asarray(array)[None]
        pieces = [piece for row in rows for piece in np.split(row, max(1, array.shape[-1] // H), axis=-1)]
        cut |= {f"{field}[{number}]": piece.ravel() for number, piece in enumerate(pieces)}
    return cut


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, over as many entries as both have: a shorter draw from a key is the start of a longer one."""
    size = min(a.size, b.size)
    ranks = [np.argsort(np.argsort(values[:size])) for values in (a, b)]
    return float(np.corrcoef(ranks)[0, 1])


@pytest.mark.parametrize(("name", "scheme", "chrono"), CASES)
def test_no_two_blocks_share_a_draw(name, scheme, chrono):
    """1 or -1 for two blocks made of one draw by monotone maps, about 0.7 where each has more in it than that one.

    Of independent draws the correlation is below 0.5 but for once in ten million.
    """
    first, second = (blocks(draw(name, scheme, chrono, seed)) for seed in (0, 1))
    drawn = {block: values for block, values in first.items() if not np.array_equal(values, second[block])}
    assert len(drawn) >= cells.get(name).num_gates  # the input weights, at least
    for one, other in combinations(drawn, 2):
        correlation = rank_correlation(drawn[one], drawn[other])
        if chrono and name in TIED and (one, other) == ("b[0]", "b[1]"):
            assert correlation == pytest.approx(-1)
        elif name == "lru" and (one, other) == ("nu_log[0]", "gamma_log[0]"):
            assert correlation == pytest.approx(1)  # the scale of what comes in follows from the radius
        else:
            assert abs(correlation) < 0.5, f"{one} and {other} correlate by {correlation:.2f}"


@pytest.mark.parametrize(("name", "scheme", "chrono"), CASES)
def test_every_key_is_derived_and_used_once(name, scheme, chrono, monkeypatch):
    """Two keys of equal value would give equal draws to whatever is drawn from them alike, today or after a change."""
    derived: list[tuple[int, ...]] = []

    def recorded(derive):
        def call(key, *args, **kwargs):
            keys = derive(key, *args, **kwargs)
            derived.extend(map(tuple, np.asarray(jax.random.key_data(jax.random.clone(keys))).reshape(-1, 2).tolist()))
            return keys

        return call

    for derive in ("split", "fold_in"):
        monkeypatch.setattr(jax.random, derive, recorded(getattr(jax.random, derive)))
    with jax.debug_key_reuse(True):  # one key into two functions
        draw(name, scheme, chrono, seed=0)
    assert len(derived) > 3
    twice = {key for key in derived if derived.count(key) > 1}
    assert not twice
