"""From accepted records to final rows: put in order (lateness), and into cells of the time grid (interval).

A record waits in the ragged column `waiting` until its stream has seen a time that makes it final. Only streams for
which something becomes final in this batch are looked at: the column `due_at` holds, for each stream, the horizon at
which the next thing does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.record import NEVER
from monitor.table import AnyColumn, Column, RaggedColumn, StreamTable
from monitor.window.rows import Arrivals, Rows, group_starts
from monitor.window.settings import WindowSettings

_FAR = np.iinfo(np.int64).max
_TIME_BITS = 43  # times up to the year 2248 in ms; leaves 20 bits for the streams of one batch


class Grid:
    """Turns arrivals into rows, in order of event time within each stream."""

    def __init__(self, settings: WindowSettings, features: int) -> None:
        """Set up for windows of `settings` over `features` features."""
        self._settings = settings
        self._interval = settings.interval_ms
        self._lateness = settings.lateness.ms
        self._dtype = np.dtype([("time", "<i8"), ("offset", "<i8"), ("due", "<i8"), ("values", "<f4", (features,))])
        self.columns: tuple[AnyColumn, ...] = ()
        if settings.buffered:
            self.columns = (
                Column("final", np.int64, initial=NEVER),  # last final record's time, or last final cell's index
                Column("due_at", np.int64, initial=_FAR),
                RaggedColumn("waiting", self._dtype),
            )

    def rows(self, table: StreamTable, arrivals: Arrivals) -> tuple[Rows, list[int]]:
        """Return the rows that became final, and the offsets of records that a clock reset made late."""
        if not self._settings.buffered:
            rows = Rows(
                arrivals.slot,
                arrivals.values,
                arrivals.time,
                arrivals.time,
                arrivals.offset,
                arrivals.offset,
                arrivals.due,
                np.ones(len(arrivals), np.int64),
                arrivals.reset,
            )
            return rows, []
        if not arrivals.reset.any():
            return self._finalize(table, arrivals), []
        return self._finalize_epochs(table, arrivals)

    def _finalize_epochs(self, table: StreamTable, arrivals: Arrivals) -> tuple[Rows, list[int]]:
        """Go through what lies between clock resets by turns; what waited for the old clock is late."""
        starts = group_starts(arrivals.slot)
        resets = np.cumsum(arrivals.reset)
        counts = np.diff(np.append(starts, len(arrivals)))
        epoch: NDArray[np.int64] = resets - np.repeat(resets[starts] - arrivals.reset[starts], counts)
        parts: list[Rows] = []
        late: list[int] = []
        for number in range(int(epoch.max()) + 1):
            part = arrivals.take(epoch == number)
            reset = part.slot[part.reset].astype(np.intp)
            dropped, _ = table.ragged("waiting").rows(reset)
            late.extend(dropped["offset"].tolist())
            table.ragged("waiting").clear(reset)
            table["final"][reset] = NEVER
            table["due_at"][reset] = _FAR
            parts.append(self._finalize(table, part))
        slot = np.concatenate([part.slot for part in parts])
        place = np.argsort(slot, kind="stable")
        merged = (np.concatenate([getattr(part, name) for part in parts])[place] for name in Rows.__slots__)
        return Rows(*merged), late

    def _finalize(self, table: StreamTable, arrivals: Arrivals) -> Rows:
        """Add the arrivals to what waits, and take out what is final now."""
        waiting = table.ragged("waiting")
        starts = group_starts(arrivals.slot)
        if len(starts) == 0:
            return _no_rows(self._dtype["values"].shape[0])
        counts = np.diff(np.append(starts, len(arrivals)))
        slots = arrivals.slot[starts].astype(np.intp)
        horizon = arrivals.seen - self._lateness
        if self._interval:
            horizon = horizon // self._interval * self._interval
        fresh = np.zeros(len(arrivals), self._dtype)
        for name in ("time", "offset", "due", "values"):
            fresh[name] = getattr(arrivals, name)
        waiting.append(slots, counts, fresh)
        due_at = table["due_at"]
        wanted = self._wanted(arrivals.time, np.repeat(table["final"][slots], counts))
        due_at[slots] = np.minimum(due_at[slots], np.minimum.reduceat(wanted, starts))
        reached = horizon[starts + counts - 1]
        closing = due_at[slots] <= reached
        if not closing.any():
            return _no_rows(self._dtype["values"].shape[0])
        slots = slots[closing]
        rows, row_counts = waiting.rows(slots)
        waiting.clear(slots)
        group = np.repeat(np.arange(len(slots)), row_counts)
        order = np.lexsort((rows["offset"], rows["time"], group))
        rows, group = rows[order], group[order]
        crossing = _Crossing(
            np.repeat(np.arange(len(slots)), counts[closing]),
            horizon[np.repeat(closing, counts)],
            arrivals.due[np.repeat(closing, counts)],
        )
        reached = reached[closing]
        final = (rows["time"] // self._interval + 1) * self._interval if self._interval else rows["time"]
        done = final <= reached[group]
        found = (
            self._cells(table, slots, reached, crossing, rows, group, done)
            if self._interval
            else self._ordered(table, slots, crossing, rows[done], group[done])
        )
        rest, rest_group = rows[~done], group[~done]
        rest_starts = group_starts(rest_group.astype(np.int32))
        due_at[slots] = _FAR
        if len(rest):
            left = rest_group[rest_starts]
            waiting.append(slots[left], np.diff(np.append(rest_starts, len(rest))), rest)
            due_at[slots[left]] = self._wanted(rest["time"][rest_starts], table["final"][slots[left]])
        return found

    def _wanted(self, time: NDArray[np.int64], final: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the horizon at which a waiting record of this time makes something final."""
        if not self._interval:
            return time
        cell = time // self._interval
        end: NDArray[np.int64] = (cell + 1) * self._interval
        if self._settings.fill == "linear" or not self._settings.max_gap:
            return end
        gap = np.where(final == NEVER, 0, cell - final - 1)
        return np.where((gap > 0) & (gap <= self._settings.max_gap), cell * self._interval, end)

    def _ordered(
        self,
        table: StreamTable,
        slots: NDArray[np.intp],
        crossing: _Crossing,
        rows: NDArray[np.void],
        group: NDArray[np.intp],
    ) -> Rows:
        """Lateness without a grid: every record is a row, in order of time."""
        slot = slots[group]
        starts = group_starts(slot.astype(np.int32))
        restart = np.zeros(len(rows), np.bool_)
        restart[starts] = table["final"][slot[starts]] == NEVER
        ends = np.append(starts[1:], len(rows)) - 1
        table["final"][slot[starts]] = rows["time"][ends]
        return Rows(
            slot.astype(np.int32),
            rows["values"],
            rows["time"],
            rows["time"],
            rows["offset"],
            rows["offset"],
            np.maximum(crossing.offset(group, rows["time"]), rows["due"]),
            np.ones(len(rows), np.int64),
            restart,
        )

    def _cells(
        self,
        table: StreamTable,
        slots: NDArray[np.intp],
        reached: NDArray[np.int64],
        crossing: _Crossing,
        rows: NDArray[np.void],
        group: NDArray[np.intp],
        done: NDArray[np.bool_],
    ) -> Rows:
        """Close cells, and fill the short gaps before them."""
        interval = self._interval
        cell = rows["time"] // interval
        first = np.ones(len(rows), np.bool_)
        first[1:] = (group[1:] != group[:-1]) | (cell[1:] != cell[:-1])
        starts = np.flatnonzero(first)  # of cells, final ones and open ones
        closed = done[starts]
        cell_group, cell_index = group[starts], cell[starts]
        opens = np.ones(len(starts), np.bool_)
        opens[1:] = cell_group[1:] != cell_group[:-1]
        before = np.empty_like(cell_index)
        before[1:] = cell_index[:-1]
        before[opens] = table["final"][slots[cell_group[opens]]]
        gap = np.where(before == NEVER, 0, cell_index - before - 1)
        fillable = (gap > 0) & (gap <= self._settings.max_gap)
        if self._settings.fill == "hold":
            # The gap before the first open cell is filled as soon as its last cell is final.
            first_open = ~closed
            first_open[1:] &= opens[1:] | closed[:-1]
            fillable &= closed | (first_open & (cell_index * interval <= reached[cell_group]))
        else:
            fillable &= closed
        fills = np.where(fillable, gap, 0)
        emitted = fills + closed
        used = np.flatnonzero(emitted)
        if len(used) == 0:
            return _no_rows(self._dtype["values"].shape[0])
        values = _aggregate(rows["values"], starts, self._settings.aggregate)
        held = self._values_before(table, slots, cell_group, opens, values)
        of = np.repeat(used, emitted[used])
        step = np.arange(len(of)) - np.repeat(np.cumsum(emitted[used]) - emitted[used], emitted[used])
        filled = step < fills[of]
        index = np.where(filled, before[of] + 1 + step, cell_index[of])
        if self._settings.fill == "hold":
            fill_values = held[of]
            fill_due = np.maximum(
                crossing.offset(cell_group[of], cell_index[of] * interval), np.minimum.reduceat(rows["due"], starts)[of]
            )
        else:
            share = ((step + 1) / (fills[of] + 1))[:, None]
            fill_values = (held[of] + (values[of].astype(np.float64) - held[of]) * share).astype(np.float32)
            fill_due = crossing.offset(cell_group[of], (cell_index[of] + 1) * interval)
        last = np.append(np.flatnonzero(np.diff(cell_group[of])), len(of) - 1)
        table["final"][slots[cell_group[of[last]]]] = index[last]
        return Rows(
            slots[cell_group[of]].astype(np.int32),
            np.where(filled[:, None], fill_values, values[of]),
            index * interval,
            (index + 1) * interval,
            np.where(filled, _FAR, np.minimum.reduceat(rows["offset"], starts)[of]),
            np.where(filled, -1, np.maximum.reduceat(rows["offset"], starts)[of]),
            np.where(filled, fill_due, crossing.offset(cell_group[of], (cell_index[of] + 1) * interval)),
            np.where(filled, 0, np.diff(np.append(starts, len(rows)))[of]),
            ~filled & ((before[of] == NEVER) | (gap[of] > self._settings.max_gap)),
        )

    @staticmethod
    def _values_before(
        table: StreamTable,
        slots: NDArray[np.intp],
        cell_group: NDArray[np.intp],
        opens: NDArray[np.bool_],
        values: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return for each cell the values of the row before it: the cell before, or the stream's last row."""
        held = np.empty_like(values)
        held[1:] = values[:-1]
        of = slots[cell_group[opens]]
        ring = table["ring"]
        held[opens] = ring[of, (table["head"][of] - 1) % ring.shape[1]]
        return held


@dataclass(frozen=True, slots=True)
class _Crossing:
    """Finds the record with which a stream's horizon reached a time."""

    group: NDArray[np.intp]
    horizon: NDArray[np.int64]
    due: NDArray[np.int64]

    def offset(self, group: NDArray[np.intp], time: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return for each (group, time) the offset of the first record with a horizon of at least `time`."""
        keys = (self.group.astype(np.int64) << _TIME_BITS) + np.maximum(self.horizon, 0)
        place = np.searchsorted(keys, (group.astype(np.int64) << _TIME_BITS) + np.maximum(time, 0))
        found: NDArray[np.int64] = self.due[np.minimum(place, len(self.due) - 1)]
        return found


def _aggregate(values: NDArray[np.float32], starts: NDArray[np.intp], how: str) -> NDArray[np.float32]:
    """Return one row for each segment of `values`: missing values do not count, all missing stays missing."""
    if how in {"min", "max"}:
        reduce = np.fmin if how == "min" else np.fmax
        least: NDArray[np.float32] = reduce.reduceat(values, starts, axis=0)
        return least
    present = ~np.isnan(values)
    if how == "last":
        place = np.where(present, np.arange(len(values))[:, None], -1)
        latest = np.maximum.reduceat(place, starts, axis=0)
        found = np.take_along_axis(values, np.maximum(latest, 0), axis=0)
        return np.where(latest >= starts[:, None], found, np.float32(np.nan))
    count = np.add.reduceat(present, starts, axis=0, dtype=np.int64)
    total = np.add.reduceat(np.where(present, values, 0).astype(np.float64), starts, axis=0)
    if how == "mean":
        total = total / np.maximum(count, 1)
    return np.where(count > 0, total, np.nan).astype(np.float32)


def _no_rows(features: int) -> Rows:
    """Return no rows."""
    none = np.zeros(0, np.int64)
    return Rows(
        none.astype(np.int32),
        np.zeros((0, features), np.float32),
        none,
        none,
        none,
        none,
        none,
        none,
        none.astype(np.bool_),
    )
