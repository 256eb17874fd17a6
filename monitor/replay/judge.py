"""Alerts against labelled events; the rule is in the package's docstring."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monitor.alert import RULE, Alert
from monitor.dataset import Range
from monitor.sources.base import Batch, Rows
from monitor.threshold import DAY_MS

_NEVER_ENDED = 2**62

Span = tuple[int, int]
"""First and last time, ms, both included."""


@dataclass(slots=True)
class Raised:
    """An alert: which stream, from when to when, and when it fired; ms."""

    stream: str
    start: int
    fired: int
    end: int = _NEVER_ENDED

    def hits(self, event: Range) -> bool:
        """Return whether it overlaps an event of its stream."""
        return self.start <= event.end and event.start <= self.end


class Raises:
    """The alerts of a replay by their id, those of kind `anomaly`; the others are counted.

    Attributes:
        alerts: anomalies by their id.
        faults: alerts on the data themselves that fired, by kind.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self.alerts: dict[str, Raised] = {}
        self.faults: Counter[str] = Counter()

    def add(self, events: Iterable[Alert]) -> None:
        """Take events in order."""
        for event in events:
            if event.kind != RULE:
                self.faults[event.kind] += event.status == "firing"
                continue  # labels tell of anomalies; a fault of the data is neither a hit nor a false alarm
            if event.status == "firing":
                self.alerts[event.alert_id] = Raised(event.stream, event.starts_at, event.time)
            elif event.alert_id in self.alerts and event.ends_at is not None:
                self.alerts[event.alert_id].end = event.ends_at


class LabelColumn:
    """Labelled events from the rows of a recording.

    Attributes:
        present: whether a row with the column has come.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self.present = False
        self._open: dict[tuple[str, int, str], Span] = {}
        self._events: list[Range] = []

    def take(self, batch: Batch | Rows) -> None:
        """Take a batch; batches of a partition come in order."""
        if not isinstance(batch, Rows) or batch.label is None:
            return
        self.present = True
        order = np.argsort(batch.stream, kind="stable")
        codes, starts = np.unique(batch.stream[order], return_index=True)
        ends = [*starts[1:].tolist(), len(order)]
        for code, start, end in zip(codes.tolist(), starts.tolist(), ends, strict=True):
            place = (batch.topic, batch.partition, batch.streams[code])
            rows = order[start:end]
            label = batch.label[rows]
            if label.any() or place in self._open:
                self._follow(place, batch.time[rows].tolist(), label.tolist())

    def _follow(self, place: tuple[str, int, str], times: Sequence[int], labels: Sequence[bool]) -> None:
        """Lengthen, open and end the run of one stream."""
        run = self._open.pop(place, None)
        for time, label in zip(times, labels, strict=True):
            if label:
                run = (time, time) if run is None else (min(run[0], time), max(run[1], time))
            elif run is not None:
                self._events.append(Range(place[2], *run))
                run = None
        if run is not None:
            self._open[place] = run

    def events(self) -> list[Range]:
        """Return the events so far, those that last included."""
        return self._events + [Range(place[2], *run) for place, run in self._open.items()]


def figures(
    events: Sequence[Range], raised: Sequence[Raised], spans: Mapping[str, Span], days: float
) -> dict[str, float | int | None]:
    """Return the figures of the report that labels give.

    Args:
        events: labelled events.
        raised: the alerts.
        spans: first and last used time of each stream id, over all partitions that have it.
        days: days of all streams.
    """
    inside = [event for event in events if _inside(event, spans)]
    of_stream: dict[str, list[Raised]] = {}
    for alert in raised:
        of_stream.setdefault(alert.stream, []).append(alert)
    delays: list[float] = []
    right: set[int] = set()
    for event in inside:
        hits = [alert for alert in of_stream.get(event.stream, ()) if alert.hits(event)]
        right.update(map(id, hits))
        if hits:
            delays.append(max(0, min(alert.fired for alert in hits) - event.start) / 1000)
    false = len(raised) - len(right)
    precision = _ratio(len(right), len(raised))
    recall = _ratio(len(delays), len(inside))
    return {
        "precision": precision,
        "recall": recall,
        "f1": _f1(precision, recall),
        "detection_delay_seconds": _ratio(math.fsum(delays), len(delays)),
        "false_alarms_per_stream_day": _ratio(false, days),
        "labelled_events": len(inside),
        "labelled_events_found": len(delays),
        "labelled_events_outside": len(events) - len(inside),
        "false_alarms": false,
        "stream_days": days,
    }


def days_of(spans: Iterable[Span]) -> float:
    """Return the days of all streams together."""
    return sum(last - first for first, last in spans) / DAY_MS


def _inside(event: Range, spans: Mapping[str, Span]) -> bool:
    first, last = spans.get(event.stream, (1, 0))
    return event.start <= last and first <= event.end and first <= last


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _f1(precision: float | None, recall: float | None) -> float | None:
    if precision is None or recall is None:
        return None
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
