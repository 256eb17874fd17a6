"""Alerts: windows over the line → one firing and one resolved event for each incident.

The alerter is a small state machine for each stream: `open_after` windows over the line in a row open an alert,
`resolve_after` windows under it in a row resolve it, and for a while after each opening no other one opens (`rest`).
Only streams that are firing or have a window over the line are looked at; all others cost a few array operations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from monitor.alert.event import RULE, Alert, Expiry
from monitor.alert.machine import Machine, Rest, Rules, Verdicts
from monitor.alert.settings import AlertSettings
from monitor.record import NEVER
from monitor.score import Scored
from monitor.table import Column, StreamTable
from monitor.threshold import Learned
from monitor.window import Windows
from monitor.window.rows import group_starts

_UNRESTED = -(2**62)


class Alerter:
    """Opens and resolves alerts of one kind.

    Attributes:
        settings: section `alert`.
        kind: `labels.kind`.
        columns: its state.
    """

    def __init__(
        self,
        settings: AlertSettings,
        features: int,
        windows_per_stream: float,
        learned: Learned | None = None,
        members: Sequence[str] = (),
        kind: str = RULE,
        *,
        figured: bool = True,
        whole: bool = False,
    ) -> None:
        """Set up.

        Args:
            settings: section `alert`.
            features: their number.
            windows_per_stream: of the bundle; it decides an automatic rest.
            learned: how much of a line is its stream's own; None = nothing ever is.
            members: of the detector, in the order of `Scored.said`.
            kind: `labels.kind` of its alerts.
            figured: whether its windows have figures of features; without, `attribution` is empty.
            whole: whether its alerts are of the whole partition.
        """
        self.settings, self.kind = settings, kind
        self._learned = learned
        self._rules = Rules(settings, Rest(settings.rest, windows_per_stream), tuple(members), kind, figured, whole)
        at = self._at = "" if kind == RULE else f"{kind}_"  # begins the names of the columns
        self.columns = (
            Column(f"{at}firing", np.bool_),
            Column(f"{at}over_run", np.int32),
            Column(f"{at}under_run", np.int32),
            Column(f"{at}scored", np.int64),  # windows scored so far
            Column(f"{at}opened_scored", np.int64, initial=_UNRESTED),
            Column(f"{at}opened_end", np.int64, initial=NEVER),
            Column(f"{at}opened_offset", np.int64),
            Column(f"{at}opened_partition", np.int32, initial=-1),  # where that was, if the stream has moved since
            Column(
                f"{at}starts_at", np.int64
            ),  # end of the first window over the line in a row, or of the firing alert
            Column(f"{at}revision", np.int32),
            Column(f"{at}severity", np.int8),  # index into `SEVERITIES`
            # The last scored window of a firing stream, for an event that no window causes.
            Column(f"{at}last_score", np.float64),
            Column(f"{at}last_line", np.float64),
            Column(f"{at}last_window", np.int64, (4,)),  # start, end, low, high
            Column(f"{at}last_figures", np.float32, (3, features)),  # shares, actual, expected
            Column(f"{at}last_confidence", np.float64),
        )

    def firing(self, table: StreamTable) -> NDArray[np.bool_]:
        """Return for each slot whether its alert is firing."""
        found: NDArray[np.bool_] = table[f"{self._at}firing"]
        return found

    def forget_runs(self, table: StreamTable) -> NDArray[np.intp]:
        """Let what counts towards an opening begin anew; return the slots where something had."""
        waiting = np.flatnonzero(table[f"{self._at}over_run"] > 0)
        table[f"{self._at}over_run"][waiting] = 0
        return waiting

    def moved(self, table: StreamTable, slots: NDArray[np.intp], source: int, target: int) -> None:
        """Streams have come from another partition: what fires goes on under the id that it has."""
        opened = table[f"{self._at}opened_partition"]
        opened[slots] = np.where(self.firing(table)[slots] & (opened[slots] < 0), source, opened[slots])
        opened[slots[opened[slots] == target]] = -1

    def interesting(
        self, table: StreamTable, windows: Windows, over: NDArray[np.bool_], extra: Sequence[int] = ()
    ) -> NDArray[np.bool_]:
        """Return which windows belong to streams that the state machine must look at."""
        slots = windows.slot
        mark = np.zeros(table.capacity, np.bool_)
        mark[slots[over]] = True
        mark[list(extra)] = True
        found: NDArray[np.bool_] = mark[slots] | self.firing(table)[slots] | (table[f"{self._at}over_run"][slots] > 0)
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
        if len(windows) == 0 and not expiries:
            return []
        at = self.interesting(table, windows, over, [expiry.slot for expiry in expiries]).nonzero()[0]
        index = self._numbers(table, windows, scored.scored)
        alerts: list[Alert] = []
        if len(at) or expiries:
            machine = self._machine(table, partition, Verdicts(windows, scored, line, over, index), at)
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
        features = table[f"{self._at}last_figures"].shape[-1]
        none = np.zeros(0)
        windows = Windows.none(1, features)
        scored = Scored(none > 0, none, np.zeros((0, features), np.float32), windows.values)
        verdicts = Verdicts(windows, scored, none, none > 0, none.astype(np.int64))
        machine = self._machine(table, partition, verdicts, np.zeros(0, np.intp))
        return [event for slot in slots.tolist() for event in machine.silence(slot, due, time, "model_changed")]

    def _machine(
        self, table: StreamTable, partition: tuple[str, int], verdicts: Verdicts, at: NDArray[np.intp]
    ) -> Machine:
        """Return the state machine for the windows `at`."""
        column = {column.name.removeprefix(self._at): table[column.name] for column in self.columns}
        figured = at[verdicts.scored.scored[at]]
        confidence = np.full(len(figured), np.nan)
        if self._learned is not None and len(figured):
            slots = verdicts.windows.slot[figured]
            after = table[f"{self._at}scored"][slots] - verdicts.index[figured]  # windows of the stream that came since
            confidence = self._learned.share(table, slots, after + 1)
        return Machine(self._rules, table, column, partition, verdicts, (figured, confidence))

    def _numbers(self, table: StreamTable, windows: Windows, scored: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the number of each window among the scored ones of its stream, and count them."""
        if len(windows) == 0:
            return np.zeros(0, np.int64)
        starts = group_starts(windows.slot)
        counts = np.diff(np.append(starts, len(windows)))
        running = np.cumsum(scored)
        column = table[f"{self._at}scored"]
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
