"""Alerts: windows over the line → one firing and one resolved event for each incident.

The alerter is a small state machine for each stream: `open_after` windows over the line in a row open an alert,
`resolve_after` windows under it in a row resolve it, and for a while after each opening no other one opens (`rest`).
Only streams that are firing or have a window over the line are looked at; all others cost a few array operations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from monitor.duration import Duration, PositiveDuration
from monitor.ignore import IgnoreRule
from monitor.record import NEVER
from monitor.score import Scored, shares, worst_rows
from monitor.table import Column, StreamTable
from monitor.window.windows import Windows

RULE = "anomaly"
SEVERITIES = ("info", "warning", "critical")
"""What an alert can be, by its `anomaly_score` at opening."""

_LONGEST_AUTO_REST = 150
_UNRESTED = -(2**62)


class Severity(BaseModel):
    """From which `anomaly_score` on, at opening, an alert is what; below `warning` it is `info`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    warning: Annotated[float, Field(gt=0)] = Field(
        1.0, description="anomaly_score from which an alert is a warning; below it is info"
    )
    critical: Annotated[float, Field(gt=0)] = Field(2.0, description="anomaly_score from which it is critical")


class AlertSettings(BaseModel):
    """Section `alert`: when an alert opens, resolves, and stays away."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    open_after: Annotated[int, Field(ge=1, le=10_000)] = Field(
        2, description="windows over the line in a row that open"
    )
    resolve_after: Annotated[int, Field(ge=1, le=10_000)] = Field(
        5, description="windows not over the line in a row that resolve"
    )
    rest: Annotated[int, Field(ge=0)] | Duration | Literal["auto"] = Field(
        "auto",
        description="after an opening none other opens: windows, event time such as 2h, or auto (a fifth of the"
        " bundle's windows_per_stream, at most 150)",
    )
    expire: PositiveDuration = Field(
        Duration("1d"), description="a firing alert whose stream sends nothing for so long (partition time) resolves"
    )
    severity: Severity = Field(
        Severity(), description="anomaly_score from which an alert is a warning, or critical; below it is info"
    )
    ignore: tuple[IgnoreRule, ...] = Field((), description="rules for windows over their line that do not count")

    @model_validator(mode="after")
    def _rising(self) -> AlertSettings:
        if self.severity.critical < self.severity.warning:
            message = "severity.critical must not be below severity.warning"
            raise ValueError(message)
        return self


@dataclass(frozen=True, slots=True)
class Alert:
    """One event of an alert's life, all that the CloudEvent says and what orders it.

    `due` is the offset of the record that caused it. Arrays have one entry a feature.
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

    @property
    def order(self) -> tuple[str, int, int, str, int, str, int]:
        """What alerts are sorted by when they leave."""
        return (self.topic, self.partition, self.due, self.stream, self.window_end, RULE, self.revision)


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


