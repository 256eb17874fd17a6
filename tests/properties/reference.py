"""A plain reading of the window semantics, one record at a time: what the columns are checked against."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.window.clock import CLOCK_RESET_RUN, REMEMBERED
from monitor.window.settings import WindowSettings

Record = tuple[int, int, NDArray[np.float32]]
"""Time, offset, values."""

Window = tuple[Any, ...]
"""Bytes of the values, start, end, low, high, due, missing, restarted."""

Row = tuple[NDArray[np.float32], int, int, int | None, int | None, bool]
"""Values, start, end, low, high, filled."""


@dataclass
class ReferenceStream:
    """One stream. `take` returns the windows that a record makes due."""

    settings: WindowSettings
    max_step: int
    by_sensor: bool = False
    seen: int | None = None
    final: int | None = None  # last used time, or index of the last used cell
    held: Record | None = None
    recent: list[tuple[int, int]] = field(default_factory=list)
    waiting: list[Record] = field(default_factory=list)
    run: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    restarted: bool = True
    late: list[int] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)
    processed: int = 0

    def key(self, record: Record) -> tuple[int, int]:
        """What two repeats share."""
        time, _, values = record
        return (time, int(np.argmax(~np.isnan(values))) if self.by_sensor else 0)

    def take(self, record: Record) -> list[Window]:
        """Judge (time, offset, values) and return the windows that it makes due."""
        out: list[Window] = []
        time, offset, _ = record
        if self.held is not None:
            if self.key(record) == self.key(self.held):
                self.repeated.append(offset)
                return out
            held, self.held = self.held, None
            if held[0] <= time <= held[0] + self.max_step:
                out += self.use(held, offset)
            else:
                self.late.append(held[1])
        if self.seen is not None and time > self.seen + self.max_step:
            self.held = record
        elif self.seen is None or time > self.seen:
            out += self.use(record, offset)
        elif self.key(record) in self.recent[-REMEMBERED:] or (not self.settings.interval and time == self.final):
            self.repeated.append(offset)
        elif self.below(time):
            self.run = [*self.run, time] if self.run and time > self.run[-1] else [time]
            if len(self.run) < CLOCK_RESET_RUN:
                self.late.append(offset)
            else:
                self.late += [w[1] for w in self.waiting]
                self.recent, self.waiting, self.rows = [], [], []
                self.seen = self.final = None
                self.restarted = True
                out += self.use(record, offset)
        elif any(self.key(record) == self.key(w) for w in self.waiting):
            self.repeated.append(offset)
        else:
            out += self.use(record, offset)
        return out

    def horizon(self) -> int:
        """Up to where things are final."""
        assert self.seen is not None
        horizon = self.seen - self.settings.lateness.ms
        interval = self.settings.interval_ms
        return horizon // interval * interval if interval else horizon

    def below(self, time: int) -> bool:
        """Whether a time is late."""
        if self.settings.interval:
            return time < self.horizon()
        return self.final is not None and time < self.final

    def use(self, record: Record, due: int) -> list[Window]:
        """Accept a record, and use what is final by it."""
        self.seen = record[0] if self.seen is None else max(self.seen, record[0])
        self.run = []
        self.recent.append(self.key(record))
        self.waiting.append(record)
        self.waiting.sort(key=lambda w: (w[0], w[1]))
        return self.cells(due) if self.settings.interval else self.records(due)

    def records(self, due: int) -> list[Window]:
        """Without a grid."""
        out: list[Window] = []
        while self.waiting and self.waiting[0][0] <= self.horizon():
            time, offset, values = self.waiting.pop(0)
            self.final = time
            self.processed += 1
            out += self.row(values, time, time, offset, offset, due)
        return out

    def cells(self, due: int) -> list[Window]:
        """With a grid."""
        out: list[Window] = []
        interval, settings = self.settings.interval_ms, self.settings
        while self.waiting:
            cell = self.waiting[0][0] // interval
            gap = 0 if self.final is None else cell - self.final - 1
            closes = (cell + 1) * interval <= self.horizon()
            known = cell * interval <= self.horizon() if settings.fill == "hold" else closes
            members = [w for w in self.waiting if w[0] // interval == cell]
            value = self.aggregate([w[2] for w in members])
            if 0 < gap <= settings.max_gap and known:
                before = self.rows[-1][0]
                for i in range(gap):
                    index = cell - gap + i
                    filled = before
                    if settings.fill == "linear":
                        share = (i + 1) / (gap + 1)
                        filled = (before + (value.astype(np.float64) - before) * share).astype(np.float32)
                    out += self.row(filled, index * interval, (index + 1) * interval, None, None, due, cell=index)
            if not closes:
                break
            if gap > settings.max_gap:
                self.rows = []
                self.restarted = True
            self.waiting = self.waiting[len(members) :]
            self.processed += len(members)
            offsets = [w[1] for w in members]
            start = cell * interval
            out += self.row(value, start, start + interval, min(offsets), max(offsets), due, cell=cell)
        return out

    def aggregate(self, values: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """One cell of several records."""
        how = self.settings.aggregate
        out = np.full(len(values[0]), np.nan, np.float32)
        for f in range(len(out)):
            present = [float(v[f]) for v in values if not np.isnan(v[f])]
            if present:
                out[f] = {
                    "mean": sum(present) / len(present),
                    "sum": sum(present),
                    "min": min(present),
                    "max": max(present),
                    "last": present[-1],
                }[how]
        return out

    def row(
        self,
        values: NDArray[np.float32],
        start: int,
        end: int,
        low: int | None,
        high: int | None,
        due: int,
        cell: int | None = None,
    ) -> list[Window]:
        """Add a row, and return the window that ends with it, if one does."""
        if cell is not None:
            self.final = cell
        settings = self.settings
        self.rows.append((values, start, end, low, high, low is None))
        n, length = len(self.rows), settings.length
        aligned = cell % settings.stride == 0 if cell is not None else (n - length) % settings.stride == 0
        if n < length or not aligned:
            return []
        last = self.rows[-length:]
        lows = [r[3] for r in last if r[3] is not None] or [due]
        highs = [r[4] for r in last if r[4] is not None] or [due]
        absent = sum(len(r[0]) if r[5] else int(np.isnan(r[0]).sum()) for r in last)
        window = (
            np.stack([r[0] for r in last]).tobytes(),
            last[0][1],
            last[-1][2],
            min(lows),
            max(highs),
            due,
            absent / (length * len(values)),
            self.restarted,
        )
        self.restarted = False
        return [window]
