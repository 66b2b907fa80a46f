"""Plots of classified texts that are written to a file, in the style of `rnn_jax.plotting`."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rnn_jax.plotting.style import COLOURS, STYLE, rc_context, save, subplots

PALE = "#dfe3e8"

CURVES = {"accuracy": "training", "train_accuracy": "training", "validation_accuracy": "validation"}
"""Measure of a record to the name that the plot gives it."""


def accuracy_curves(path: Path, records: Sequence[Mapping[str, Any]], levels: Mapping[str, float]) -> None:
    """Accuracy on the training and the validation texts while a network is trained.

    Args:
        path: the PNG to write.
        records: of `metrics.jsonl`: `step`, and in those that have them `accuracy` of the batches trained on since the
            record before (or `train_accuracy`, of all training texts) and `validation_accuracy`.
        levels: name to accuracy in 0..1 of what there is to compare with, drawn as dotted lines.

    Raises: `ValueError` where no record has an accuracy.
    """
    from matplotlib.ticker import MaxNLocator  # with the first figure, see `rnn_jax.plotting.style`

    frame = pd.DataFrame(records)
    curves = {name: frame.dropna(subset=[name]) for name in CURVES if name in frame}
    curves = {name: part for name, part in curves.items() if len(part)}
    if not curves:
        raise ValueError(f"none of the {len(records)} records has {' or '.join(CURVES)}")
    with rc_context(STYLE):
        figure, axes = subplots(figsize=(9, 4.5))
        for name, colour in zip(CURVES, (COLOURS[0], COLOURS[2], COLOURS[1]), strict=True):
            if name in curves:
                part = curves[name]
                values = 100 * part[name].astype(float)
                label = f"{CURVES[name]}: at best {values.max():.2f} %"
                marker = "o-" if len(part) <= 60 else "-"  # many points would make a thick line
                axes.plot(part["step"], values, marker, color=colour, markersize=4, label=label)
        # Four colours of dots, then the same with dashes between them.
        styles = [(colour, dots) for dots in (":", "-.") for colour in ("black", *COLOURS[3:])]
        for (name, level), (colour, dots) in zip(levels.items(), styles * len(levels), strict=False):
            label = f"{name.replace('_', ' ')}: {100 * level:.2f} %"
            axes.axhline(100 * level, color=colour, linestyle=dots, linewidth=1.6, label=label)
        axes.set(xlabel="step", ylabel="accuracy, %", title="Accuracy")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))  # beside the plot: the curves may be anywhere
        save(figure, path)


def confusion_matrix(path: Path, counts: np.ndarray, classes: Sequence[str]) -> None:
    """How often each class was taken for each, with the share of the true class.

    Args:
        path: the PNG to write.
        counts: `[C, C]`, rows by the true class, as `rnn_jax.metrics.confusion` gives them.
        classes: C names.

    Raises: `ValueError` where the shapes do not fit.
    """
    if counts.shape != (len(classes), len(classes)):
        raise ValueError(f"{len(classes)} classes need counts [{len(classes)}, {len(classes)}], got {counts.shape}")
    totals = counts.sum(axis=1, keepdims=True)
    shares = 100 * counts / np.maximum(totals, 1)
    size = 2.6 + 1.1 * len(classes)
    with rc_context({**STYLE, "axes.grid": False}):
        figure, axes = subplots(figsize=(size + 1.6, size))
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        for (row, column), share in np.ndenumerate(shares):
            text = f"{counts[row, column]:,}\n{share:.1f} %"
            axes.text(column, row, text, ha="center", va="center", color="white" if share > 55 else "black")
        axes.set_xticks(range(len(classes)), classes)
        axes.set_yticks(range(len(classes)), [f"{c}\n({n:,})" for c, n in zip(classes, totals[:, 0], strict=True)])
        axes.set(xlabel="predicted class", ylabel="true class")
        axes.set_title(f"{100 * np.trace(counts) / max(counts.sum(), 1):.2f} % of {counts.sum():,} right")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        figure.colorbar(image, fraction=0.046, pad=0.04).set_label("share of the true class, %")
        save(figure, path)


def accuracy_by_length(
    path: Path, models: Mapping[str, Sequence[tuple[float, float, int, float]]], unit: str = "words"
) -> None:
    """Accuracy against the length of the text, above bars of how many texts there are.

    Args:
        path: the PNG to write.
        models: name to the rows `(low, high, count, accuracy)` of `rnn_jax.metrics.accuracy_by_length`, with the same
            groups for all. A group without texts has no point.
        unit: what the length counts.

    Raises: `ValueError` without models, or where their groups or counts differ.
    """
    groups = {tuple(row[:3] for row in rows) for rows in models.values()}
    if len(groups) != 1:
        raise ValueError(f"the {len(models)} models must have the same lengths and counts, got {len(groups)} different")
    (shared,) = groups
    places = np.arange(len(shared))
    with rc_context(STYLE):
        figure, axes = subplots(figsize=(max(8, 1 + 0.9 * len(shared)), 4.8))
        behind = axes.twinx()
        bars = behind.bar(places, [count for _, _, count in shared], width=0.8, color=PALE)
        behind.bar_label(bars, [f"{count:,}" for _, _, count in shared], color="#7a828c", fontsize=8, padding=2)
        behind.set_ylim(0, 2.5 * max([1, *(count for _, _, count in shared)]))
        behind.set_yticks([])
        behind.grid(False)
        axes.set_zorder(behind.get_zorder() + 1)
        axes.patch.set_visible(False)  # or it would hide the bars
        for (name, rows), colour in zip(models.items(), COLOURS * len(models), strict=False):
            accuracies = [100 * accuracy for _, _, _, accuracy in rows]
            axes.plot(places, accuracies, "o-", color=colour, markersize=5, label=name.replace("_", " "))
        found = [100 * row[3] for rows in models.values() for row in rows if row[2]]
        if found:  # the curves take the upper half of the picture, the bars the lower
            span = max(max(found) - min(found), 1.0)
            low, high = min(found) - 1.1 * span, max(found) + 0.2 * span
            axes.set_ylim(low, high)
            axes.set_yticks([tick for tick in axes.get_yticks() if max(low, 0) <= tick <= min(high, 100)])
        axes.set_xticks(places, [_group(low, high) for low, high, _ in shared])
        axes.set(xlabel=f"length, {unit} (bars: number of texts)", ylabel="accuracy, %", title="Accuracy by length")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
        save(figure, path)


def _group(low: float, high: float) -> str:
    """A group low <= length < high in whole numbers, both ends in it."""
    return f"{low:g}+" if math.isinf(high) else f"{low:g}" if high - low == 1 else f"{low:g}-{high - 1:g}"


def telling_words(
    path: Path, vectors: np.ndarray, words: Sequence[str], scores: np.ndarray, num_words: int = 60
) -> None:
    """The most telling words on the two principal components of their vectors, coloured by score.

    Half of the words are those of the highest scores and half those of the lowest. The components are of these words
    alone, by a singular value decomposition of their vectors less the mean.

    Args:
        path: the PNG to write.
        vectors: `[V, D]`, D at least 2.
        words: V words.
        scores: `[V]`, how much each word speaks for the positive (above 0) or the negative class.
        num_words: how many to show, at most V are.

    Raises: `ValueError` where the shapes do not fit, or for fewer than two words.
    """
    num_words = min(num_words, len(words))
    if vectors.shape[:1] != scores.shape or len(scores) != len(words) or vectors.ndim != 2 or vectors.shape[1] < 2:
        raise ValueError(
            f"vectors {vectors.shape}, {len(words)} words and scores {scores.shape} do not fit [V, D >= 2]"
        )
    if num_words < 2:
        raise ValueError(f"two words or more make a plot, got {num_words}")
    order = np.argsort(scores, kind="stable")
    chosen = np.concatenate([order[: num_words // 2], order[len(order) - (num_words - num_words // 2) :]])
    points, shares = _principal(np.asarray(vectors[chosen], np.float64))
    shown = scores[chosen]
    limit = np.abs(shown).max() or 1.0
    with rc_context(STYLE):
        figure, axes = subplots(figsize=(11, 7.5))
        dots = axes.scatter(
            points[:, 0], points[:, 1], c=shown, cmap="coolwarm_r", vmin=-limit, vmax=limit, s=26, zorder=3
        )
        dots.set_edgecolor("#555555")
        dots.set_linewidth(0.4)
        axes.margins(0.08)
        axes.set_xlabel(f"first component, {100 * shares[0]:.0f} % of the variance")
        axes.set_ylabel(f"second component, {100 * shares[1]:.0f} %")
        axes.set_title(f"The {num_words} most telling words")
        figure.colorbar(dots, fraction=0.03, pad=0.02).set_label("score: negative to positive")
        figure.tight_layout()  # labels are placed in pixels, so that the axes have to be where they stay
        strongest = np.argsort(-np.abs(shown), kind="stable")
        _place_labels(axes, points[strongest], [words[chosen[i]] for i in strongest])
        save(figure, path)


def _principal(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates `[N, 2]` on the first two principal components, and their shares `[2]` of the variance."""
    left, singular, right = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    # A component has no sign of its own: the largest entry is made positive, so that the picture is always the same.
    signs = np.sign(right[np.arange(2), np.abs(right[:2]).argmax(axis=1)])
    variance = singular**2
    return left[:, :2] * singular[:2] * signs, variance[:2] / (variance.sum() or 1.0)


