"""The recording of the demo, what is documented of it, and which alert belongs to what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.times import to_iso

STREAM, FEATURE = "water-flow", "flow"
LENGTH, STRIDE = 24, 1


@dataclass(frozen=True, slots=True)
class Incident:
    """A documented incident: its first and last row, both included, and what was seen."""

    first: int
    last: int
    what: str


INCIDENTS = (
    Incident(93, 114, "low flow"),
    Incident(197, 224, "low flow"),
    Incident(329, 329, "short peak"),
    Incident(872, 889, "low flow"),
)

TRAINED = range(340, 860)
"""The rows that the model learns from: between incidents."""

RULE = (
    "An alert belongs to an incident if the time from its opening to its resolving meets the time from the incident's"
    f" first row to {LENGTH} rows (a window) after its last one. What opens within the trained span counts neither way."
    " Everything else is a false alarm."
)


@dataclass(frozen=True, slots=True)
class Recording:
    """Rows of one stream: `(n,)` int64 times in ms, rising, and `(n,)` float64 flow in litres a second."""

    time: NDArray[np.int64]
    flow: NDArray[np.float64]

    def csv(self, rows: Sequence[int], *, labels: bool) -> str:
        """Return rows as CSV, with a column that labels the incidents if asked."""
        anomalous = {row for incident in INCIDENTS for row in range(incident.first, incident.last + 1)}
        lines = [f"time,stream,{FEATURE}" + (",label" if labels else "")]
        for row in rows:
            line = f"{to_iso(int(self.time[row]))},{STREAM},{self.flow[row]!s}"
            lines.append(f"{line},{int(row in anomalous)}" if labels else line)
        return "\n".join(lines) + "\n"


def water_flow() -> Recording:
    """Return the recording, out of river's package: 1,268 hourly rows of the flow through a branch of a pipeline."""
    from river.datasets import WaterFlow

    rows = list(WaterFlow())  # type: ignore[no-untyped-call] # river has no types
    # Whole seconds with an offset each; the change to summer time lies within.
    time = np.array([round(features["Time"].timestamp()) for features, _ in rows], np.int64) * 1_000
    return Recording(time, np.array([flow for _, flow in rows], np.float64))


@dataclass(frozen=True, slots=True)
class Raised:
    """An alert, out of its events.

    Attributes:
        opened: event time of the window that opened it, ms.
        resolved: event time of the window that resolved it; None if it still fires at the end.
        anomaly_score: score ÷ line when it opened.
        severity: `info`, `warning` or `critical`.
    """

    opened: int
    resolved: int | None
    anomaly_score: float
    severity: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the demo says of each alert and incident.

    Attributes:
        matches: for each of `INCIDENTS`, the alerts that belong to it.
        false_alarms: alerts that belong to none.
        trained: alerts within the trained span, which count neither way.
    """

    matches: tuple[tuple[Raised, ...], ...]
    false_alarms: tuple[Raised, ...]
    trained: tuple[Raised, ...]

    @property
    def found(self) -> int:
        """How many incidents have an alert."""
        return sum(1 for alerts in self.matches if alerts)


def judge(alerts: Sequence[Raised], time: NDArray[np.int64]) -> Verdict:
    """Find what each alert belongs to, by `RULE`.

    Args:
        alerts: in order of time.
        time: `(n,)` time of each row of the recording.
    """
    last = len(time) - 1
    matches = tuple(
        tuple(
            alert
            for alert in alerts
            if alert.opened <= time[min(incident.last + LENGTH, last)]
            and (alert.resolved is None or alert.resolved >= time[incident.first])
        )
        for incident in INCIDENTS
    )
    belonging = {alert for found in matches for alert in found}
    others = [alert for alert in alerts if alert not in belonging]
    trained = tuple(a for a in others if time[TRAINED.start] <= a.opened <= time[TRAINED.stop - 1])
    return Verdict(matches, tuple(alert for alert in others if alert not in trained), trained)
