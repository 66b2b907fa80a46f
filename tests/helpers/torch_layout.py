"""Our side of a comparison with PyTorch: carries, gradients, values, and how far two trees are apart."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax import cells, compose
from rnn_jax.compose import Directions
from rnn_jax.convert.torch import from_torch


def carries_of(cell_name: str, states: tuple[np.ndarray, ...], bidirectional: bool):
    """Our carries from PyTorch's states `[L * D, B, H]`: h, for an LSTM h and c."""
    kind = type(cells.get(cell_name).init_carry((), 1))
    each = [kind(*map(jnp.asarray, parts)) for parts in zip(*states, strict=True)]
    return tuple(map(Directions, each[::2], each[1::2])) if bidirectional else tuple(each)


def gradients_of(cell_name: str, named: dict[str, np.ndarray]):
    """The gradients of our parameters from those of PyTorch's.

    PyTorch's two biases each get the gradient of their sum, so that one of the two is left out, but for n's in a GRU.
    """
    counted = dict(named)
    for name in named:
        if name.startswith("bias_hh"):  # of a GRU the last third stays
            summed = len(named[name]) * (2 if cell_name == "gru" else 3) // 3
            counted[name] = np.concatenate((np.zeros_like(named[name][:summed]), named[name][summed:]))
    return from_torch(cell_name, counted)


def relative_error(got, want) -> float:
    """The largest difference, leaf by leaf, in units of the leaf's largest entry."""
    assert jax.tree.structure(got) == jax.tree.structure(want)

    def error(got, want):
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        return float(np.max(np.abs(np.asarray(got) - want)) / (np.max(np.abs(want)) or 1))

    return max(jax.tree.leaves(jax.tree.map(error, got, jax.tree.map(np.asarray, want))))


def values_and_gradients(cell_name: str, arguments, cotangents, **options):
    """(final carries, ys) and the gradients of `arguments`, which are params, xs and, if given, the first carry."""

    def run(params, xs, carry=None):
        return compose.unroll_stack(cells.get(cell_name), params, xs, carry=carry, **options)

    @jax.jit
    def both(arguments, cotangents):
        values, pull_back = jax.vjp(run, *arguments)
        return values, pull_back(cotangents)

    return both(arguments, cotangents)


def init(cell_name: str, num_layers: int = 1, bidirectional: bool = False, sizes=(4, 3), dtype=jnp.float64):
    """Random parameters, shaped as `init_stack` has them but drawn by NumPy: nothing to compile."""
    make = partial(
        compose.init_stack, jax.random.key(0), cells.get(cell_name), *sizes, num_layers, bidirectional, dtype
    )
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), jax.eval_shape(make))