def _place_labels(axes: Any, points: np.ndarray, words: Sequence[str]) -> None:
    """Writes each word where it covers least: around its point, farther away with a thin line, the first ones first."""
    figure = axes.figure
    renderer = figure.canvas.get_renderer()
    frame = axes.get_window_extent(renderer)
    dots = axes.transData.transform(points)
    scale = figure.dpi / 72
    taken = np.stack([*dots.T, *dots.T], axis=1) + 3.5 * scale * np.array([-1, -1, 1, 1])  # left, bottom, right, top
    for word, point, dot in zip(words, points, dots, strict=True):
        text = axes.annotate(word, point, xytext=(0, 0), textcoords="offset points", fontsize=8, va="center", zorder=4)
        text.set_in_layout(False)
        text.set_parse_math(False)  # "$" is a word like others
        extent = text.get_window_extent(renderer)
        best, least = (0.0, 0.0), math.inf
        for distance in (7, 13, 20, 28, 38, 50, 66, 85, 110, 140):
            for angle in np.deg2rad([0, 180, 90, 270, *range(15, 360, 15)]):
                # Sideways the near end of the word keeps the distance, upwards its middle.
                x = dot[0] + distance * scale * np.cos(angle) + (np.cos(angle) - 1) / 2 * extent.width
                y = dot[1] + (distance + 2) * scale * np.sin(angle)
                box = np.array([x, y - extent.height / 2, x + extent.width, y + extent.height / 2])
                width = np.clip(np.minimum(box[2], taken[:, 2]) - np.maximum(box[0], taken[:, 0]), 0, None)
                height = np.clip(np.minimum(box[3], taken[:, 3]) - np.maximum(box[1], taken[:, 1]), 0, None)
                outside = box[0] < frame.x0 or box[2] > frame.x1 or box[1] < frame.y0 or box[3] > frame.y1
                covered = float((width * height).sum()) + distance + 1e6 * outside
                if covered < least:
                    best, least, place = ((x - dot[0]) / scale, (y - dot[1]) / scale), covered, box
        text.set_position(best)
        taken = np.concatenate([taken, place[None] + 2 * scale * np.array([-1, 0, 1, 0])])  # a blank between words
        reach = np.clip(dot, place[:2], place[2:])  # of the label, what is nearest to its point
        if np.hypot(*(dot - reach)) > 9 * scale:
            ends = axes.transData.inverted().transform([dot, reach])
            axes.plot(*ends.T, color="#aaaaaa", linewidth=0.6, zorder=1)
