"""Which inputs a forecast makes use of."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from rnn_jax.forecast_metrics import measured


def permutation_importance(
    predict: Callable[[np.ndarray], ArrayLike],
    inputs: np.ndarray,
    targets: ArrayLike,
    groups: Mapping[str, Sequence[int]],
    seed: int,
    repeats: int = 1,
) -> dict[str, float]:
    """By which share the squared error grows when a group of inputs is taken from another window: 0 for no use.

        importance = mean over the repeats of mse with the group permuted over the windows / mse - 1

    Breiman, "Random forests", 2001; Fisher, Rudin and Dominici, "All models are wrong, but many are useful", 2019. A
    group is permuted as one and over all of its rows, so that its own course and the relations within it remain. What
    another group says as well seems of little use: features that depend on each other belong in one group. All groups
    are permuted alike, and a group's value does not depend on which others there are.

    Args:
        predict: inputs `[W, T, I]` to predictions of the shape of the targets; called once, and once for each group
            and repeat.
        inputs: `[W, T, I]`; not changed.
        targets: `[W, ...]`, NaN where not measured.
        groups: name to features, 0..I-1.
        seed: of the permutations.
        repeats: permutations of which the mean is taken, at least 1.

    Returns:
        Name to importance. Where the error is 0 without permuting: inf, or NaN if it stays 0.

    Raises:
        ValueError: inputs of another shape or targets of another number of windows, with the shapes, predictions of
            another shape or NaN where a target was measured, features that are not in 0..I-1, or repeats below 1.

    Example:

        >>> inputs = np.random.default_rng(0).normal(size=(100, 3, 2))
        >>> first = lambda x: x[:, -1, 0]
        >>> found = permutation_importance(first, inputs, first(inputs) + 0.1, {"used": [0], "not": [1]}, seed=0)
        >>> found["used"] > 100, found["not"]
        (True, 0.0)
    """
    x, y = np.array(inputs), np.asarray(targets, np.float64)  # a copy, in which one group after another is permuted
    if x.ndim != 3 or y.shape[:1] != x.shape[:1]:
        raise ValueError(f"inputs must be [W, T, I] and targets [W, ...], got {x.shape} and {y.shape}")
    for name, features in groups.items():
        if not all(0 <= feature < x.shape[2] for feature in features):
            raise ValueError(f"group {name} must be of features 0..{x.shape[2] - 1} of {x.shape}, got {list(features)}")
    if repeats < 1:
        raise ValueError(f"repeats={repeats}: must be at least 1")

    def error() -> np.float64:
        known, predicted = measured(y, predictions=predict(x))
        return np.mean((known - predicted) ** 2)

    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(x)) for _ in range(repeats)]
    unpermuted, importance = error(), {}
    for name, features in groups.items():
        own, errors = x[:, :, list(features)], []
        for order in orders:
            x[:, :, list(features)] = own[order]
            errors.append(error())
        x[:, :, list(features)] = own
        with np.errstate(all="ignore"):  # a forecast without an error
            importance[name] = float(np.mean(errors) / unpermuted - 1)
    return importance
