"""The state machine of alerts, a window at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from monitor.alert.event import SEVERITIES, Alert, Expiry, alert_id
from monitor.alert.settings import AlertSettings
from monitor.duration import Duration
from monitor.record import NEVER
from monitor.score import Scored, shares, worst_rows
from monitor.table import StreamTable
from monitor.window import Windows

_LONGEST_AUTO_REST = 150


class Rest:
    """For how long after an opening none other opens."""

    def __init__(self, rest: int | Duration | Literal["auto"], windows_per_stream: float) -> None:
        """Set up; `windows_per_stream` of the bundle decides an automatic rest."""
        self._windows = self._ms = 0
        if isinstance(rest, Duration):
            self._ms = rest.ms
        elif isinstance(rest, int):
            self._windows = rest
        else:
            self._windows = min(round(0.2 * windows_per_stream), _LONGEST_AUTO_REST)

    def holds(self, index: int, opened_scored: int, end: int, opened_end: int) -> bool:
        """Return whether the scored window number `index` that ends at `end` is too close to the last opening."""
        if self._ms:
            # A window that ends before the opening comes after the stream's clock was set back.
            return opened_end != NEVER and opened_end <= end < opened_end + self._ms
        return index - opened_scored <= self._windows


@dataclass(frozen=True, slots=True)
class Rules:
    """What the machine goes by: section `alert`, the rest, names of what `Scored.said` has, and `labels.kind`.

    `figured`: whether its windows have figures of features. `whole`: whether an alert is of the whole partition, and
    named after it instead of the stream that stands for it.
    """

    settings: AlertSettings
    rest: Rest
    members: tuple[str, ...]
    kind: str
    figured: bool = True
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What is known of the windows of a batch; `index` is each one's number among the scored ones of its stream."""

    windows: Windows
    scored: Scored
    line: NDArray[np.float64]
    over: NDArray[np.bool_]
    index: NDArray[np.int64]


