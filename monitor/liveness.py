"""Which streams are live: admitted up to a limit, dropped after `record.expire` of partition time without a record.

The column `active` holds the partition's time at each stream's last used record. Deadlines are differences of
partition time, so a stream whose own clock is off is as live as any other.

A drop matters to a later record of the stream (which begins a new stream) and to a new stream in a full partition.
`cut` splits the rare batch in which that could happen, so that within a slice nothing depends on a drop, and drops can
be carried out at its end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monitor.partition_time import LEADERS, PartitionTime
from monitor.record import NEVER, Records
from monitor.table import Column, StreamTable


class Liveness:
    """Admits and drops the streams of one table."""

    COLUMNS = (Column("active", np.int64, initial=NEVER),)

    def __init__(self, expire: int, max_streams: int) -> None:
        """Set the limits: `expire` in ms of partition time, `max_streams` live ones."""
        self._expire = expire
        self._max_streams = max_streams
        self._oldest = NEVER  # no live stream was active before; NEVER: not known

    def cut(self, table: StreamTable, time: PartitionTime, records: Records) -> int:
        """Return how many of the records make a slice, at least one."""
        reach = max(time.top, int(records.time.max()))
        base = time.value if time.value != NEVER else int(records.time[0])
        if reach < base + self._expire and self._oldest != NEVER and reach < self._oldest + self._expire:
            return len(records)
        live = table.live()
        self._oldest = int(table["active"][live].min()) if len(live) else base
        if reach < min(base, self._oldest) + self._expire:
            return len(records)
        reached = np.maximum(np.maximum.accumulate(records.time), time.top)  # nothing is later, at each record
        over = np.flatnonzero(reached >= base + self._expire)
        length = max(1, int(over[0])) if len(over) else len(records)
        stale = table["live"] & (table["active"] + self._expire <= reached[length - 1])
        if stale.any():
            if table.live_count - int(np.count_nonzero(stale)) < LEADERS:
                return 1
            risky = stale[records.slot[:length]]
            new = ~table["live"][records.slot[:length]]
            if table.live_count + len(np.unique(records.slot[:length][new])) > self._max_streams:
                risky |= new
            risky[0] = False  # before the first record the partition's time is known, and drops are done
            first = np.flatnonzero(risky)
            length = int(first[0]) if len(first) else length
        return length

    def admit(self, table: StreamTable, records: Records) -> NDArray[np.bool_]:
        """Make new streams live while there is room; return which records belong to streams that are refused."""
        new = ~table["live"][records.slot]
        if not new.any():
            return new
        slots, first = np.unique(records.slot[new], return_index=True)
        slots = slots[np.argsort(first)].astype(np.intp)
        table.admit(slots[: max(0, self._max_streams - table.live_count)])
        refused: NDArray[np.bool_] = ~table["live"][records.slot]
        return refused

    def touch(self, table: StreamTable, slots: NDArray[np.int32], times: NDArray[np.int64]) -> None:
        """Note the partition's time at the last used record of these distinct streams."""
        table["active"][slots] = times

    def drop(self, table: StreamTable, time: PartitionTime) -> NDArray[np.intp]:
        """Return the streams whose time is up; the caller resolves their alerts before it drops them."""
        if self._oldest == NEVER or time.value < self._oldest + self._expire:
            return np.zeros(0, np.intp)
        live = table.live()
        active = table["active"][live]
        self._oldest = int(active.min()) if len(live) else NEVER
        gone: NDArray[np.intp] = live[active + self._expire <= time.value]
        return gone
