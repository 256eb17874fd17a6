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

from monitor.changes import Changes
from monitor.partition_time import PartitionTime
from monitor.record import NEVER, Records
from monitor.table import Column, StreamTable


class Liveness:
    """Admits and drops the streams of one table."""

    ACTIVITY = (Column("active", np.int64, initial=NEVER),)
    COLUMNS = (*ACTIVITY, Column("first_offset", np.int64))

    def __init__(self, expire: int, max_streams: int) -> None:
        """Set the limits: `expire` in ms of partition time, `max_streams` live ones."""
        self._expire = expire
        self.max_streams = max_streams
        self._oldest = NEVER  # no live stream was active before; NEVER: not known

    def cut(self, table: StreamTable, time: PartitionTime, records: Records) -> int:
        """Return how many of the records make a slice, at least one."""
        base = time.value if time.value != NEVER else int(records.time[0])
        reach = max(int(records.time.max()), *(latest for latest, _ in time.leaders), base)
        if self._oldest != NEVER and reach < self._oldest + self._expire:
            return len(records)
        bound = time.bound(records)
        live = table.live()
        self._oldest = min(int(table["active"][live].min()), base) if len(live) else base
        if bound[-1] < self._oldest + self._expire:
            return len(records)
        # What is active in this slice is safe until `base` + expire. A leader's drop would change the partition's time.
        kept = min([base, *table["active"][[slot for _, slot in time.leaders]].tolist()])
        length = max(1, int(np.searchsorted(bound, kept + self._expire)))
        stale = table["live"] & (table["active"] + self._expire <= bound[length - 1])
        if stale.any():
            slots = records.slot[:length]
            risky = stale[slots]
            new = ~table["live"][slots]
            if table.live_count + len(np.unique(slots[new])) > self.max_streams:
                risky |= new
            risky[0] = False  # before the first record the partition's time is known, and drops are done
            first = np.flatnonzero(risky)
            length = int(first[0]) if len(first) else length
        return length

    def admit(self, table: StreamTable, records: Records, changes: Changes) -> NDArray[np.bool_]:
        """Make new streams live while there is room; return which records belong to streams that are refused."""
        new = ~table["live"][records.slot]
        if not new.any():
            return new
        slots, first = np.unique(records.slot[new], return_index=True)
        order = np.argsort(first)[: max(0, self.max_streams - table.live_count)]
        slots, offsets = slots[order].astype(np.intp), records.offset[new][first[order]]
        table.admit(slots)
        table["first_offset"][slots] = offsets
        changes.came_or_gone(slots)
        refused: NDArray[np.bool_] = ~table["live"][records.slot]
        return refused

    def touch(self, table: StreamTable, slots: NDArray[np.int32], times: NDArray[np.int64]) -> None:
        """Note the partition's time at used records, in their order: of a stream's, the last one stays."""
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
