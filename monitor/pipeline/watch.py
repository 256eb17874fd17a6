"""Alerts about the data themselves, of which `alert.quality` is the settings: one alert machine for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from monitor.alert import Alert, Alerter, AlertSettings, Expiry
from monitor.pipeline.expiry import expiries
from monitor.pipeline.faults import Faults, told
from monitor.pipeline.partition import Partition
from monitor.quality import (
    DIRECTIONS,
    MEASURED,
    PARTITION_SILENCE,
    SILENT,
    TIMED,
    Heard,
    Quality,
    Rates,
    Silences,
    Skews,
    Turn,
)
from monitor.record import Records, RecordSettings
from monitor.table import AnyColumn, StreamTable
from monitor.window import Windowed


class Watch:
    """Finds what is wrong with a partition's data, and makes alerts of it.

    Attributes:
        alerters: the machines of all kinds.
        columns: everything that they and the measures know of a stream.
    """

    ACTIVITY = (*Silences.COLUMNS, *Rates.COLUMNS, *Skews.COLUMNS)
    """Those of the columns that every used record changes."""

    def __init__(self, quality: Quality, alert: AlertSettings, record: RecordSettings, features: int) -> None:
        """Set up the kinds; limits of `alert.quality` are times already, so that nothing waits for more windows."""
        own = alert.model_copy(update={"open_after": 1, "resolve_after": 1, "rest": 0})
        settings = quality.settings
        self._quality = quality
        self._features = features
        self._forgotten = record.expire.ms
        self._silences = Silences(settings.silence, record.expire.ms)
        self._rates = Rates(settings.sampling_rate, min(alert.expire.ms, record.expire.ms))
        self._skews = Skews(settings.clock_skew)
        self._measured = tuple(Alerter(own, features, 0.0, kind=kind) for kind in MEASURED)
        self._stream, self._whole = (
            Alerter(own, features, 0.0, kind=kind, figured=False, whole=kind == PARTITION_SILENCE) for kind in SILENT
        )
        self._rated, self._skewed = (
            Alerter(own, features, 0.0, kind=kind, figured=False, members=members)
            for kind, members in zip(TIMED, (DIRECTIONS, ()), strict=True)
        )
        self.alerters = (*self._measured, self._stream, self._whole, self._rated, self._skewed)
        machines = tuple(column for alerter in self.alerters for column in alerter.columns)
        self.columns: tuple[AnyColumn, ...] = (*machines, *quality.columns, *self.ACTIVITY)

    def look(self, partition: Partition, records: Records, windowed: Windowed) -> tuple[Faults, Windowed]:
        """Return what is wrong with a batch, and its windows without what the model must not see."""
        table = partition.table
        measured, sound = self._quality.measure(table, windowed.windows)
        rates, skews = self._rates.process(table, windowed.judged), self._skews.process(table, records)
        partition.changes.touched(np.unique(records.slot))  # a late record tells of a clock, too
        partition.changes.decided(_slots([*rates, *skews]))
        faults = Faults(
            records, windowed.judged.arrivals, windowed.judged.by_due, windowed.windows, measured, rates, skews
        )
        return faults, replace(windowed, windows=sound)

    def firing(self, table: StreamTable) -> NDArray[np.bool_]:
        """Return which streams have an alert that a long silence resolves."""
        found: NDArray[np.bool_] = np.logical_or.reduce([each.firing(table) for each in (*self._measured, self._rated)])
        return found

    def alerts(self, partition: Partition, faults: Faults, heard: Heard, ended: list[Expiry]) -> list[Alert]:
        """Return the events of a batch.

        Args:
            partition: the partition; when its streams were last active is as before the batch.
            faults: what is wrong with it.
            heard: its accepted records.
            ended: the moments at which silence could resolve an alert.
        """
        found: list[Alert] = []
        for alerter in self._measured:
            found += faults.alerts(alerter, partition, ended)
        found += told(faults.rates, faults.seen, self._rated, partition, self._features, ended)
        # Late records can tell of a clock and are no sign of life: only a drop ends such an alert of a silent stream.
        clocks = np.union1d(np.flatnonzero(self._skewed.firing(partition.table)), _slots(faults.skews))
        gone = expiries(partition.table, heard, clocks, self._forgotten)
        found += told(faults.skews, faults.came, self._skewed, partition, self._features, gone)
        return found + self._silent(partition, heard)

    def _silent(self, partition: Partition, heard: Heard) -> list[Alert]:
        """Return the events of streams that fall silent, or speak again."""
        if len(heard.slot) == 0:
            return []
        table, stream, whole = partition.table, self._stream, self._whole
        turns = self._silences.process(table, heard, stream.firing(table), whole.firing(table))
        partition.changes.decided(_slots([*turns.streams, *turns.partition]))
        partition.changes.decided(np.array(turns.changed, np.intp))
        found = told(turns.streams, heard, stream, partition, self._features)
        return found + told(turns.partition, heard, whole, partition, self._features)


def _slots(turns: Sequence[Turn]) -> NDArray[np.intp]:
    """Return whose turns they are."""
    return np.array([turn.slot for turn in turns], np.intp)
