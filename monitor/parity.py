"""Two bundles of the same windows over one recording, window by window: how far they raise the same alerts.

One pass over the recording feeds two engines, each with its own streams, lines and alerts, as two daemons would be fed.
A window agrees if both give it the same status (over its line, ignored by a rule, unscored and why) and if the same
events come of it: those that fire and resolve, of the same alert, for the same reason and with the same severity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.alert import RULE, Alert
from monitor.config import Config
from monitor.engine import Engine, Work
from monitor.fleets import Loaded
from monitor.pipeline import STATUS, ScoreRows
from monitor.sources.base import Key, Source

_POLL_SECONDS = 0.2
_UNSCORED, _ANOMALOUS = STATUS.index("unscored"), STATUS.index("anomalous")

_Place = tuple[str, int, str, int]
"""A window: topic, partition, stream, end."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How far two bundles did the same.

    Attributes:
        windows: windows that one of them scored, or both.
        differing: how many of these do not agree.
        anomalous: of each bundle, windows over their line.
        firing: of each, anomalies that fired.
        middle: median difference of a window's two scores, as a share of the first one's score or line, whichever is
            greater: a score far below its line decides nothing. NaN without a window that both scored.
        largest: the largest one.
    """

    windows: int
    differing: int
    anomalous: tuple[int, int]
    firing: tuple[int, int]
    middle: float
    largest: float

    @property
    def share(self) -> float:
        """Share of the windows that agree; NaN without windows."""
        return 1 - self.differing / self.windows if self.windows else float("nan")


def compare(
    config: Config,
    first: Loaded,
    second: Loaded,
    source: Source,
    progress: Callable[[int], None] | None = None,
) -> Parity:
    """Run production with both bundles over a recording to its end, and close it.

    Args:
        config: the configuration; nothing that it names is touched.
        first: a bundle with its model.
        second: one whose windows and features are the same.
        source: the recording.
        progress: called after each poll with the number of records so far.

    Raises:
        ConfigError: if the configuration contradicts a bundle.
        SourceError: if the recording cannot be read.
    """
    engines = [Engine(config, each.bundle, each.model, keep_scores=True) for each in (first, second)]
    count, records = _Count(), 0
    try:
        while not source.exhausted:
            batches = source.poll(_POLL_SECONDS)
            records += sum(map(len, batches))
            one, other = (engine.process(batches) for engine in engines)
            count.add(one, other)
            if progress is not None:
                progress(records)
    finally:
        source.close()
    return count.parity()


class _Count:
    """What has been compared so far."""

    def __init__(self) -> None:
        self._windows = self._differing = 0
        self._anomalous, self._firing = [0, 0], [0, 0]
        self._differences = [np.zeros(0)]

    def add(self, one: Work, other: Work) -> None:
        """Compare what a poll became."""
        places: set[_Place] = set()
        for key, rows in one.output.scores.items():
            places |= self._rows(key, rows, other.output.scores[key])
        events = [{_event(alert): _place(alert) for alert in work.alerts} for work in (one, other)]
        alone = {(events[0] | events[1])[event] for event in events[0].keys() ^ events[1].keys()}
        self._differing += len(alone - places)
        for number, work in enumerate((one, other)):
            self._firing[number] += sum(alert.kind == RULE and alert.status == "firing" for alert in work.alerts)

    def _rows(self, key: Key, ours: Sequence[ScoreRows], theirs: Sequence[ScoreRows]) -> set[_Place]:
        """Compare the windows of a partition, the same in both; return those with another status."""
        stream = [name for part in ours for name in part.stream]
        end = _joined(ours, "time")
        status, reason = ([_joined(rows, name) for rows in (ours, theirs)] for name in ("status", "reason"))
        self._windows += int(np.count_nonzero((status[0] != _UNSCORED) | (status[1] != _UNSCORED)))
        for number, each in enumerate(status):
            self._anomalous[number] += int(np.count_nonzero(each == _ANOMALOUS))
        score, line = [_joined(rows, "score") for rows in (ours, theirs)], _joined(ours, "threshold")
        both = np.isfinite(score[0]) & np.isfinite(score[1])
        size = np.fmax(np.abs(score[0]), np.where(np.isfinite(line), line, 0))[both]
        apart = np.abs(score[1] - score[0])[both]
        self._differences.append(np.divide(apart, size, out=np.zeros_like(apart), where=apart > 0))
        other = np.flatnonzero((status[0] != status[1]) | (reason[0] != reason[1]))
        self._differing += len(other)
        return {(*key, stream[at], int(end[at])) for at in other.tolist()}

    def parity(self) -> Parity:
        """Return the figures."""
        differences = np.concatenate(self._differences)
        middle, largest = (
            (float(np.median(differences)), float(differences.max())) if len(differences) else (float("nan"),) * 2
        )
        anomalous, firing = ((counts[0], counts[1]) for counts in (self._anomalous, self._firing))
        return Parity(self._windows, self._differing, anomalous, firing, middle, largest)


def _joined(rows: Iterable[ScoreRows], name: str) -> NDArray[np.float64]:
    """Return a column of all rows."""
    return np.concatenate([getattr(part, name) for part in rows])


def _event(alert: Alert) -> tuple[str, int, str, str | None, str, int]:
    """Return what an event says, but for figures."""
    return alert.alert_id, alert.revision, alert.status, alert.reason, alert.severity, alert.time


def _place(alert: Alert) -> _Place:
    """Return the window that an event is of."""
    return alert.topic, alert.partition, alert.stream, alert.window_end
