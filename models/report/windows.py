"""What the model makes of single windows: the best, typical and worst ones, and their error by feature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models import colours
from models.report.page import Picture, Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from models.report.subject import Subject

SHOWN = 2
"""Windows of each group."""

IMAGE = 8
"""Features from which a window is drawn as an image: rows down, features across."""

_LINES = 3  # features that are drawn as lines, those with the largest error
_BARS = 12  # features whose error is drawn


def chosen(
    score: NDArray[np.float64], label: NDArray[np.bool_], start: NDArray[np.int64], length: int
) -> dict[str, list[int]]:
    """Return places of windows to look at, by what they are; those of a group share no row.

    Args:
        score: `(n,)`.
        label: `(n,)` whether a label touches the window.
        start: `(n,)` its first row.
        length: rows of a window.
    """
    groups: dict[str, list[int]] = {}
    normal, labelled = np.flatnonzero(~label), np.flatnonzero(label)
    if len(normal):
        median = np.median(score[normal])
        groups["best"] = _apart(normal[np.argsort(score[normal], kind="stable")], start, length)
        groups["typical"] = _apart(normal[np.argsort(np.abs(score[normal] - median), kind="stable")], start, length)
        groups["worst"] = _apart(normal[np.argsort(-score[normal], kind="stable")], start, length)
    if len(labelled):
        groups["labelled, highest scores"] = _apart(
            labelled[np.argsort(-score[labelled], kind="stable")], start, length
        )
        groups["labelled, lowest scores"] = _apart(labelled[np.argsort(score[labelled], kind="stable")], start, length)
    return groups


def _apart(order: NDArray[np.intp], start: NDArray[np.int64], length: int) -> list[int]:
    """Return the first `SHOWN` of these windows that share no row."""
    found: list[int] = []
    for place in order.tolist():
        if all(abs(int(start[place]) - int(start[other])) >= length for other in found):
            found.append(place)
        if len(found) == SHOWN:
            break
    return found


def section(subject: Subject) -> Section | None:
    """Return the section; none for a detector, whose members do not rebuild windows as they are."""
    if not subject.single:
        return None
    starts = subject.cells.starts[subject.windows]
    alone = len(subject.manifest.features) == 1
    right = "the difference, row by row" if alone else "the error of each feature, largest first"
    pictures = []
    for name, places in chosen(subject.score, subject.label, starts, subject.length).items():
        what = {
            "best": "Normal windows with the lowest scores.",
            "typical": "Normal windows with scores in the middle.",
            "worst": "Normal windows with the highest scores: not understood by the model, or not labelled by anybody.",
            "labelled, highest scores": "Labelled windows that stand out most.",
            "labelled, lowest scores": "Labelled windows that stand out least: what is missed.",
        }[name]
        file = f"windows-{name.replace(', ', '-').replace(' ', '-')}"
        caption = f"{what} Right: {right}."
        pictures.append(Picture(file, name.capitalize(), caption, _drawn(subject, places)))
    text = "Each window as it was recorded and as the model rebuilt it."
    if len(subject.manifest.features) >= IMAGE:
        text += " It is drawn as an image: rows from top to bottom, features from left to right."
    elif len(subject.manifest.features) > _LINES:
        text += f" The {_LINES} features with the largest error are drawn."
    return Section("Reconstructions", [text], pictures=pictures)


def _drawn(subject: Subject, places: list[int]) -> Figure:
    """Draw windows below each other."""
    from matplotlib.figure import Figure

    windows = subject.gather(np.array(places, np.int64))
    found = subject.model.score(windows)
    names = subject.manifest.features
    image = len(names) >= IMAGE
    lines = 3 if image else min(len(names), _LINES)
    figure = Figure(figsize=(11, 2.9 * len(places) + 0.2), layout="constrained")
    parts = figure.subfigures(len(places), 1, squeeze=False)[:, 0]
    for at, (place, part) in enumerate(zip(places, parts, strict=True)):
        marks = ", labelled" if subject.label[place] else ""
        part.suptitle(f"{subject.called(place)}: score {subject.score[place]:.4g}{marks}", fontsize="medium")
        axes = part.subplots(1, lines + 1, width_ratios=[*[3.0] * lines, 1.6], squeeze=False)[0]
        order = np.argsort(-found.errors[at], kind="stable")
        if image:
            _image(axes, windows[at], found.reconstruction[at])
        else:
            for one, feature in zip(axes[:-1], order.tolist(), strict=False):
                _lines(one, windows[at, :, feature], found.reconstruction[at, :, feature], names[feature])
            if at == 0:
                axes[0].legend(fontsize="small")
        if len(names) == 1:
            left = windows[at, :, 0] - found.reconstruction[at, :, 0]
            axes[-1].bar(np.arange(len(left)), left, width=1.0, color=colours.LABELLED)
            axes[-1].set_title("recorded − rebuilt", fontsize="small")
            axes[-1].tick_params(labelsize="small")
            continue
        top = order[:_BARS][::-1]
        axes[-1].barh([_short(names[feature]) for feature in top], found.errors[at][top], color=colours.LABELLED)
        axes[-1].set_title("error", fontsize="small")
        axes[-1].tick_params(labelsize="small")
        axes[-1].locator_params(axis="x", nbins=3)
    return figure


def _lines(axes: Axes, actual: NDArray[np.float32], rebuilt: NDArray[np.float32], name: str) -> None:
    """Draw a feature of a window."""
    marker = "." if len(actual) <= 32 or np.isnan(actual).any() else None  # noqa: PLR2004 - few rows are points
    axes.plot(actual, color=colours.NORMAL, marker=marker, label="recorded")
    axes.plot(rebuilt, color=colours.EXPECTED, linestyle="--", label="rebuilt")
    axes.set_title(_short(name), fontsize="small")
    axes.tick_params(labelsize="small")


def _image(axes: NDArray[np.object_], actual: NDArray[np.float32], rebuilt: NDArray[np.float32]) -> None:
    """Draw a window as an image: recorded, rebuilt, and the difference."""
    present = actual[np.isfinite(actual)]
    low, high = (float(present.min()), float(present.max())) if len(present) else (0.0, 1.0)
    for one, values, name in zip(axes, (actual, rebuilt), ("recorded", "rebuilt"), strict=False):
        one.imshow(values, vmin=low, vmax=high, cmap="viridis", aspect="auto", interpolation="nearest")
        one.set_title(name, fontsize="small")
    left = actual - rebuilt
    most = float(np.nanmax(np.abs(left))) if len(present) else 1.0
    axes[2].imshow(left, vmin=-most, vmax=most, cmap="RdBu", aspect="auto", interpolation="nearest")
    axes[2].set_title(f"difference, up to {most:.3g}", fontsize="small")
    for one in axes[:3]:
        one.tick_params(labelsize="small")


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"  # noqa: PLR2004 - what has room beside a bar
