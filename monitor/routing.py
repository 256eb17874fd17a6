"""Which fleet a record belongs to: decided once for a stream, by its id, and looked up from then on.

A fleet is a glob; the first one that the id matches has the stream. What cannot be said to be of any stream (no id, a
bad one, bytes that are no record) goes to the first fleet, whose decoder says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import cast

import numpy as np
from numpy.typing import NDArray

from monitor.codec import StreamIds
from monitor.identity import wrong_id
from monitor.letters import row_bytes
from monitor.record import RecordSettings
from monitor.sources.base import Batch, Refused, Rows

NOBODY = -1
_MOST_KNOWN = 1_000_000
"""So many ids are remembered; who sends more has each looked up again now and then."""


@dataclass(frozen=True, slots=True)
class Routed:
    """A batch, fleet by fleet.

    Attributes:
        parts: of each fleet that has a record in it, in the fleets' order.
        filtered: number of records of streams that belong to no fleet.
    """

    parts: Mapping[str, Batch | Rows]
    filtered: int = 0


class Router:
    """Gives batches to fleets."""

    def __init__(
        self, record: RecordSettings, fleets: Mapping[str, Sequence[str]], features: Sequence[str] | None = None
    ) -> None:
        """Set up.

        Args:
            record: where a record's stream id lies.
            fleets: globs in the order in which they are tried, each with the features of its model.
            features: the columns of rows that come (`Rows.values`); None = `features` of this router.

        Raises:
            ValueError: if no field can lie at `record.stream`.
        """
        self._names = tuple(fleets)
        self._ids = StreamIds(record)
        self._known: dict[bytes | None, int] = {}
        every = tuple(dict.fromkeys(name for own in fleets.values() for name in own))
        self.features = every if features is None else tuple(features)
        self._columns = [
            None
            if tuple(own) == self.features
            else [self.features.index(name) for name in own if name in self.features]
            for own in fleets.values()
        ]

    def fleet(self, stream: str) -> str | None:
        """Return the fleet of a stream, None if it belongs to none."""
        number = self._match(stream)
        return None if number == NOBODY else self._names[number]

    def split(self, batch: Batch | Rows) -> Routed:
        """Return the batch, fleet by fleet; records of streams of no fleet are only counted."""
        if isinstance(batch, Rows):
            return self._split_rows(batch)
        streams = self._ids.of(batch.values, batch.keys)
        found: list[int | None] = list(map(self._known.get, streams))
        if None in found:
            found = [
                self._find(stream) if number is None else number for stream, number in zip(streams, found, strict=True)
            ]
        if found.count(found[0]) == len(found):  # mostly so where producers partition by fleet
            number = found[0]
            whole = number is not None and number != NOBODY
            return Routed({self._names[cast("int", number)]: batch}) if whole else Routed({}, len(found))
        numbers = np.array(found, np.int32)
        return Routed(self._parts(batch, numbers), int(np.count_nonzero(numbers == NOBODY)))

    def cut(self, rows: Rows) -> Rows:
        """Return rows of no fleet with the columns of the first one."""
        return self._rows(rows, np.arange(len(rows.offset)), 0, rows.refused)

    def _parts(self, batch: Batch, numbers: NDArray[np.int32]) -> dict[str, Batch | Rows]:
        parts: dict[str, Batch | Rows] = {}
        for number, name in enumerate(self._names):
            at = np.flatnonzero(numbers == number).tolist()
            if at:
                columns = (batch.offsets, batch.timestamps, batch.keys, batch.values)
                parts[name] = Batch(batch.topic, batch.partition, *(list(map(c.__getitem__, at)) for c in columns))  # type: ignore[arg-type]  # each part is of its column's type
        return parts

    def _find(self, stream: bytes | None) -> int:
        """Return the fleet's number of an id that may be anything."""
        if stream is None:
            return 0
        known = self._known.get(stream)  # a new one may come often in the batch in which it is new
        if known is not None:
            return known
        try:
            name = stream.decode()
        except UnicodeDecodeError:
            return 0
        if wrong_id(name):
            return 0
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        number = self._known[stream] = self._match(name)
        return number

    def _match(self, stream: str) -> int:
        return next((n for n, glob in enumerate(self._names) if fnmatchcase(stream, glob)), NOBODY)

    def _split_rows(self, rows: Rows) -> Routed:
        """Give rows that are columns already to their fleets; those that were refused have no stream."""
        numbers = np.array([self._find(name.encode()) for name in rows.streams], np.int32)
        numbers = numbers[rows.stream] if len(numbers) else np.zeros(0, np.int32)
        parts: dict[str, Batch | Rows] = {}
        for number, name in enumerate(self._names):
            at = np.flatnonzero(numbers == number)
            refused = rows.refused if number == 0 else ()
            if len(at) or refused:
                parts[name] = self._rows(rows, at, number, refused)
        return Routed(parts, int(np.count_nonzero(numbers == NOBODY)))

    def _rows(self, rows: Rows, at: NDArray[np.intp], number: int, refused: Sequence[Refused]) -> Rows:
        """Return some of the rows with the columns of a fleet."""
        columns = self._columns[number]
        values = rows.values[at] if columns is None else np.ascontiguousarray(rows.values[at][:, columns])
        empty = np.isnan(values).all(axis=1)
        if empty.any():
            what = "the record has a value for none of the model's features"
            refused = [
                *refused,
                *(
                    Refused(int(rows.offset[row]), row_bytes(self.features, rows, row), "features", what)
                    for row in at[empty].tolist()
                ),
            ]
            refused.sort(key=lambda row: row.offset)
            at, values = at[~empty], values[~empty]
        codes, where, inverse = np.unique(rows.stream[at], return_index=True, return_inverse=True)
        order = np.argsort(where)  # streams in the order of their first row, as a source names them
        return replace(
            rows,
            streams=[rows.streams[code] for code in codes[order].tolist()],
            stream=np.argsort(order)[inverse].astype(np.int32),
            time=rows.time[at],
            values=values,
            offset=rows.offset[at],
            label=None if rows.label is None else rows.label[at],
            refused=refused,
        )
