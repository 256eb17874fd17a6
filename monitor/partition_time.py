"""Partition time: the clock of an input partition, made of its streams' event times alone.

It is the running maximum, by offset, of the third largest of the streams' latest used times (of the largest, below
three streams), so that no one or two streams with a wrong clock move it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monitor.record import NEVER
from monitor.table import StreamTable
from monitor.window.clock import Judged

LEADERS = 3


class PartitionTime:
    """The time of one partition.

    Attributes:
        value: ms, `NEVER` before the first used record.
        leaders: (latest time, slot) of the streams with the largest latest times, falling, at most three.
    """

    def __init__(self) -> None:
        """Begin without a time."""
        self.value = NEVER
        self.leaders: list[tuple[int, int]] = []

    @property
    def top(self) -> int:
        """The largest latest time of any stream, `NEVER` without one."""
        return self.leaders[0][0] if self.leaders else NEVER

    def advance(self, table: StreamTable, judged: Judged) -> NDArray[np.int64]:
        """Move on by a batch; return the time after each arrival, in the order of `judged.by_due`."""
        arrivals = judged.arrivals
        slots = arrivals.slot[judged.by_due].tolist()
        times = arrivals.seen[judged.by_due].tolist()
        if arrivals.reset.any():
            return self._advance_with_resets(table, judged, slots, times)
        value, leaders = self.value, self.leaders
        least = leaders[-1][0] if len(leaders) == LEADERS else NEVER
        found: list[int] = []
        for slot, time in zip(slots, times, strict=True):
            if time > least:
                leaders = _lead(leaders, time, slot)
                if len(leaders) == LEADERS:
                    least = leaders[-1][0]
                    value = max(value, least)
                else:
                    value = max(value, leaders[0][0])
            found.append(value)
        self.value, self.leaders = value, leaders
        return np.array(found, np.int64)

    def recount(self, table: StreamTable) -> None:
        """Find the leaders among the live streams again, after some were dropped."""
        slots = table.live()
        times = table["seen"][slots]
        place = np.argsort(times, kind="stable")[::-1][:LEADERS]
        self.leaders = [(int(times[i]), int(slots[i])) for i in place]

    def _advance_with_resets(
        self, table: StreamTable, judged: Judged, slots: list[int], times: list[int]
    ) -> NDArray[np.int64]:
        """Move on by a batch in which a clock was set back: a leader can fall behind streams that were none."""
        live = table.live()
        latest = dict(zip(live.tolist(), table["seen"][live].tolist(), strict=True))
        latest |= dict(zip(judged.slots.tolist(), judged.seen_before.tolist(), strict=True))
        resets = judged.arrivals.reset[judged.by_due].tolist()
        found: list[int] = []
        for slot, time, reset in zip(slots, times, resets, strict=True):
            latest[slot] = time
            if reset:
                known = sorted(((t, s) for s, t in latest.items() if t != NEVER), reverse=True)
                self.leaders = known[:LEADERS]
            else:
                self.leaders = _lead(self.leaders, time, slot)
            self.value = max(self.value, self.leaders[-1 if len(self.leaders) == LEADERS else 0][0])
            found.append(self.value)
        return np.array(found, np.int64)


def _lead(leaders: list[tuple[int, int]], time: int, slot: int) -> list[tuple[int, int]]:
    """Return the leaders after a stream's latest time became `time`, which is not below its former one."""
    others = [leader for leader in leaders if leader[1] != slot]
    others.append((time, slot))
    others.sort(reverse=True)
    return others[:LEADERS]
