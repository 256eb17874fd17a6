"""The picture of the demo: signal and reconstruction, incidents beside alerts, score and line."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from monitor.demo.incidents import INCIDENTS, TRAINED, Raised, Recording, Verdict
from monitor.pipeline import ScoreRows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which colour-blind readers can tell apart.
_INK, _GREY, _BLUE, _ORANGE, _RED = "#222222", "#8A8A8A", "#0072B2", "#E69F00", "#D55E00"
_HOUR = 3_600_000
_PAUSE = 4 * _HOUR  # between two rows: the lines break
_BREAK = 97.0  # l/s; where the two scales of the flow meet
_LEAST = 5 * _HOUR  # narrower bars could not be seen


def draw(recording: Recording, scores: ScoreRows, verdict: Verdict, path: Path) -> None:
    """Write the picture as PNG."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure  # without pyplot: no window system is looked for
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(12, 7), layout=ConstrainedLayoutEngine(h_pad=0.03, hspace=0.01))
    figure.suptitle(_title(verdict), x=0.01, ha="left", fontsize=13, color=_INK)
    # The flow has two scales: the ripple of a day, and what happens in an incident.
    usual, low, strip, score = figure.subplots(4, 1, sharex=True, height_ratios=(4, 1.8, 1.3, 4))
    for axes in (usual, low, strip, score):
        _background(axes, recording.time)
    for axes in (usual, low):
        axes.plot(*_broken(recording.time, recording.flow), color=_INK, linewidth=1.3, label="measured")
        expected = scores.reconstruction[:, 0].astype(np.float64)
        axes.plot(*_broken(scores.time, expected), color=_BLUE, linewidth=1.3, label="reconstructed by the model")
    usual.set(ylim=(_BREAK, float(recording.flow.max()) + 1), ylabel="flow [l/s]")
    low.set(ylim=(float(recording.flow.min()) - 8, _BREAK))
    usual.spines.bottom.set_linestyle((0, (4, 6)))
    usual.tick_params(axis="x", length=0)
    usual.legend(loc="upper right", ncols=2, frameon=False)

    _strip(strip, recording.time, verdict)

    score.plot(
        *_broken(scores.time, scores.score), color=_INK, linewidth=1.1, label="score of the window that ends here"
    )
    score.plot(*_broken(scores.time, scores.threshold), color=_RED, linewidth=2, label="line, adapting to the stream")
    score.set(yscale="log", ylabel="score")
    bottom, top = score.get_ylim()
    score.set_ylim(bottom, top * 8)  # room for the legend
    score.legend(loc="upper right", ncols=2, frameon=False)
    locator = AutoDateLocator(tz=UTC, minticks=6, maxticks=12)  # type: ignore[no-untyped-call] # matplotlib's gap
    score.xaxis.set_major_locator(locator)
    score.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call] # the same
    score.set_xlim(_days(int(recording.time[0])), _days(int(recording.time[-1])))
    figure.align_ylabels()
    figure.savefig(path, dpi=110)


def _title(verdict: Verdict) -> str:
    false = len(verdict.false_alarms)
    alarms = "1 false alarm" if false == 1 else f"{false or 'no'} false alarms"
    return f"Flow through a pipeline: {verdict.found} of {len(INCIDENTS)} documented incidents found, {alarms}"


def _background(axes: Axes, time: NDArray[np.int64]) -> None:
    """Shade the trained span and the incidents."""
    axes.axvspan(*_bar(int(time[TRAINED.start]), int(time[TRAINED.stop - 1])), color=_BLUE, alpha=0.08, linewidth=0)
    for incident in INCIDENTS:
        begin, end = int(time[incident.first]), int(time[incident.last])
        axes.axvspan(*_bar(begin, end), color=_ORANGE, alpha=0.3, linewidth=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)
    axes.tick_params(color=_GREY, labelcolor=_INK)


def _strip(axes: Axes, time: NDArray[np.int64], verdict: Verdict) -> None:
    """Draw incidents and alerts as bars in two lanes."""
    middle = _days(int(time[TRAINED.start] + time[TRAINED.stop - 1]) // 2)
    axes.text(middle, 0.5, "trained on this span", ha="center", va="center", color=_BLUE)
    for incident, alerts in zip(INCIDENTS, verdict.matches, strict=True):
        text = incident.what if alerts else f"{incident.what}: missed"
        _lane(axes, 1, int(time[incident.first]), int(time[incident.last]), _ORANGE, text)
        for alert in alerts:
            _alert(axes, alert, time, "")
    for alert in verdict.trained:
        _alert(axes, alert, time, ", not counted")
    for alert in verdict.false_alarms:
        _alert(axes, alert, time, ", false alarm")
    axes.set(ylim=(-0.6, 1.6))
    axes.set_yticks([0, 1], ["alerts, × line", "incidents"])
    axes.tick_params(axis="y", length=0)


def _alert(axes: Axes, alert: Raised, time: NDArray[np.int64], remark: str) -> None:
    """Draw an alert with how far above the line it opened."""
    end = int(time[-1]) if alert.resolved is None else alert.resolved
    _lane(axes, 0, alert.opened, end, _RED, f"{alert.anomaly_score:.3g}×{remark}")


def _lane(axes: Axes, lane: int, begin: int, end: int, color: str, text: str) -> None:
    """Draw a bar and write something behind it."""
    left, right = _bar(begin, end)
    axes.barh(lane, right - left, left=left, height=0.62, color=color)
    axes.annotate(text, (right, lane), xytext=(4, 0), textcoords="offset points", va="center", color=_INK, fontsize=9)


def _bar(begin: int, end: int) -> tuple[float, float]:
    """Return where a bar begins and ends; a short one is widened so that it can be seen."""
    return _days(begin), _days(max(end, begin + _LEAST))


def _days(ms: int) -> float:
    """Return a time as matplotlib counts it."""
    return ms / 86_400_000


def _broken(time: NDArray[np.int64], values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a line's points, with a hole at every pause."""
    holes = np.flatnonzero(np.diff(time) > _PAUSE) + 1
    return np.insert(time, holes, time[holes] - 1) / 86_400_000, np.insert(values, holes, np.nan)
