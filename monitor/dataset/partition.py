"""The rows of one partition of a recording, and where windows end: the pipeline, tapped behind the window stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from monitor.alert import AlertSettings
from monitor.codec import Decoder
from monitor.config import ConfigError
from monitor.dataset.labels import matched
from monitor.pipeline import Pipeline
from monitor.record import Records, RecordSettings
from monitor.score import ModelScores
from monitor.sources.base import Batch, Key, Rows
from monitor.table import StreamTable
from monitor.threshold import Prior, Tracked
from monitor.window import Windower, Windows, WindowSettings
from monitor.window.ring import Ring
from monitor.window.rows import Rows as FinalRows

_PRIOR = Prior(0.0, 1.0, [(0.5, 1.0)], 1.0, 1.0)  # of a line that nothing is compared with


@dataclass
class Columns:
    """Rows.

    Attributes:
        stream: `(n,)` int32, number of the stream by first appearance.
        values: `(n, F)` float32, NaN = missing.
        time: `(n,)` int64 ms, of the record, or of the end of the cell.
        filled: `(n,)` bool, True where the row was made to fill a gap.
        ends: `(n,)` bool, True where a window ends with the row.
        label: `(n,)` bool, True where one of the row's records is labelled.
    """

    stream: NDArray[np.int32]
    values: NDArray[np.float32]
    time: NDArray[np.int64]
    filled: NDArray[np.bool_]
    ends: NDArray[np.bool_]
    label: NDArray[np.bool_]

    @classmethod
    def none(cls, features: int) -> Columns:
        """Return no rows."""
        flag = np.zeros(0, np.bool_)
        return cls(np.zeros(0, np.int32), np.zeros((0, features), np.float32), np.zeros(0, np.int64), flag, flag, flag)

    @classmethod
    def drained(cls, parts: Sequence[Columns]) -> Columns:
        """Return the rows of all parts, at least one. They lose theirs column by column: no two are held twice."""
        if len(parts) == 1:
            return parts[0]
        empty = cls.none(parts[0].values.shape[1])
        columns = []
        for field in fields(cls):
            columns.append(np.concatenate([getattr(part, field.name) for part in parts]))
            for part in parts:
                setattr(part, field.name, getattr(empty, field.name))
        return cls(*columns)

    def take(self, order: NDArray[np.intp]) -> Columns:
        """Return the rows at these positions."""
        return Columns(*(getattr(self, field.name)[order] for field in fields(self)))


class PartitionReader:
    """Takes the batches of one partition.

    Attributes:
        streams: id → number, by first appearance.
        reasons: dead letters by reason.
        examples: for each reason, where and what the first one was.
        unknown: values of features that were not asked for.
    """

    def __init__(self, key: Key, features: Sequence[str], record: RecordSettings, window: WindowSettings) -> None:
        """Begin without rows.

        Raises:
            ConfigError: if section `record` contradicts itself.
        """
        self.streams: dict[str, int] = {}
        self.reasons: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.unknown = 0
        self._where = f"{key[0]}/{key[1]}"
        self._interval = window.interval_ms
        self._filtered = 0
        self._pieces = [Columns.none(len(features))]
        self._labelled: list[tuple[NDArray[np.int32], NDArray[np.int64]]] = []
        try:
            self._decoder = Decoder(record, features)
        except ValueError as error:
            message = f"record: {error}"
            raise ConfigError(message) from None
        # An alert can never open; but who is admitted, late or forgotten, and when, is decided as in production.
        self._pipeline = Pipeline(
            record, window, Tracked.Settings(), AlertSettings(), _NoModel(), _PRIOR, len(features)
        )
        self._tap = _Tap(window, record, len(features))
        self._pipeline.windower = self._tap
        self._partition = self._pipeline.partition(*key)

    def take(self, batch: Batch | Rows) -> None:
        """Take a batch, which must follow the one before."""
        records, label = self._decode(batch)
        if len(records) == 0:
            self._partition.table.settle()
            return
        numbers = self._numbers(records.slot)
        if label is not None and label.any():
            time = records.time[label]
            self._labelled.append((numbers[label], time - time % self._interval if self._interval else time))
        output = self._pipeline.process([(self._partition, records)])
        for offset in output.refused.get(self._partition.key, []):
            self._refuse("cardinality", offset, "more streams than record.max_streams")
        for rows, at, ids in self._tap.take():
            self._pieces.append(self._piece(rows, at, ids))

    def columns(self) -> Columns:
        """Return all rows so far, each stream's in order."""
        rows = Columns.drained(self._pieces)
        self._pieces = [rows]
        if self._labelled:
            stream, start = (np.concatenate(column) for column in zip(*self._labelled, strict=True))
            rows.label = matched(rows.stream, rows.time - self._interval, stream, start)
        return rows

    def classes(self) -> Counter[str]:
        """Return the records by class, without those that wait."""
        counts = self._partition.counts
        classes = {name: counts[name] for name in ("processed", "late", "repeated")}
        return Counter({**classes, "filtered": self._filtered, "dead_lettered": self.reasons.total()})

    def pending(self) -> int:
        """Return how many records wait."""
        return self._pipeline.pending(self._partition)

    def _decode(self, batch: Batch | Rows) -> tuple[Records, NDArray[np.bool_] | None]:
        """Return the usable records of a batch, and their labels, if it has any."""
        table = self._partition.table
        if isinstance(batch, Batch):
            found = self._decoder.decode(batch, table)
            for reject in found.rejects:
                self._refuse(reject.reason, batch.offsets[reject.index], reject.detail)
            self._filtered += found.filtered
            self.unknown += found.unknown
            return found.records, None
        for row in batch.refused:
            self._refuse(row.reason, row.offset, row.detail)
        slots = self._decoder.place(batch.streams, batch.stream, table)
        kept = np.flatnonzero(slots >= 0)
        self._filtered += len(slots) - len(kept)
        records = Records(slots, batch.time, batch.values, batch.offset).take(kept)
        return records, None if batch.label is None else batch.label[kept]

    def _refuse(self, reason: str, offset: int, detail: str) -> None:
        self.reasons[reason] += 1
        self.examples.setdefault(reason, f"{self._where} offset {offset}: {detail}")

    def _numbers(self, slot: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the number of each record's stream; a new one gets the next."""
        slots, first, inverse = np.unique(slot, return_index=True, return_inverse=True)
        numbers = np.empty(len(slots), np.int32)
        for place in np.argsort(first).tolist():
            name = self._partition.table.id_of(int(slots[place]))
            numbers[place] = self.streams.setdefault(name, len(self.streams))
        return numbers[inverse]

    def _piece(self, rows: FinalRows, at: NDArray[np.intp], ids: Sequence[str]) -> Columns:
        """Return final rows, sorted by slot, as columns; `ids` are those of the distinct slots, rising."""
        numbers = np.array([self.streams[name] for name in ids], np.int32)
        changes = np.append(False, rows.slot[1:] != rows.slot[:-1])
        ends = np.zeros(len(rows), np.bool_)
        ends[at] = True
        return Columns(
            numbers[np.cumsum(changes)],
            rows.values,
            rows.end,
            rows.records == 0,
            ends,
            np.zeros(len(rows), np.bool_),
        )


class _NoModel:
    """Stands where the model is; without windows nobody asks it."""

    def score(self, windows: NDArray[np.float32]) -> ModelScores:
        raise NotImplementedError


class _Ends(Ring):
    """Notes the rows, and at which of them windows end, where the ring gathers windows."""

    def __init__(self, settings: WindowSettings, features: int) -> None:
        super().__init__(settings, features)
        self.noted: list[tuple[FinalRows, NDArray[np.intp], list[str]]] = []

    def _gather(
        self,
        table: StreamTable,
        rows: FinalRows,
        at: NDArray[np.intp],
        rank: NDArray[np.int64],
        place: NDArray[np.int64],
        restarted: NDArray[np.bool_],
    ) -> Windows:
        del rank, place, restarted
        # The ids now: at the end of the batch a slot may be another stream's.
        self.noted.append((rows, at, [table.id_of(slot) for slot in np.unique(rows.slot).tolist()]))
        return Windows.none(self._length, self._features)


class _Tap(Windower):
    """The window stage with `_Ends` in it."""

    def __init__(self, settings: WindowSettings, record: RecordSettings, features: int) -> None:
        super().__init__(settings, record, features)
        self._ring: _Ends = _Ends(settings, features)

    def take(self) -> list[tuple[FinalRows, NDArray[np.intp], list[str]]]:
        """Return what was noted since the last call."""
        noted, self._ring.noted = self._ring.noted, []
        return noted
