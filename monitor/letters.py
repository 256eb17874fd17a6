"""Dead letters: records that could not be used, or came too late, with what was in them and why."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from monitor.pipeline import Output
from monitor.sources.base import Batch, Key, Rows
from monitor.sources.batches import bounds
from monitor.times import to_iso

Raw = tuple[bytes | None, bytes | None]
"""Key and value of a record."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be used: its bytes as they came, where it was, and why."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    reason: str
    detail: str

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """The headers of its message."""
        return [
            ("source-topic", self.topic.encode()),
            ("source-partition", str(self.partition).encode()),
            ("source-offset", str(self.offset).encode()),
            ("reason", self.reason.encode()),
            ("detail", self.detail.encode("utf-8", "replace")[:1024]),
        ]


class Letters:
    """Makes the dead letters of records that the codec had found good: of too many streams, late, repeated."""

    def __init__(self, features: Sequence[str], max_streams: int, waiting: Callable[[Key], set[int]] | None) -> None:
        """Begin without any.

        Args:
            features: names, in order.
            max_streams: live streams that a partition can have, for the message.
            waiting: says which offsets of a partition wait for a later record, as such a record may turn out late;
                None = late and repeated records are no dead letters.
        """
        self._features = tuple(features)
        self._limit = f"the partition has {max_streams} live streams (record.max_streams)"
        self._waiting = waiting
        self._held: dict[Key, dict[int, Raw]] = {}

    def of(self, batches: Sequence[Batch | Rows], output: Output) -> list[DeadLetter]:
        """Return the letters of what the pipeline said of these batches."""
        wanted = [("cardinality", self._limit, output.refused)]
        if self._waiting is not None:
            wanted += [
                ("late", "the record's time lies before what its stream has used", output.late),
                ("repeated", "the stream has had a record of this time", output.repeated),
            ]
        known = {(batch.topic, batch.partition): batch for batch in batches if len(batch)}
        letters = [
            DeadLetter(*key, offset, *self._raw(known.get(key), key, offset), reason, detail)
            for reason, detail, offsets in wanted
            for key, found in offsets.items()
            for offset in found
        ]
        if self._waiting is not None:
            for key, batch in known.items():
                self._held[key] = {offset: self._raw(batch, key, offset) for offset in self._waiting(key)}
        return letters

    def drop(self, key: Key) -> None:
        """Forget a partition."""
        self._held.pop(key, None)

    def crash(self, batch: Batch | Rows, detail: str) -> DeadLetter:
        """Return the letter of the one record of a batch, of which the process has died."""
        offset, key = bounds(batch)[0], (batch.topic, batch.partition)
        unread = next((row.value for row in batch.refused), None) if isinstance(batch, Rows) else None
        raw = self._raw(batch, key, offset) if unread is None else (None, unread)
        return DeadLetter(*key, offset, *raw, "crash", detail)

    def _raw(self, batch: Batch | Rows | None, key: Key, offset: int) -> Raw:
        """Return what was in a record: of this batch, or of an earlier one if it has waited since."""
        offsets: Sequence[int] = () if batch is None else batch.offsets if isinstance(batch, Batch) else batch.offset  # type: ignore[assignment]  # an array can be searched, too
        at = bisect_left(offsets, offset)
        if batch is None or at == len(offsets) or offsets[at] != offset:
            return self._held.get(key, {}).get(offset, (None, None))
        if isinstance(batch, Batch):
            return batch.keys[at], batch.values[at]
        return None, row_bytes(self._features, batch, at)


def row_bytes(features: Sequence[str], rows: Rows, at: int) -> bytes:
    """Return a row of a recording that has no bytes of its own, as the record v1 that says the same."""
    values = {
        name: None if np.isnan(value) else float(str(value))
        for name, value in zip(features, rows.values[at], strict=True)
    }
    stream = rows.streams[int(rows.stream[at])]
    return msgspec.json.encode({"stream": stream, "time": to_iso(int(rows.time[at])), "values": values})
