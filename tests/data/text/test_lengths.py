"""Padded lengths: the least padding, against trying all of them."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_jax.data.text.lengths import Bounds, choose_bounds, groups, padding_share


def steps(lengths, bounds):
    return int(np.asarray(bounds.lengths)[bounds.of_text].sum())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(1, 5), st.sampled_from([1, 8]))
def test_no_other_choice_computes_fewer_steps(lengths, num_bounds, multiple):
    lengths = np.array(lengths)
    longest = max(int(lengths.max()), 1)
    candidates = sorted({min(max(-(-n // multiple), 1) * multiple, longest) for n in lengths.tolist()})
    best = min(
        sum(min(b for b in (*some, longest) if b >= n) for n in lengths.tolist())
        for k in range(min(num_bounds, len(candidates)))
        for some in combinations(candidates, k)
    )
    bounds = choose_bounds(lengths, num_bounds, multiple)
    assert steps(lengths, bounds) == best


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=60), st.integers(1, 9))
def test_bounds(lengths, num_bounds):
    bounds = choose_bounds(np.array(lengths), num_bounds)
    assert 1 <= len(bounds.lengths) <= num_bounds
    assert list(bounds.lengths) == sorted(set(bounds.lengths))
    assert bounds.lengths[-1] == max(*lengths, 1)
    for length, number in zip(lengths, bounds.of_text, strict=True):
        assert length <= bounds.lengths[number]
        assert number == 0 or length > bounds.lengths[number - 1]


@pytest.mark.parametrize(("lengths", "num_bounds"), [([], 3), ([4, 5], 0)])
def test_nothing_to_choose(lengths, num_bounds):
    with pytest.raises(ValueError, match=f"cannot sort {len(lengths)} lengths into {num_bounds} bounds"):
        choose_bounds(np.array(lengths), num_bounds)


def test_padding_share():
    assert padding_share(np.array([3, 7, 0]), np.array([8, 8, 8])) == pytest.approx(14 / 24)
    assert padding_share(np.array([], int), np.array([], int)) == 0


@pytest.mark.parametrize("batch_size", [1, 4, 50])
def test_groups_hold_every_text_in_its_bound(batch_size):
    bounds = Bounds((5, 9, 20, 30), np.random.default_rng(1).choice([0, 1, 3], 31).astype(np.int32))
    found = groups(bounds, batch_size)
    assert [group.length for group in found] == [5, 9, 30]
    assert {i for group in found for i in group.indices.ravel().tolist()} == set(range(31))
    for group in found:
        assert group.indices.shape[1] == batch_size
        assert (np.asarray(bounds.lengths)[bounds.of_text[group.indices]] == group.length).all()
        texts = len(set(group.indices.ravel().tolist()))
        assert len(group.indices) == -(-texts // batch_size), "a batch with no text of its own"
