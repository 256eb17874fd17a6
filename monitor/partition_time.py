"""Partition time: the clock of an input partition, made of its streams' event times alone.

It is the running maximum, by offset, of the third largest of the streams' latest used times (of the largest, below
three streams), so that no one or two streams with a wrong clock move it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from monitor.record import NEVER, Records
from monitor.table import StreamTable
from monitor.window.clock import Judged

LEADERS = 3

Leaders = list[tuple[int, int]]
"""(latest time, slot) of the streams with the largest latest times, falling, at most `LEADERS`."""


class PartitionTime:
    """The time of one partition.

    Attributes:
        value: ms, `NEVER` before the first used record.
        leaders: the streams that decide it.
    """

    def __init__(self) -> None:
        """Begin without a time."""
        self.value = NEVER
        self.leaders: Leaders = []

    def advance(self, table: StreamTable, judged: Judged) -> NDArray[np.int64]:
        """Move on by a batch; return the time after each arrival, in the order of `judged.by_due`."""
        arrivals, by_due = judged.arrivals, judged.by_due
        slots, times = arrivals.slot[by_due].tolist(), arrivals.seen[by_due].tolist()
        resets = arrivals.reset[by_due].nonzero()[0].tolist()
        if not resets:
            self.value, found = _follow(self.leaders, self.value, slots, times)
            return np.array(found, np.int64)
        live = table.live()
        latest = dict(zip(live.tolist(), table["seen"][live].tolist(), strict=True))
        latest |= dict(zip(judged.slots.tolist(), judged.seen_before.tolist(), strict=True))
        done = 0
        found = []
        for end in [*resets, len(slots)]:
            self.value, part = _follow(self.leaders, self.value, slots[done:end], times[done:end])
            found += part
            latest |= dict(zip(slots[done:end], times[done:end], strict=True))
            if end < len(slots):  # a clock was set back: a leader can fall behind streams that were none
                latest[slots[end]] = times[end]
                if any(slot == slots[end] for _, slot in self.leaders):
                    self.leaders = _largest((time, slot) for slot, time in latest.items() if time != NEVER)
                self.value = max(self.value, _decisive(self.leaders))
                found.append(self.value)
            done = end + 1
        return np.array(found, np.int64)

    def bound(self, records: Records) -> NDArray[np.int64]:
        """Return a time that the partition's is not above, after each of the records that come next."""
        if len(self.leaders) == LEADERS:
            _, found = _follow(list(self.leaders), self.value, records.slot.tolist(), records.time.tolist())
            return np.array(found, np.int64)
        # How many streams there will be is known only when the records are judged: the largest is above the third.
        top = max((time for time, _ in self.leaders), default=NEVER)
        return np.maximum(np.maximum.accumulate(records.time), max(top, self.value))

    def recount(self, table: StreamTable) -> None:
        """Find the leaders among the live streams again, after some were dropped."""
        slots = table.live()
        self.leaders = _largest(zip(table["seen"][slots].tolist(), slots.tolist(), strict=True))


def _largest(latest: Iterable[tuple[int, int]]) -> Leaders:
    return heapq.nlargest(LEADERS, latest)


def _decisive(leaders: Leaders) -> int:
    """Return the leader's time that is the partition's: the third, or the first where there are fewer."""
    return leaders[-1][0] if len(leaders) == LEADERS else leaders[0][0]


def _follow(leaders: Leaders, value: int, slots: Sequence[int], times: Sequence[int]) -> tuple[int, list[int]]:
    """Change `leaders` by streams' latest times, none below its former one; return the last value, and all.

    Every record comes through here, so the three leaders are names and not a list while it runs.
    """
    (first, a), (second, b), (third, c) = [*leaders, *[(NEVER, -1)] * (LEADERS - len(leaders))]
    found: list[int] = []
    for slot, time in zip(slots, times, strict=True):
        if time > third:
            if slot == a:
                first = max(first, time)
            elif slot == b:
                second = max(second, time)
            else:
                third, c = time, slot
                if third > second:
                    second, b, third, c = third, c, second, b
            if second > first:
                first, a, second, b = second, b, first, a
            value = max(value, first if third == NEVER else third)
        found.append(value)
    leaders[:] = [leader for leader in ((first, a), (second, b), (third, c)) if leader[0] != NEVER]
    return value, found
