"""What an alert tells: one event of its life, and what its id is made of."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

RULE = "anomaly"
SEVERITIES = ("info", "warning", "critical")
"""What an alert can be, by its `anomaly_score` at opening."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One event of an alert's life, all that the CloudEvent says and what orders it.

    `due` is the offset of the record that caused it. Arrays have one entry a feature. `confidence` is how much of the
    line was the stream's own, None where nothing is learned. `members` says what each member of a detector made of the
    window, on the scale of `score`; it is empty without a detector, and where no window causes the event.
    """

    topic: str
    partition: int
    due: int
    stream: str
    alert_id: str
    revision: int
    status: Literal["firing", "resolved"]
    reason: Literal["recovered", "expired", "model_changed"] | None
    time: int
    starts_at: int
    ends_at: int | None
    score: float
    threshold: float
    severity: str
    shares: NDArray[np.float32]
    actual: NDArray[np.float32]
    expected: NDArray[np.float32]
    window_start: int
    window_end: int
    first_offset: int
    last_offset: int
    confidence: float | None = None
    members: tuple[tuple[str, float], ...] = ()
    kind: str = RULE

    @property
    def order(self) -> tuple[str, int, int, str, int, str, int]:
        """What alerts are sorted by when they leave."""
        return (self.topic, self.partition, self.due, self.stream, self.window_end, self.kind, self.revision)


@dataclass(frozen=True, slots=True)
class Expiry:
    """A stream fell silent for `alert.expire`: at the record `due`, with the partition's time at `time`."""

    slot: int
    due: int
    time: int


def alert_id(topic: str, partition: int, offset: int, stream: str, rule: str, window_end: int) -> str:
    """Return the id of an alert: a function of the window that opened it, so that a replay makes the same."""
    parts = (topic, str(partition), str(offset), stream, rule, str(window_end))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
