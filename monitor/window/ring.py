"""The ring: each stream's last `length` rows, and the windows that new rows make due.

Windows are gathered from the ring as it was before the batch and from the batch's own rows, and only then the rows are
written to the ring: so any number of rows of a stream in one batch needs no loop.

Beside the values the ring keeps *marks*, time and offsets of rows: of each row that can begin a window (one in
`stride`) when records come in order, of every row when they may not, because then the largest offset can lie anywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monitor.table import AnyColumn, Column, StreamTable
from monitor.window.rows import Rows, group_starts
from monitor.window.settings import WindowSettings
from monitor.window.windows import Windows


class Ring:
    """Cuts windows of the rows of each stream."""

    def __init__(self, settings: WindowSettings, features: int) -> None:
        """Set up for windows of `settings` over `features` features."""
        self._length = settings.length
        self._stride = settings.stride
        self._interval = settings.interval_ms
        self._features = features
        self._fills = settings.max_gap > 0
        self._buffered = settings.buffered
        self._mark_every = 1 if settings.buffered else settings.stride
        marks = -(-settings.length // self._mark_every) + 1
        columns: list[AnyColumn] = [
            Column("ring", np.float32, (settings.length, features)),
            Column("head", np.int32),  # where the next row goes
            Column("count", np.int64),  # rows since the window began
            Column("restarted", np.bool_, initial=1),
            Column("mark_time", np.int64, (marks,)),
            Column("mark_low", np.int64, (marks,)),
        ]
        if settings.buffered:
            columns.append(Column("mark_high", np.int64, (marks,)))
        if self._fills:
            columns.append(Column("filled", np.bool_, (settings.length,)))
        self.columns = tuple(columns)

    def windows(self, table: StreamTable, rows: Rows) -> Windows:
        """Return the windows that `rows` make due, and take the rows into the ring."""
        if len(rows) == 0:
            return Windows.none(self._length, self._features)
        starts = group_starts(rows.slot)
        counts = np.diff(np.append(starts, len(rows)))
        rank = np.arange(len(rows)) - np.repeat(starts, counts)
        number = self._count(table, rows, starts)
        if self._interval:
            cell = rows.start // self._interval
            due = (number >= self._length) & (cell % self._stride == 0)
            place = cell + self._length - 1  # a multiple of stride where a window can begin
        else:
            due = (number >= self._length) & ((number - self._length) % self._stride == 0)
            place = number - 1
        restarted = self._restarted(table, rows, starts, due)
        at = due.nonzero()[0]
        windows = self._gather(table, rows, at, rank, place, restarted)
        self._write(table, rows, starts, counts, rank, place)
        table["count"][rows.slot[starts]] = number[starts + counts - 1]
        return windows

    @staticmethod
    def _count(table: StreamTable, rows: Rows, starts: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return each row's number since its window began, from 1."""
        begins = rows.restart.copy()
        begins[starts] = True
        position = np.arange(len(rows))
        begin = np.maximum.accumulate(np.where(begins, position, 0))
        earlier = np.where(rows.restart[begin], 0, table["count"][rows.slot[begin]])
        counted: NDArray[np.int64] = position - begin + 1 + earlier
        return counted

    @staticmethod
    def _restarted(
        table: StreamTable, rows: Rows, starts: NDArray[np.intp], due: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Return for each due row whether its window is the first since the window began anew."""
        slots = rows.slot[starts]
        if not rows.restart.any() and not table["restarted"][slots].any():
            return np.zeros(int(np.count_nonzero(due)), np.bool_)
        pending = rows.restart.copy()
        pending[starts] |= table["restarted"][slots]
        position = np.arange(len(rows))
        last = np.append(starts[1:], len(rows)) - 1
        group_first = np.repeat(starts, last - starts + 1)
        flag = np.maximum.accumulate(np.where(pending, position, -1))
        flag = np.where(flag >= group_first, flag, -1)  # last restart at or before each row, in its group
        window = np.maximum.accumulate(np.where(due, position, -1))
        before = np.empty_like(window)  # last window strictly before each row
        before[0] = -1
        before[1:] = window[:-1]
        unseen = (flag >= 0) & (flag > np.where(before >= group_first, before, -1))
        table["restarted"][slots] = (flag[last] >= 0) & (
            flag[last] > np.where(window[last] >= starts, window[last], -1)
        )
        found: NDArray[np.bool_] = unseen[due]
        return found

    def _gather(
        self,
        table: StreamTable,
        rows: Rows,
        at: NDArray[np.intp],
        rank: NDArray[np.int64],
        place: NDArray[np.int64],
        restarted: NDArray[np.bool_],
    ) -> Windows:
        """Return the windows that end at the rows `at`."""
        if len(at) == 0:
            return Windows.none(self._length, self._features)
        length = self._length
        slot = rows.slot[at]
        back = np.arange(1 - length, 1)
        step = rank[at][:, None] + back  # (n, L) rank of each row of each window; negative: before this batch
        source = at[:, None] + back
        inside = step >= 0
        ring_place = (table["head"][slot][:, None] + step) % length
        # `take` from a flat view, and pairs instead of a mask: a third of the time of the obvious way.
        flat = table["ring"].reshape(-1, self._features)
        values = flat.take(slot.astype(np.intp)[:, None] * length + ring_place, axis=0)
        window, row = np.nonzero(inside)
        values[window, row] = rows.values[source[window, row]]
        marks = table["mark_time"].shape[1]
        if self._buffered:
            mark_place = (place[at][:, None] + back) % marks
            low = self._marks(table["mark_low"], slot[:, None], mark_place, inside, rows.low, source).min(axis=1)
            high = self._marks(table["mark_high"], slot[:, None], mark_place, inside, rows.high, source).max(axis=1)
            low, high = np.where(high < 0, rows.due[at], low), np.where(high < 0, rows.due[at], high)
        else:
            high = rows.high[at]
        first = at - (length - 1)
        first_inside = rank[at] >= length - 1
        first_mark = (place[at] - (length - 1)) // self._mark_every % marks
        start = self._marks(table["mark_time"], slot, first_mark, first_inside, rows.start, first)
        if not self._buffered:
            low = self._marks(table["mark_low"], slot, first_mark, first_inside, rows.low, first)
        absent = np.isnan(values)
        if self._fills:
            filled = table["filled"][slot[:, None], ring_place]
            filled[inside] = (rows.records == 0)[source[inside]]
            absent |= filled[:, :, None]
        missing = np.count_nonzero(absent, axis=(1, 2)) / (length * self._features)
        return Windows(slot, values, start, rows.end[at], low, high, rows.due[at], missing, restarted)

    @staticmethod
    def _marks(
        column: NDArray[np.int64],
        slot: NDArray[np.int32],
        place: NDArray[np.int64],
        inside: NDArray[np.bool_],
        batch: NDArray[np.int64],
        source: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Return marks, from the batch where the row is inside it, else from the ring as it was before."""
        return np.where(inside, batch[np.where(inside, source, 0)], column[slot, place])

    def _write(
        self,
        table: StreamTable,
        rows: Rows,
        starts: NDArray[np.intp],
        counts: NDArray[np.int64],
        rank: NDArray[np.int64],
        place: NDArray[np.int64],
    ) -> None:
        """Write the rows into the ring; of each stream only the last that it keeps."""
        slots = rows.slot[starts]
        head = table["head"]
        position = (np.repeat(head[slots], counts) + rank) % self._length
        head[slots] = (head[slots] + counts) % self._length
        many = counts.max() > self._length
        kept = np.flatnonzero(rank >= np.repeat(counts, counts) - self._length) if many else slice(None)
        table["ring"][rows.slot[kept], position[kept]] = rows.values[kept]
        if self._fills:
            table["filled"][rows.slot[kept], position[kept]] = (rows.records == 0)[kept]
        marked = (place % self._mark_every) == 0
        marks = table["mark_time"].shape[1]
        if many:
            marked &= rank >= np.repeat(counts, counts) - self._length
        at = marked.nonzero()[0]
        where = place[at] // self._mark_every % marks
        table["mark_time"][rows.slot[at], where] = rows.start[at]
        table["mark_low"][rows.slot[at], where] = rows.low[at]
        if self._buffered:
            table["mark_high"][rows.slot[at], where] = rows.high[at]
