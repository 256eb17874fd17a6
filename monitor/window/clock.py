"""The clock of each stream: which record is used, late, repeated or held, and when the clock is set back.

Nearly all streams of nearly all batches send times that rise by small steps; those are judged by a few array
operations. Only the streams that do anything else in this batch go, record by record, through `_Judge`, which is the
definition of the rules.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from monitor.record import NEVER, Records
from monitor.table import Column, StreamTable
from monitor.window.rows import Arrivals, group_starts
from monitor.window.settings import WindowSettings

REMEMBERED = 32
"""A stream knows the times of its last so many accepted records, so that a batch that a producer sends twice is
`repeated` and does not look like a clock that was set back."""

CLOCK_RESET_RUN = 8
"""The so-manieth late record in a row, in strictly rising order, sets the clock back."""

_SENSOR_BITS = 16


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a batch's records.

    Attributes:
        arrivals: the accepted records, sorted by slot.
        by_due: indices into `arrivals` in the order of the records that made them accepted.
        late: offsets of late records.
        repeated: offsets of repeated records.
        slots: the distinct slots of the batch, rising.
        seen_before: the latest time of each of `slots` before the batch, `NEVER` for a new stream.
    """

    arrivals: Arrivals
    by_due: NDArray[np.intp]
    late: list[int]
    repeated: list[int]
    slots: NDArray[np.int32]
    seen_before: NDArray[np.int64]


