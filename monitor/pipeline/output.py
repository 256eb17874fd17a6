"""What a batch made: alerts, counts, and a row a window where they were asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from monitor.alert import Alert
from monitor.score import UNSCORED

STATUS = ("unscored", "normal", "anomalous")
"""What a window can be; `ScoreRows.status` is an index into it."""

REASONS = ("", *UNSCORED, "ignored")
"""Why a window is unscored, or normal over its line, else empty; `ScoreRows.reason` is an index into it."""


@dataclass(frozen=True, slots=True)
class ScoreRows:
    """One row a window of one partition.

    Attributes:
        stream: ids.
        time: `(n,)` int64 ms, the window's end.
        offset: `(n,)` int64, the window's largest offset.
        due: `(n,)` int64, offset of the record that made it due.
        score: `(n,)` float64, NaN where unscored.
        threshold: `(n,)` float64, the line, NaN where unscored.
        status: `(n,)` int8, index into `STATUS`.
        reconstruction: `(n, F)` float32, what the model expected at the window's last row.
        reason: `(n,)` int8, index into `REASONS`.
    """

    stream: list[str]
    time: NDArray[np.int64]
    offset: NDArray[np.int64]
    due: NDArray[np.int64]
    score: NDArray[np.float64]
    threshold: NDArray[np.float64]
    status: NDArray[np.int8]
    reconstruction: NDArray[np.float32]
    reason: NDArray[np.int8]


@dataclass(slots=True)
class Output:
    """What a batch made. Offsets are kept by (topic, partition).

    Attributes:
        alerts: sorted by topic, partition, offset of the causing record, stream, window end, rule, revision.
        late: offsets of late records; those that waited for long may have come in an earlier batch.
        repeated: offsets of repeated records.
        refused: offsets of records of streams beyond `record.max_streams`.
        windows: how many windows became due.
        scored: how many of them were scored.
        unscored: how many of them were not, by reason.
        ignored: how many were over their line, and do not count by a rule of `alert.ignore`.
        stream_ms: event time that scored windows cover, of all streams together: the newest `stride` rows of each.
        anomaly_scores: score ÷ line of the scored windows, an array for each slice and partition.
        clock_resets: how many times a stream's clock was set back.
        scores: a row a window, where they were asked for.
    """

    alerts: list[Alert] = field(default_factory=list)
    late: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    repeated: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    refused: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    windows: int = 0
    scored: int = 0
    unscored: Counter[str] = field(default_factory=Counter)
    ignored: int = 0
    stream_ms: float = 0.0
    anomaly_scores: list[NDArray[np.float64]] = field(default_factory=list)
    clock_resets: int = 0
    scores: dict[tuple[str, int], list[ScoreRows]] = field(default_factory=dict)

    @classmethod
    def joined(cls, parts: Sequence[Output]) -> Output:
        """Return what several pipelines made of their streams' parts of one batch."""
        whole = cls(alerts=sorted((alert for part in parts for alert in part.alerts), key=lambda alert: alert.order))
        for part in parts:
            for mine, theirs in (
                (whole.late, part.late),
                (whole.repeated, part.repeated),
                (whole.refused, part.refused),
            ):
                for key, offsets in theirs.items():
                    mine.setdefault(key, []).extend(offsets)
            for key, rows in part.scores.items():
                whole.scores.setdefault(key, []).extend(rows)
            whole.windows += part.windows
            whole.scored += part.scored
            whole.unscored += part.unscored
            whole.ignored += part.ignored
            whole.stream_ms += part.stream_ms
            whole.anomaly_scores += part.anomaly_scores
            whole.clock_resets += part.clock_resets
        return whole
