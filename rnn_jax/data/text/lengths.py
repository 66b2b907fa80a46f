"""Batches of texts of similar length: few compiled shapes, and little time spent on padding.

Every text in a batch has to be padded to the length of its longest. Lengths are sorted into a few bounds; a batch
takes texts of one bound and is padded to it, so that there are as many compiled shapes as bounds.
"""

from typing import NamedTuple

import numpy as np


class Bounds(NamedTuple):
    """Where lengths are padded to.

    Attributes:
        lengths: K padded lengths, ascending; the last holds the longest text.
        of_text: `[N]` int32, the number of the smallest bound that holds each text.
    """

    lengths: tuple[int, ...]
    of_text: np.ndarray


def choose_bounds(lengths: np.ndarray, num_bounds: int, multiple: int = 8) -> Bounds:
    """The K lengths that leave the least padding, exactly.

    With candidates b_1 < b_2 < ... and n_j texts up to b_j, the steps computed for the candidates up to j with k
    bounds, the last of them b_j, are

        cost(k, j) = min_{i < j} cost(k - 1, i) + b_j (n_j - n_i)

    Args:
        lengths: `[N]` integers.
        num_bounds: K at most; fewer where there are fewer candidates.
        multiple: candidates are multiples of this, so that loops over chunks of steps come out even, or the longest.

    Raises: `ValueError` without lengths or with no bounds.

    >>> bounds = choose_bounds(np.array([3, 4, 5, 30, 31, 32]), num_bounds=2)
    >>> bounds.lengths, bounds.of_text.tolist()
    ((8, 32), [0, 0, 0, 1, 1, 1])
    """
    if not len(lengths) or num_bounds < 1:
        raise ValueError(f"cannot sort {len(lengths)} lengths into {num_bounds} bounds")
    longest = max(int(np.max(lengths)), 1)
    padded = np.clip(-(-np.asarray(lengths) // multiple) * multiple, min(multiple, longest), longest)
    candidates, counts = np.unique(padded, return_counts=True)
    up_to = np.concatenate(([0], np.cumsum(counts)))
    steps = np.concatenate(([0], candidates)).astype(np.int64)
    # Row i, column j: the texts between candidates i and j, all padded to j.
    between = np.where(np.arange(len(steps))[:, None] < np.arange(len(steps)), steps * (up_to - up_to[:, None]), np.inf)
    cost, choices = between[0], []
    for _ in range(1, min(num_bounds, len(candidates))):
        total = cost[:, None] + between
        choices.append(total.argmin(axis=0))
        cost = total.min(axis=0)
    last = len(candidates)
    chosen = [last]
    for choice in reversed(choices):
        last = int(choice[last])
        chosen.append(last)
    ascending = np.sort(steps[chosen])
    return Bounds(tuple(int(length) for length in ascending), np.searchsorted(ascending, lengths).astype(np.int32))


def padding_share(lengths: np.ndarray, padded: np.ndarray) -> float:
    """The share of computed steps that are padding.

    Args:
        lengths: `[N]` of the texts.
        padded: `[N]`, what each is padded to.

    >>> padding_share(np.array([3, 3]), np.array([4, 4]))
    0.25
    """
    computed = int(np.sum(padded, dtype=np.int64))
    return 1 - int(np.sum(lengths, dtype=np.int64)) / computed if computed else 0.0


class Group(NamedTuple):
    """Texts of one bound, in batches.

    Attributes:
        length: what they are padded to.
        indices: `[n, B]` int32 numbers of texts; some occur twice where they do not fill the last batch.
    """

    length: int
    indices: np.ndarray


def groups(bounds: Bounds, batch_size: int) -> list[Group]:
    """Batches in which every text occurs, for evaluation.

    Args:
        bounds: of N texts.
        batch_size: B.

    Returns:
        A group for each bound that has texts, together with the numbers 0..N-1.

    >>> bounds = choose_bounds(np.array([3, 30, 4, 5]), num_bounds=2)
    >>> [(group.length, group.indices.tolist()) for group in groups(bounds, 2)]
    [(8, [[0, 2], [3, 0]]), (30, [[1, 1]])]
    """
    found = []
    for number, length in enumerate(bounds.lengths):
        texts = np.flatnonzero(bounds.of_text == number).astype(np.int32)
        if len(texts):
            found.append(Group(length, np.resize(texts, (-(-len(texts) // batch_size), batch_size))))
    return found