class Machine:
    """The state machine over the interesting windows of a batch."""

    def __init__(
        self,
        rules: Rules,
        table: StreamTable,
        column: Mapping[str, NDArray[Any]],
        partition: tuple[str, int],
        verdicts: Verdicts,
        figured: tuple[NDArray[np.intp], NDArray[np.float64]],
    ) -> None:
        """Set up.

        Args:
            rules: what the machine goes by.
            table: the partition's table.
            column: the alerter's columns of it.
            partition: topic and number.
            verdicts: what is known of all windows.
            figured: which windows are interesting and scored, and the confidence of each.
        """
        self._settings, self._rest, self._members = rules.settings, rules.rest, rules.members
        self._table, self._kind = table, rules.kind
        self._named, self._whole = rules.figured, rules.whole
        self._where = partition
        windows, scored = verdicts.windows, verdicts.scored
        self._windows, self._scored = windows, scored
        self._line, self._over, self._index = verdicts.line, verdicts.over, verdicts.index
        at, confidence = figured
        actual, expected = worst_rows(windows.values[at], scored.reconstruction[at])
        figures = np.stack([shares(scored.errors[at]), actual, expected], axis=1)
        self._figures = dict(zip(at.tolist(), figures, strict=True))
        self._confidence = dict(zip(at.tolist(), confidence.tolist(), strict=True))
        self._column = column

    def window(self, i: int) -> list[Alert]:
        """Take one window."""
        column, windows = self._column, self._windows
        slot = int(windows.slot[i])
        if windows.restarted[i]:
            column["over_run"][slot] = column["under_run"][slot] = 0
        if not self._scored.scored[i]:
            return []
        if column["firing"][slot]:
            return self._firing(slot, i)
        return self._quiet(slot, i)

    def expire(self, expiry: Expiry) -> list[Alert]:
        """Resolve the alert of a stream that fell silent, if it is firing."""
        return self.silence(expiry.slot, expiry.due, expiry.time, "expired")

    def silence(self, slot: int, due: int, time: int, reason: Literal["expired", "model_changed"]) -> list[Alert]:
        """Resolve the alert of a stream without a window, if it is firing."""
        column = self._column
        if not column["firing"][slot]:
            return []
        column["firing"][slot] = False
        column["over_run"][slot] = column["under_run"][slot] = 0
        return [self._event(slot, due, time, reason)]

    def _quiet(self, slot: int, i: int) -> list[Alert]:
        """Count towards an opening."""
        column, windows = self._column, self._windows
        end = int(windows.end[i])
        resting = self._rest.holds(
            int(self._index[i]), int(column["opened_scored"][slot]), end, int(column["opened_end"][slot])
        )
        if not self._over[i] or resting:
            column["over_run"][slot] = 0
            return []
        if column["over_run"][slot] == 0:
            column["starts_at"][slot] = end
        column["over_run"][slot] += 1
        if column["over_run"][slot] < self._settings.open_after:
            return []
        column["firing"][slot] = True
        column["over_run"][slot] = column["under_run"][slot] = column["revision"][slot] = 0
        column["opened_scored"][slot] = self._index[i]
        column["opened_end"][slot] = end
        column["opened_offset"][slot] = windows.high[i]
        column["opened_partition"][slot] = -1
        anomaly_score = self._scored.score[i] / self._line[i]
        severity = self._settings.severity
        column["severity"][slot] = int(anomaly_score >= severity.warning) + int(anomaly_score >= severity.critical)
        self._remember(slot, i)
        return [self._event(slot, int(windows.due[i]), end, None, i)]

    def _firing(self, slot: int, i: int) -> list[Alert]:
        """Count towards a recovery."""
        column, windows = self._column, self._windows
        self._remember(slot, i)
        column["under_run"][slot] = 0 if self._over[i] else column["under_run"][slot] + 1
        if column["under_run"][slot] < self._settings.resolve_after:
            return []
        column["firing"][slot] = False
        column["over_run"][slot] = column["under_run"][slot] = 0
        return [self._event(slot, int(windows.due[i]), int(windows.end[i]), "recovered", i)]

    def _remember(self, slot: int, i: int) -> None:
        """Keep the figures of a firing stream's last scored window."""
        column, windows = self._column, self._windows
        column["last_score"][slot] = self._scored.score[i]
        column["last_line"][slot] = self._line[i]
        column["last_window"][slot] = (windows.start[i], windows.end[i], windows.low[i], windows.high[i])
        column["last_figures"][slot] = self._figures[i]
        column["last_confidence"][slot] = self._confidence[i]

    def _event(
        self,
        slot: int,
        due: int,
        time: int,
        reason: Literal["recovered", "expired", "model_changed"] | None,
        i: int | None = None,
    ) -> Alert:
        """Return the next event of a stream's alert, caused by the window `i` where one causes it."""
        column = self._column
        topic, partition = self._where
        if reason is not None:
            column["revision"][slot] += 1
        start, end, low, high = column["last_window"][slot].tolist()
        opened = int(column["opened_partition"][slot])
        opened = partition if opened < 0 else opened
        stream = f"{topic}/{opened}" if self._whole else self._table.id_of(slot)
        figures = column["last_figures"][slot].copy() if self._named else np.zeros((3, 0), np.float32)
        confidence = float(column["last_confidence"][slot])
        said = None if i is None else self._scored.said
        return Alert(
            topic=topic,
            partition=partition,
            kind=self._kind,
            due=due,
            stream=stream,
            alert_id=alert_id(
                topic, opened, int(column["opened_offset"][slot]), stream, self._kind, int(column["opened_end"][slot])
            ),
            revision=int(column["revision"][slot]),
            status="firing" if reason is None else "resolved",
            reason=reason,
            time=time,
            starts_at=int(column["starts_at"][slot]),
            ends_at=None if reason is None else time,
            score=float(column["last_score"][slot]),
            threshold=float(column["last_line"][slot]),
            severity=SEVERITIES[column["severity"][slot]],
            shares=figures[0],
            actual=figures[1],
            expected=figures[2],
            window_start=start,
            window_end=end,
            first_offset=low,
            last_offset=high,
            confidence=None if np.isnan(confidence) else confidence,
            members=() if said is None else tuple(zip(self._members, said[i].tolist(), strict=True)),
        )