class Clock:
    """Judges records against the clock of their stream."""

    def __init__(self, settings: WindowSettings, max_step: int, features: int, *, by_sensor: bool) -> None:
        """Set up for windows of `settings`.

        Args:
            settings: section `window`.
            max_step: a longer jump ahead, in ms, waits for the stream's next record.
            features: number of features.
            by_sensor: whether two records of one time differ by their sensor (long layout).
        """
        self._settings = settings
        self._max_step = max_step
        self._by_sensor = by_sensor
        self.columns = (
            Column("seen", np.int64, initial=NEVER),
            Column("held_time", np.int64, initial=NEVER),
            Column("held_offset", np.int64),
            Column("held_values", np.float32, (features,)),
            Column("late_run", np.uint8),
            Column("late_time", np.int64, initial=NEVER),
            Column("recent", np.int64, (REMEMBERED,)),
            Column("recent_count", np.int64),
        )

    def judge(self, table: StreamTable, records: Records) -> Judged:
        """Judge a batch and update the clocks."""
        order = np.argsort(records.slot, kind="stable")
        slot = records.slot[order]
        time = records.time[order]
        starts = group_starts(slot)
        distinct = slot[starts]
        before = np.empty_like(time)
        before[1:] = time[:-1]
        seen_before = table["seen"][distinct]
        before[starts] = seen_before
        before = np.where(before == NEVER, time - 1, before)
        calm = (time > before) & (time - before <= self._max_step)
        calm[starts] &= table["held_time"][distinct] == NEVER
        group_calm = np.logical_and.reduceat(calm, starts)
        if group_calm.all():
            self._accept(table, slot, time, self._keys(records.time, records.values)[order], starts)
            arrivals = Arrivals(
                slot,
                time,
                records.values[order],
                records.offset[order],
                records.offset[order],
                time,
                np.zeros(len(slot), np.bool_),
            )
            by_due = np.empty_like(order)
            by_due[order] = np.arange(len(order))
            return Judged(arrivals, by_due, [], [], distinct, seen_before)
        arrivals, late, repeated = self._judge_mixed(table, records, order, group_calm)
        return Judged(arrivals, np.argsort(arrivals.due, kind="stable"), late, repeated, distinct, seen_before)

    def _judge_mixed(
        self,
        table: StreamTable,
        records: Records,
        order: NDArray[np.intp],
        group_calm: NDArray[np.bool_],
    ) -> tuple[Arrivals, list[int], list[int]]:
        """Judge a batch in which some streams are not calm: those go record by record."""
        slot = records.slot[order]
        starts = group_starts(slot)
        ends = np.append(starts[1:], len(slot))
        keys = self._keys(records.time, records.values)
        calm_rows = order[np.repeat(group_calm, ends - starts)]
        calm_slot = records.slot[calm_rows]
        calm_time = records.time[calm_rows]
        if len(calm_rows):
            self._accept(table, calm_slot, calm_time, keys[calm_rows], group_starts(calm_slot))
        judges: list[_Judge] = []
        judged_slots = slot[starts[~group_calm]].astype(np.intp)
        # Records held since an earlier batch follow those of this batch in the arrays below.
        values = np.concatenate([records.values, table["held_values"][judged_slots]])
        times = np.concatenate([records.time, table["held_time"][judged_slots]])
        offsets = np.concatenate([records.offset, table["held_offset"][judged_slots]])
        all_keys = np.concatenate([keys, self._keys(times[len(keys) :], values[len(keys) :])]).tolist()
        time_list, offset_list = times.tolist(), offsets.tolist()
        for number, group in enumerate(np.flatnonzero(~group_calm).tolist()):
            judge = self._judge_of(table, int(judged_slots[number]), len(keys) + number)
            for index in order[starts[group] : ends[group]].tolist():
                judge.take(index, time_list, all_keys, offset_list)
            judges.append(judge)
            self._store(table, judge, time_list, offset_list, values)
        accepted = np.array([a for judge in judges for a in judge.accepted], np.int64).reshape(-1, 4)
        index = np.concatenate([calm_rows, accepted[:, 0]])
        found_slot = np.concatenate([calm_slot, np.repeat(judged_slots, [len(j.accepted) for j in judges])])
        place = np.argsort(found_slot, kind="stable")
        arrivals = Arrivals(
            found_slot[place].astype(np.int32),
            times[index][place],
            values[index][place],
            offsets[index][place],
            np.concatenate([records.offset[calm_rows], accepted[:, 1]])[place],
            np.concatenate([calm_time, accepted[:, 2]])[place],
            np.concatenate([np.zeros(len(calm_rows), np.bool_), accepted[:, 3].astype(np.bool_)])[place],
        )
        late = [offset_list[i] for judge in judges for i in judge.late]
        repeated = [offset_list[i] for judge in judges for i in judge.repeated]
        return arrivals, late, repeated

    def _keys(self, time: NDArray[np.int64], values: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return what two records must share to be repeats of each other: time, and sensor in the long layout."""
        keys: NDArray[np.int64] = time << _SENSOR_BITS
        if self._by_sensor:
            keys = keys | np.argmax(~np.isnan(values), axis=1)
        return keys

    @staticmethod
    def _accept(
        table: StreamTable,
        slot: NDArray[np.int32],
        time: NDArray[np.int64],
        keys: NDArray[np.int64],
        starts: NDArray[np.intp],
    ) -> None:
        """Move the clocks of calm streams on."""
        ends = np.append(starts[1:], len(slot))
        distinct = slot[starts]
        counts = ends - starts
        table["seen"][distinct] = time[ends - 1]
        table["late_run"][distinct] = 0
        recent_count = table["recent_count"]
        rank = np.arange(len(slot)) - np.repeat(starts, counts)
        place = np.repeat(recent_count[distinct], counts) + rank
        if counts.max() > REMEMBERED:
            kept = rank >= np.repeat(counts, counts) - REMEMBERED
            slot, place, keys = slot[kept], place[kept], keys[kept]
        table["recent"][slot, place % REMEMBERED] = keys
        recent_count[distinct] += counts

    def _judge_of(self, table: StreamTable, slot: int, held_index: int) -> _Judge:
        """Load the clock of one stream."""
        count = int(table["recent_count"][slot])
        recent = table["recent"][slot].tolist()
        known = deque(
            (recent[i % REMEMBERED] for i in range(max(0, count - REMEMBERED), count)),
            maxlen=REMEMBERED,
        )
        judge = _Judge(
            slot=slot,
            interval=self._settings.interval_ms,
            lateness=self._settings.lateness.ms,
            max_step=self._max_step,
            seen=int(table["seen"][slot]),
            held=held_index if table["held_time"][slot] != NEVER else None,
            late_run=int(table["late_run"][slot]),
            late_time=int(table["late_time"][slot]),
            recent=known,
            recent_count=count,
        )
        if self._settings.buffered:
            rows, _ = table.ragged("waiting").rows(np.array([slot]))
            judge.waiting = set(self._keys(rows["time"], rows["values"]).tolist())
            if not self._settings.interval_ms:
                judge.final = int(table["final"][slot])
                judge.queue = sorted(judge.waiting)
        return judge

    @staticmethod
    def _store(
        table: StreamTable, judge: _Judge, time: list[int], offset: list[int], values: NDArray[np.float32]
    ) -> None:
        """Write the clock of one stream back."""
        slot = judge.slot
        table["seen"][slot] = judge.seen
        table["late_run"][slot] = judge.late_run
        table["late_time"][slot] = judge.late_time
        table["held_time"][slot] = NEVER if judge.held is None else time[judge.held]
        if judge.held is not None:
            table["held_offset"][slot] = offset[judge.held]
            table["held_values"][slot] = values[judge.held]
        first = judge.recent_count - len(judge.recent)
        for position, key in enumerate(judge.recent, first):
            table["recent"][slot, position % REMEMBERED] = key
        table["recent_count"][slot] = judge.recent_count


@dataclass(slots=True)
class _Judge:
    """The rules for one stream, a record at a time. Records are named by their index in the batch's arrays."""

    slot: int
    interval: int
    lateness: int
    max_step: int
    seen: int
    held: int | None
    late_run: int
    late_time: int
    recent: deque[int]
    recent_count: int
    waiting: set[int] = field(default_factory=set)
    queue: list[int] | None = None
    final: int = NEVER
    accepted: list[tuple[int, int, int, bool]] = field(default_factory=list)  # index, due, seen, reset
    late: list[int] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)

    def take(self, index: int, time: list[int], keys: list[int], offset: list[int]) -> None:
        """Judge the record `index`."""
        if self.held is not None:
            if keys[index] == keys[self.held]:  # a repeat confirms nothing: the held one goes on waiting
                self.repeated.append(index)
                return
            held, self.held = self.held, None
            if 0 <= time[index] - time[held] <= self.max_step:
                self._use(held, time[held], keys[held], offset[index])
            else:
                self.late.append(held)
        at = time[index]
        if self.seen == NEVER:
            self._use(index, at, keys[index], offset[index])
        elif at > self.seen:
            if at - self.seen > self.max_step:
                self.held = index
            else:
                self._use(index, at, keys[index], offset[index])
        elif keys[index] in self.recent or (self.queue is not None and at == self.final):
            self.repeated.append(index)
        elif at < self._floor():
            self._late(index, at, keys[index], offset[index])
        elif keys[index] in self.waiting:
            self.repeated.append(index)
        else:
            self._use(index, at, keys[index], offset[index])

    def _floor(self) -> int:
        """Return the time below which a record is late."""
        if self.interval:
            return (self.seen - self.lateness) // self.interval * self.interval
        return self.final if self.queue is not None else self.seen

    def _use(self, index: int, at: int, key: int, due: int, *, reset: bool = False) -> None:
        """Accept a record."""
        self.seen = at if reset else max(self.seen, at)
        self.late_run = 0
        self.recent.append(key)
        self.recent_count += 1
        if self.interval or self.queue is not None:
            self.waiting.add(key)
        if self.queue is not None:
            insort(self.queue, key)
            while self.queue and self.queue[0] >> _SENSOR_BITS <= self.seen - self.lateness:
                last = self.queue.pop(0)
                self.waiting.discard(last)
                self.final = last >> _SENSOR_BITS
        self.accepted.append((index, due, self.seen, reset))

    def _late(self, index: int, at: int, key: int, due: int) -> None:
        """Count a late record, or set the clock back by it."""
        self.late_run = self.late_run + 1 if self.late_run and at > self.late_time else 1
        self.late_time = at
        if self.late_run < CLOCK_RESET_RUN:
            self.late.append(index)
            return
        self.recent.clear()
        self.recent_count = 0
        self.waiting.clear()
        self.final = NEVER
        if self.queue is not None:
            self.queue.clear()
        self._use(index, at, key, due, reset=True)
