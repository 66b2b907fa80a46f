"""Measures of predictions against targets.

Those of classes are scikit-learn's (Pedregosa et al., "Scikit-learn: machine learning in Python", 2011), imported when
they are used, as that takes a second or more.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from rnn_jax.extras import need


def regression(targets: ArrayLike, predictions: ArrayLike, persistence: ArrayLike) -> dict[str, float]:
    """Measures of a forecast over all entries, computed in float64.

        mse   = mean (y - p)^2
        mae   = mean |y - p|
        rmse  = sqrt(mse)
        r2    = 1 - mse / mean (y - mean y)^2
        skill = 1 - mse / mse of persistence

    Args:
        targets: y, any shape.
        predictions: p, the same shape.
        persistence: predictions of "as the last value", the same shape.

    Returns:
        The five by name. Where the targets are constant r2, and where persistence is perfect skill, is -inf, or NaN if
        the predictions are perfect too.

    Raises:
        ValueError: shapes that differ, with the shapes, or no entries.

    Example:

        >>> measures = regression([11.18, 11.66, 8.97], [-0.33, -0.61, 1.35], persistence=[11.0, 11.18, 11.66])
        >>> f"{measures['mse']:.2f} {measures['mae']:.3f} {measures['r2']:.2f}"
        '113.70 10.467 -81.85'
    """
    y, p, last = (np.asarray(a, dtype=np.float64) for a in (targets, predictions, persistence))
    if not y.shape == p.shape == last.shape:
        raise ValueError(f"targets {y.shape}, predictions {p.shape} and persistence {last.shape} must have one shape")
    if not y.size:
        raise ValueError(f"no targets to measure: shape {y.shape}")
    with np.errstate(all="ignore"):  # a run that diverged is reported as inf or NaN, not as a warning
        mse = np.mean((y - p) ** 2)
        measures = {
            "mse": mse,
            "mae": np.mean(np.abs(y - p)),
            "rmse": np.sqrt(mse),
            "r2": 1 - mse / np.mean((y - np.mean(y)) ** 2),
            "skill": 1 - mse / np.mean((y - last) ** 2),
        }
    return {name: float(value) for name, value in measures.items()}


def confusion(labels: ArrayLike, predictions: ArrayLike, num_classes: int) -> np.ndarray:
    """How often each class was taken for each: `[C, C]` int64 counts, rows by the true class, columns by the predicted.

    Args:
        labels: `[N]`, the true classes, integers in 0..C-1.
        predictions: `[N]`, the predicted ones.
        num_classes: C.

    Raises:
        ValueError: shapes that differ or are not `[N]`, with the shapes, no entries, or values that are not classes.

    Example:

        >>> confusion([0, 0, 0, 1], [0, 0, 1, 1], num_classes=2).tolist()
        [[2, 1], [0, 1]]
    """
    need(__name__, "sklearn")
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(*_classes(labels, predictions, num_classes), labels=range(num_classes))


def classification(labels: ArrayLike, predictions: ArrayLike, num_classes: int) -> dict[str, float]:
    """Measures of predicted classes.

        accuracy = share of the predictions that are right
        error    = 1 - accuracy
        f1       = mean over the classes of 2 TP / (2 TP + FP + FN), each class weighing the same ("macro")

    TP, FP and FN count what is rightly, wrongly and wrongly not taken for the class. A class that occurs neither among
    the labels nor among the predictions has no F1 and is left out of the mean.

    Args:
        labels: `[N]`, the true classes, integers in 0..C-1.
        predictions: `[N]`, the predicted ones.
        num_classes: C.

    Returns:
        The three by name.

    Raises:
        ValueError: as `confusion` does.

    Example:

        >>> measures = classification([0, 0, 0, 1], [0, 0, 1, 1], num_classes=2)
        >>> f"{measures['accuracy']:.2f} {measures['error']:.2f} {measures['f1']:.4f}"
        '0.75 0.25 0.7333'
    """
    need(__name__, "sklearn")
    from sklearn.metrics import f1_score

    y, p = _classes(labels, predictions, num_classes)
    accuracy = float(np.mean(y == p))
    return {"accuracy": accuracy, "error": 1 - accuracy, "f1": float(f1_score(y, p, average="macro"))}


def _classes(labels: ArrayLike, predictions: ArrayLike, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    y, p = np.asarray(labels), np.asarray(predictions)
    if y.shape != p.shape or y.ndim != 1 or not y.size:
        raise ValueError(f"labels {y.shape} and predictions {p.shape} must have one shape [N], N at least 1")
    for name, values in (("labels", y), ("predictions", p)):
        if values.dtype.kind not in "iub" or values.min() < 0 or values.max() >= num_classes:
            raise ValueError(f"{name} must be integers in 0..{num_classes - 1}, got {values.min()}..{values.max()}")
    return y, p


def accuracy_by_length(
    correct: ArrayLike, lengths: ArrayLike, edges: Sequence[float]
) -> list[tuple[float, float, int, float]]:
    """Accuracy of the short texts, the longer ones and so on.

    Args:
        correct: `[N]` bool, whether a prediction is right.
        lengths: `[N]`, how long each text is.
        edges: where the groups begin and end, ascending; the last may be `math.inf`.

    Returns:
        `(low, high, count, accuracy)` of each group low <= length < high; the accuracy of an empty one is NaN.

    Raises:
        ValueError: shapes that differ or are not `[N]`, with the shapes, `correct` that is not bool, edges that do not
            ascend, or lengths outside of them: no text is left out in silence.

    Example:

        >>> accuracy_by_length([True, False, True], [3, 40, 70], edges=[0, 50, 100])
        [(0, 50, 2, 0.5), (50, 100, 1, 1.0)]
    """
    right, length = np.asarray(correct), np.asarray(lengths)
    if right.shape != length.shape or right.ndim != 1:
        raise ValueError(f"correct {right.shape} and lengths {length.shape} must have one shape [N]")
    if right.dtype != bool:
        raise ValueError(f"correct must be bool, got {right.dtype}")
    if len(edges) < 2 or not all(low < high for low, high in pairwise(edges)):
        raise ValueError(f"edges must be two or more in ascending order, got {list(edges)}")
    if length.size and not (length.min() >= edges[0] and length.max() < edges[-1]):
        raise ValueError(f"lengths {length.min()}..{length.max()} must lie in {edges[0]} <= length < {edges[-1]}")
    rows = []
    for low, high in pairwise(edges):
        group = right[(length >= low) & (length < high)]
        rows.append((low, high, len(group), float(group.mean()) if len(group) else float("nan")))
    return rows
