"""The window stage: records of one partition in, windows out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.record import NEVER, Records, RecordSettings
from monitor.table import AnyColumn, StreamTable
from monitor.window.clock import Clock, Judged
from monitor.window.grid import Grid
from monitor.window.ring import Ring
from monitor.window.settings import WindowSettings
from monitor.window.windows import Windows


@dataclass(frozen=True, slots=True)
class Windowed:
    """What a batch became.

    Attributes:
        windows: the windows that are due.
        judged: which records were accepted, and the offsets of late and repeated ones.
        processed: number of records that became part of a final row.
        late: offsets of late records; a record that was held or waited may have come in an earlier batch.
    """

    windows: Windows
    judged: Judged
    processed: int
    late: list[int]


class Windower:
    """Cuts the records of one partition into windows of event time, with the semantics of `WindowSettings`."""

    def __init__(self, settings: WindowSettings, record: RecordSettings, features: int) -> None:
        """Set up for `features` features."""
        self.settings = settings
        self._clock = Clock(settings, record.max_step.ms, features, by_sensor=record.layout == "long")
        self._grid = Grid(settings, features)
        self._ring = Ring(settings, features)
        self.columns: tuple[AnyColumn, ...] = (*self._clock.columns, *self._grid.columns, *self._ring.columns)

    def process(self, table: StreamTable, records: Records) -> Windowed:
        """Return the windows that a batch makes due. The batch must not be empty."""
        judged = self._clock.judge(table, records)
        rows, dropped = self._grid.rows(table, judged.arrivals)
        windows = self._ring.windows(table, rows)
        return Windowed(windows, judged, int(rows.records.sum()), judged.late + dropped)

    def unfinished(self, table: StreamTable, slots: NDArray[np.intp]) -> list[int]:
        """Return the offsets of the records of these streams that wait: they are late when their stream is dropped."""
        found: list[int] = table["held_offset"][slots[table["held_time"][slots] != NEVER]].tolist()
        if self.settings.buffered:
            waiting, _ = table.ragged("waiting").rows(slots)
            found += waiting["offset"].tolist()
        return found

    def pending(self, table: StreamTable) -> int:
        """Return how many records wait: held ones, and accepted ones that are not final."""
        held = int(np.count_nonzero(table["held_time"] != NEVER))
        return held + (table.ragged("waiting").total if self.settings.buffered else 0)

    def waiting(self, table: StreamTable) -> set[int]:
        """Return the offsets of the records that wait."""
        found = set(table["held_offset"][table["held_time"] != NEVER].tolist())
        if self.settings.buffered:
            rows, _ = table.ragged("waiting").rows(table.live())
            found.update(rows["offset"].tolist())
        return found