class Alerter:
    """Opens and resolves alerts."""

    def __init__(self, settings: AlertSettings, features: int, windows_per_stream: float) -> None:
        """Set up for `features` features; `windows_per_stream` of the bundle decides an automatic rest."""
        self.settings = settings
        rest = settings.rest
        self._rest_windows = self._rest_ms = 0
        if isinstance(rest, Duration):
            self._rest_ms = rest.ms
        elif isinstance(rest, int):
            self._rest_windows = rest
        else:
            self._rest_windows = min(round(0.2 * windows_per_stream), _LONGEST_AUTO_REST)
        self.columns = (
            Column("firing", np.bool_),
            Column("over_run", np.int32),
            Column("under_run", np.int32),
            Column("scored", np.int64),  # windows scored so far
            Column("opened_scored", np.int64, initial=_UNRESTED),
            Column("opened_end", np.int64, initial=NEVER),
            Column("opened_offset", np.int64),
            Column("opened_partition", np.int32, initial=-1),  # where that was, if the stream has moved since
            Column("starts_at", np.int64),  # end of the first window over the line in a row, or of the firing alert
            Column("revision", np.int32),
            Column("severity", np.int8),  # index into `SEVERITIES`
            # The last scored window of a firing stream, for an event that no window causes.
            Column("last_score", np.float64),
            Column("last_line", np.float64),
            Column("last_window", np.int64, (4,)),  # start, end, low, high
            Column("last_figures", np.float32, (3, features)),  # shares, actual, expected
        )

    def interesting(
        self, table: StreamTable, windows: Windows, over: NDArray[np.bool_], extra: Sequence[int] = ()
    ) -> NDArray[np.bool_]:
        """Return which windows belong to streams that the state machine must look at."""
        slots = windows.slot
        mark = np.zeros(table.capacity, np.bool_)
        mark[slots[over]] = True
        mark[list(extra)] = True
        found: NDArray[np.bool_] = mark[slots] | table["firing"][slots] | (table["over_run"][slots] > 0)
        return found

    def process(
        self,
        table: StreamTable,
        partition: tuple[str, int],
        windows: Windows,
        scored: Scored,
        line: NDArray[np.float64],
        over: NDArray[np.bool_],
        expiries: Sequence[Expiry],
    ) -> list[Alert]:
        """Return the events that these windows and expiries make.

        Args:
            table: the partition's table.
            partition: topic and number.
            windows: sorted by slot, in order within a slot.
            scored: their scores.
            line: their lines, NaN where not scored.
            over: which windows are over their line.
            expiries: moments at which silence resolves an alert, if the stream is firing then.
        """
        at = np.flatnonzero(self.interesting(table, windows, over, [expiry.slot for expiry in expiries]))
        index = self._numbers(table, windows, scored.scored)
        alerts: list[Alert] = []
        if len(at) or expiries:
            machine = _Machine(self, table, partition, _Verdicts(windows, scored, line, over, index), at)
            for kind, place in _merge(windows, at, expiries):
                alerts.extend(machine.expire(expiries[place]) if kind else machine.window(place))
        return alerts

    def model_changed(
        self, table: StreamTable, partition: tuple[str, int], slots: NDArray[np.intp], due: int, time: int
    ) -> list[Alert]:
        """Resolve the alerts of these firing streams, because another model scores them from here on.

        Args:
            table: the partition's table.
            partition: topic and number.
            slots: streams that are firing.
            due: offset that orders the events.
            time: the partition's time.
        """
        features = table["last_figures"].shape[-1]
        none = np.zeros(0)
        windows = Windows.none(1, features)
        scored = Scored(none > 0, none, np.zeros((0, features), np.float32), windows.values)
        verdicts = _Verdicts(windows, scored, none, none > 0, none.astype(np.int64))
        machine = _Machine(self, table, partition, verdicts, np.zeros(0, np.intp))
        return [event for slot in slots.tolist() for event in machine.silence(slot, due, time, "model_changed")]

    def resting(self, index: int, opened_scored: int, end: int, opened_end: int) -> bool:
        """Return whether the scored window number `index` that ends at `end` is too close to the last opening."""
        if self._rest_ms:
            # A window that ends before the opening comes after the stream's clock was set back.
            return opened_end != NEVER and opened_end <= end < opened_end + self._rest_ms
        return index - opened_scored <= self._rest_windows

    @staticmethod
    def _numbers(table: StreamTable, windows: Windows, scored: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the number of each window among the scored ones of its stream, and count them."""
        if len(windows) == 0:
            return np.zeros(0, np.int64)
        starts = np.flatnonzero(np.concatenate([[True], windows.slot[1:] != windows.slot[:-1]]))
        counts = np.diff(np.append(starts, len(windows)))
        running = np.cumsum(scored)
        column = table["scored"]
        base = column[windows.slot[starts]] - running[starts] + scored[starts]
        index: NDArray[np.int64] = running + np.repeat(base, counts)
        column[windows.slot[starts]] = index[starts + counts - 1]
        return index


def _merge(windows: Windows, at: NDArray[np.intp], expiries: Sequence[Expiry]) -> Iterator[tuple[int, int]]:
    """Yield (0, window) and (1, expiry), each stream's in the order of the records that caused them."""
    if not expiries:
        for place in at.tolist():
            yield 0, place
        return
    items = [(int(windows.slot[i]), int(windows.due[i]), 0, order, i) for order, i in enumerate(at.tolist())]
    items += [(expiry.slot, expiry.due, 1, order, order) for order, expiry in enumerate(expiries)]
    for _, _, kind, _, place in sorted(items):
        yield kind, place


@dataclass(frozen=True, slots=True)
class _Verdicts:
    """What is known of the windows of a batch; `index` is each one's number among the scored ones of its stream."""

    windows: Windows
    scored: Scored
    line: NDArray[np.float64]
    over: NDArray[np.bool_]
    index: NDArray[np.int64]


class _Machine:
    """The state machine, a window at a time, over the interesting windows `at`."""

    def __init__(
        self,
        alerter: Alerter,
        table: StreamTable,
        partition: tuple[str, int],
        verdicts: _Verdicts,
        at: NDArray[np.intp],
    ) -> None:
        self._alerter = alerter
        self._settings = alerter.settings
        self._table = table
        self._where = partition
        windows, scored = verdicts.windows, verdicts.scored
        self._windows, self._scored = windows, scored
        self._line, self._over, self._index = verdicts.line, verdicts.over, verdicts.index
        figured = at[scored.scored[at]]
        actual, expected = worst_rows(windows.values[figured], scored.reconstruction[figured])
        figures = np.stack([shares(scored.errors[figured]), actual, expected], axis=1)
        self._figures = dict(zip(figured.tolist(), figures, strict=True))
        self._column: dict[str, NDArray[Any]] = {column.name: table[column.name] for column in alerter.columns}

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
        resting = self._alerter.resting(
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
        return [self._event(slot, int(windows.due[i]), end, None)]

    def _firing(self, slot: int, i: int) -> list[Alert]:
        """Count towards a recovery."""
        column, windows = self._column, self._windows
        self._remember(slot, i)
        column["under_run"][slot] = 0 if self._over[i] else column["under_run"][slot] + 1
        if column["under_run"][slot] < self._settings.resolve_after:
            return []
        column["firing"][slot] = False
        column["over_run"][slot] = column["under_run"][slot] = 0
        return [self._event(slot, int(windows.due[i]), int(windows.end[i]), "recovered")]

    def _remember(self, slot: int, i: int) -> None:
        """Keep the figures of a firing stream's last scored window."""
        column, windows = self._column, self._windows
        column["last_score"][slot] = self._scored.score[i]
        column["last_line"][slot] = self._line[i]
        column["last_window"][slot] = (windows.start[i], windows.end[i], windows.low[i], windows.high[i])
        column["last_figures"][slot] = self._figures[i]

    def _event(
        self, slot: int, due: int, time: int, reason: Literal["recovered", "expired", "model_changed"] | None
    ) -> Alert:
        """Return the next event of a stream's alert."""
        column = self._column
        topic, partition = self._where
        stream = self._table.id_of(slot)
        if reason is not None:
            column["revision"][slot] += 1
        start, end, low, high = column["last_window"][slot].tolist()
        opened = int(column["opened_partition"][slot])
        opened = partition if opened < 0 else opened
        figures = column["last_figures"][slot].copy()
        return Alert(
            topic=topic,
            partition=partition,
            due=due,
            stream=stream,
            alert_id=alert_id(
                topic, opened, int(column["opened_offset"][slot]), stream, RULE, int(column["opened_end"][slot])
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
        )
