"""Where windows lie in the space of codes, brought to a plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models import colours, latent
from models.report.page import Picture, Section, Table
from models.report.subject import moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from models.latent import Plane
    from models.report.subject import Subject

_NAMED = 10  # streams that have a colour of their own
_NEAR = 72.0  # hours
_LISTED = 64  # numbers of the code in the table
_TITLES = {
    "code": ("The code, as it is", "Each point is a window."),
    "pca": ("Principal components", "Each point is a window. Linear: what is far apart here is far apart."),
    "tsne": ("t-SNE", "Neighbours stay together; distances between groups, and how large groups are, say little."),
    "umap": ("UMAP", "Neighbours stay together; distances between groups say little."),
}


def section(subject: Subject, methods: Sequence[str]) -> Section | None:
    """Return the latent space in a plane, coloured by label, stream and time; none for a detector."""
    if not subject.single:
        return None
    places = latent.thinned(subject.label)
    found = subject.model.encode(subject.gather(places))
    pictures = []
    for plane in latent.planes(found, methods):
        title, caption = _TITLES[plane.method]
        pictures.append(Picture(f"latent-{plane.method}", title, caption, _scatter(subject, places, plane)))
    size = found.shape[1]
    text = [f"The encoder makes {size} number{'' if size == 1 else 's'} of a window."]
    if len(places) < len(subject.windows):
        of = f"{len(places):,} of the {len(subject.windows):,} windows"
        text.append(f"{of} are drawn, evenly spread, up to half of them labelled.")
    absent = [] if size == 2 else [method for method in latent.METHODS if method not in latent.available()]  # noqa: PLR2004 - a plane
    if absent:
        text.append(f"Not drawn, for want of packages: {', '.join(absent)} (pip install 'tidegauge[inspect]').")
    wide = found.astype(np.float64)
    three = np.quantile(wide, (0.01, 0.5, 0.99), axis=0)
    columns = zip(
        range(1, _LISTED + 1), wide.mean(axis=0).tolist(), wide.std(axis=0).tolist(), *three.tolist(), strict=False
    )
    table = Table(("code", "mean", "deviation", "0.01", "median", "0.99"), list(columns))
    return Section("Latent space", text, [table], pictures)


def _scatter(subject: Subject, places: NDArray[np.int64], plane: Plane) -> Figure:
    """Draw the plane four times: by label, by stream, by time and by score."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.4), layout="constrained")
    labels, streams, times, scores = figure.subplots(1, 4, squeeze=False)[0]
    across, up = plane.points.T
    label = subject.label[places]
    others = "normal" if subject.labels else "windows"
    for which, name, colour in ((~label, others, colours.NORMAL), (label, "labelled", colours.LABELLED)):
        if which.any():
            told = f"{name}: {int(which.sum()):,}"
            labels.scatter(across[which], up[which], s=7, alpha=0.6, color=colour, label=told, linewidths=0)
    labels.legend(fontsize="small", markerscale=2)
    labels.set_title("by label" if subject.labels else "no labels")
    _by_stream(subject, places, plane.points, streams)
    hours = subject.end[places] / 3_600_000.0
    ends = [float(hours.min()), float(hours.max())]
    drawn = times.scatter(across, up, s=7, alpha=0.7, c=hours, cmap="viridis", linewidths=0)
    bar = figure.colorbar(drawn, ax=times, location="bottom", shrink=0.9, ticks=ends)
    bar.set_ticklabels([_day(at, near=ends[1] - ends[0] < _NEAR) for at in ends], fontsize="small")
    times.set_title("by time")
    logs = np.log10(np.maximum(subject.score[places], 1e-12))
    drawn = scores.scatter(across, up, s=7, alpha=0.7, c=logs, cmap="inferno_r", linewidths=0)
    bar = figure.colorbar(drawn, ax=scores, location="bottom", shrink=0.9)
    bar.set_label("log10 of the score", fontsize="small")
    scores.set_title("by score")
    for axes in (labels, streams, times, scores):
        axes.set_xlabel(plane.axes[0], fontsize="small")
        axes.set_ylabel(plane.axes[1], fontsize="small")
        axes.tick_params(labelsize="small")
    return figure


def _day(hours: float, *, near: bool) -> str:
    """Return the day of a time in hours, with the time of day where the ends are near each other."""
    text = moment(round(hours * 3_600_000))
    return text[5:16] if near else text[:10]


def _by_stream(subject: Subject, places: NDArray[np.int64], points: NDArray[np.float64], axes: Axes) -> None:
    """Draw the points by stream: the most frequent ones have a colour and a name each, of very many none has."""
    owner = subject.owner[places]
    across, up = points.T
    numbers, counts = np.unique(owner, return_counts=True)
    if len(numbers) > 4 * _NAMED:
        axes.scatter(across, up, s=7, alpha=0.7, c=owner, cmap="turbo", linewidths=0)
        axes.set_title(f"by stream ({len(numbers):,}, as they came)")
        return
    axes.set_title("by stream" if len(numbers) > 1 else "one stream")
    named = numbers[np.argsort(-counts, kind="stable")][:_NAMED].tolist()
    rest = ~np.isin(owner, named)
    if rest.any():
        axes.scatter(across[rest], up[rest], s=7, alpha=0.5, color="lightgrey", label="others", linewidths=0)
    for number in named:
        own = owner == number
        axes.scatter(across[own], up[own], s=7, alpha=0.7, label=subject.streams[number][:24], linewidths=0)
    axes.legend(fontsize="x-small", markerscale=2)
