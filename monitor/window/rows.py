"""What passes between the parts of the window stage: arrivals, then rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WAITING_FIELDS = (("time", "<i8"), ("offset", "<i8"), ("values", "<f4"))


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Records that the clock accepted, sorted by slot, within a slot in the order in which they were accepted.

    Attributes:
        slot: `(n,)` int32.
        time: `(n,)` int64 ms.
        values: `(n, F)` float32.
        offset: `(n,)` int64, the record's own offset.
        due: `(n,)` int64, offset of the record whose arrival made it accepted (its own, but for a held record).
        seen: `(n,)` int64, the latest time that its stream had accepted by then, this record included.
        reset: `(n,)` bool, True where this record set the stream's clock back.
    """

    slot: NDArray[np.int32]
    time: NDArray[np.int64]
    values: NDArray[np.float32]
    offset: NDArray[np.int64]
    due: NDArray[np.int64]
    seen: NDArray[np.int64]
    reset: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of arrivals."""
        return len(self.slot)

    def take(self, part: NDArray[np.intp] | NDArray[np.bool_]) -> Arrivals:
        """Return the arrivals at `part`."""
        return Arrivals(
            self.slot[part],
            self.time[part],
            self.values[part],
            self.offset[part],
            self.due[part],
            self.seen[part],
            self.reset[part],
        )


@dataclass(frozen=True, slots=True)
class Rows:
    """Final rows, sorted by slot, within a slot in the order of event time: what windows are made of.

    Attributes:
        slot: `(n,)` int32.
        values: `(n, F)` float32.
        start: `(n,)` int64 ms, the record's time, or the start of the cell.
        end: `(n,)` int64 ms, the record's time, or the end of the cell.
        low: `(n,)` int64, smallest offset of a record in the row.
        high: `(n,)` int64, largest offset of a record in the row.
        due: `(n,)` int64, offset of the record that made the row final.
        records: `(n,)` int64, how many records are in the row (0: filled).
        restart: `(n,)` bool, True where the window begins anew with this row.
    """

    slot: NDArray[np.int32]
    values: NDArray[np.float32]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    due: NDArray[np.int64]
    records: NDArray[np.int64]
    restart: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.slot)


def group_starts(slot: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return where each group of equal neighbours begins."""
    first = np.empty(len(slot), np.bool_)
    first[:1] = True
    np.not_equal(slot[1:], slot[:-1], out=first[1:])
    return first.nonzero()[0]
