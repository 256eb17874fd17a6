"""JSON Lines: one record a line, plain or in the envelope of `kcat -J`; from files, or from standard input.

A line is a record; a blank one is none and is not counted. Files whose first line is an envelope have the positions,
times and keys that their records had in Kafka; a line of such a file that is no envelope is handed on as it is, at the
offset behind the last envelope's, for the codec to refuse. Files without positions are one input together: topic = base
name of the first file, partition 0, offset = number of the record from 0, counted on through the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from monitor.codec import features_of
from monitor.record import RecordSettings
from monitor.sources import envelope
from monitor.sources.base import Batch, Rows, SourceError
from monitor.sources.files import STDIN, FileSettings, check_twice
from monitor.sources.lines import VALUE_LIMIT, LineSource

suffixes = (".jsonl", ".ndjson", ".json", STDIN)
"""How names of files of this kind end."""


class Settings(FileSettings):
    """Records of JSON Lines files, or of standard input (`path: -`)."""

    type: Literal["jsonl"] = "jsonl"
    follow: bool = Field(default=False, description="wait for more at the end of the last file, as tail -F does")

    def build(self, record: RecordSettings, features: Sequence[str] | None = None) -> JsonlSource:
        """Open the source; the codec needs `record` and `features`, this source does not."""
        del record, features
        return JsonlSource(self.paths, follow=self.follow)

    def peek(self, record: RecordSettings, count: int = 1_000) -> tuple[str, ...]:
        """Return the names that have a number in one of the first `count` records, in order of first appearance.

        Wide layout: the keys of the object `record.values`; long layout: the names at `record.sensor`. Records that
        cannot be decoded name nothing.

        Raises:
            SourceError: if a file cannot be read, or is a pipe.
        """
        check_twice(self.paths)
        values: list[bytes | None] = []
        source = JsonlSource(self.paths)
        try:
            while len(values) < count and not source.exhausted:
                for batch in source.poll(0.0):
                    values.extend(batch.values if isinstance(batch, Batch) else ())
        finally:
            source.close()
        return features_of(record, values[:count])


@dataclass(slots=True)
class _Columns:
    """A `Batch` that still grows."""

    offsets: list[int] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)


class JsonlSource(LineSource):
    """See the module."""

    def __init__(self, paths: Sequence[str], *, follow: bool = False) -> None:
        """Look at all files, open none yet."""
        super().__init__(paths, follow=follow)
        self._path = paths[0]
        self._next = 0
        self._enveloped: bool | None = None  # None = the first line of the file has not come yet
        self._last = (self._topic, 0)
        self._after: dict[tuple[str, int], int] = {}  # (topic, partition) → offset behind its last record

    def count_from(self, topic: str, number: int) -> None:
        """Begin to count at a number, in the name of a topic: for files that others came before; to be called first."""
        self._topic, self._next, self._last = topic, number, (topic, 0)

    @property
    def number(self) -> int | None:
        """Number of the next record; None where records have positions of their own."""
        return None if self._enveloped else self._next

    def _begin(self, path: str) -> None:
        self._path = path
        self._enveloped = None

    def _take(self, lines: list[bytes]) -> list[Batch | Rows]:
        if self._enveloped is None:
            self._enveloped = envelope.read(lines[0]) is not None
        return self._unwrap(lines) if self._enveloped else [self._plain(lines)]

    def _plain(self, lines: list[bytes]) -> Batch:
        n, first = len(lines), self._next
        self._next += n
        values = [line if len(line) <= VALUE_LIMIT else line[: VALUE_LIMIT + 1] for line in lines]
        return Batch(self._topic, 0, range(first, self._next), [-1] * n, [None] * n, values)

    def _unwrap(self, lines: list[bytes]) -> list[Batch | Rows]:
        columns: dict[tuple[str, int], _Columns] = {}
        for line in lines:
            found = envelope.read(line)
            if found is None:
                after = self._after.get(self._last, 0)
                found = envelope.Envelope(*self._last, after, -1, None, line[: VALUE_LIMIT + 1])
            else:
                self._advance(found)
            column = columns.setdefault(self._last, _Columns())
            column.offsets.append(found.offset)
            column.timestamps.append(found.time)
            column.keys.append(found.key)
            column.values.append(found.value)
        return [Batch(*at, c.offsets, c.timestamps, c.keys, c.values) for at, c in columns.items()]

    def _advance(self, found: envelope.Envelope) -> None:
        """Note the position; what comes later must lie behind it, or no offset would mean anything."""
        self._last = (found.topic, found.partition)
        after = self._after.get(self._last, 0)
        if found.offset < after:
            message = (
                f"{self._path}: offset {found.offset} of {found.topic}/{found.partition} comes after {after - 1}: "
                "a recording holds each offset once, in order; sort the lines, or give the files in order"
            )
            raise SourceError(message)
        self._after[self._last] = found.offset + 1
