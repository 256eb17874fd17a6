"""How scores are spread, and how well they tell labelled windows from others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models import colours, curves, ranking
from models.report.page import Picture, Section, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from models.report.subject import Subject

_LEVELS = (0.0, 0.5, 0.9, 0.99, 1.0)
_MOST = 20_000  # points of the picture over time


def section(subject: Subject) -> Section:
    """Return the section."""
    from matplotlib.figure import Figure

    score, label = subject.score, subject.label
    groups = [("all", np.ones(len(score), np.bool_))]
    text = []
    if subject.labels:
        groups = [("normal", ~label), ("labelled", label)]
        if label.any() and not label.all():
            text.append(
                f"AUC-ROC {ranking.auc_roc(score, label):.4f}, AUC-PR {ranking.auc_pr(score, label):.4f}; tidegauge"
                " evaluate says more."
            )
        else:
            text.append("The windows are of one class only, so nothing can be said of how well scores tell them apart.")
    else:
        text.append("The recording has no labels: every window counts as normal here.")
    rows: list[tuple[str | float, ...]] = [
        (name, int(which.sum()), *(float(q) for q in np.quantile(score[which], _LEVELS)), _over(subject, which))
        for name, which in groups
        if which.any()
    ]
    table = Table(("windows", "count", "lowest", "median", "0.9", "0.99", "highest", "above the line"), rows)
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    curves.distribution(figure.add_subplot(), score, label, {"first line": subject.line})
    spread = (
        "Scores of normal and labelled windows, each as shares of its own colour, on a logarithmic axis. The line is"
        " the one that a new stream begins with."
    )
    run = "Scores in the order of time, all streams over each other."
    return Section(
        "Scores",
        text,
        [table],
        [Picture("scores", "Spread", spread, figure), Picture("scores-time", "Over time", run, _run(subject))],
    )


def _over(subject: Subject, which: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> str:
    """Return the share of windows above the first line."""
    return f"{float((subject.score[which] > subject.line).mean()):.2%}"


def _run(subject: Subject) -> Figure:
    """Draw the scores over time."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.add_subplot()
    least = max(float(subject.score[subject.score > 0].min(initial=1.0)), 1e-12)
    for which, name, colour in (
        (~subject.label, "normal", colours.NORMAL),
        (subject.label, "labelled", colours.LABELLED),
    ):
        places = np.flatnonzero(which)
        places = places[:: max(1, len(places) // _MOST)]
        if len(places):
            moments = subject.end[places].astype("datetime64[ms]")
            axes.plot(moments, np.maximum(subject.score[places], least), ".", markersize=2.5, color=colour, label=name)
    if subject.line > 0:
        axes.axhline(subject.line, color="black", linewidth=1, label="first line")
    locator = AutoDateLocator()  # type: ignore[no-untyped-call] # matplotlib's gap
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call] # the same
    axes.set(yscale="log", ylabel="score", xlabel="end of the window (UTC)")
    curves.logarithmic(axes.yaxis)
    figure.legend(loc="outside right upper", fontsize="small", markerscale=4)
    return figure
