"""Any lengths with any resets, in both directions, against the NumPy reference: values and gradients."""

from functools import cache

import jax
import numpy as np
import pytest
from helpers import reference
from helpers.unrolls import B, T, by_reference, draw, draw_like, flat, quick_jit
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from rnn_jax import cells, unroll

NAME = "rnn"
PARAMS, XS, CARRY = draw(cells.get(NAME), T, (B,))
COTANGENTS = draw_like((CARRY, XS @ PARAMS.w_ih), seed=2)


@cache
def program(backend, reverse):
    """Of arrays of one shape alone: what they say is data, and nothing is compiled for it."""

    @quick_jit
    def run(lengths, resets):
        def outputs(params, xs, carry):
            options = {"lengths": lengths, "resets": resets, "reverse": reverse, "backend": backend}
            return unroll(cells.get(NAME), params, xs, carry=carry, **options)

        values, pullback = jax.vjp(outputs, PARAMS, XS, CARRY)
        return values, pullback(COTANGENTS)

    return run


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@given(
    lengths=st.lists(st.integers(0, T), min_size=B, max_size=B),
    resets=st.lists(st.booleans(), min_size=T * B, max_size=T * B),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_any_lengths_and_resets(reverse, lengths, resets):
    of_lengths, of_resets = np.array(lengths, np.int32), np.array(resets).reshape(T, B)
    options = {"lengths": of_lengths, "resets": of_resets, "reverse": reverse}
    run, leaves = by_reference(NAME, (PARAMS, XS, CARRY), options)
    wanted = [*run(*leaves), *reference.gradient(run, leaves, flat(COTANGENTS))]
    for backend in ("scan", "manual", "newton"):
        found = flat(program(backend, reverse)(of_lengths, of_resets))
        for each, right in zip(found, wanted, strict=True):
            assert_allclose(each, right, rtol=1e-11, atol=1e-12, err_msg=backend)
