"""What a partition writes into its changelog at a commit.

* **Deltas**: the decision columns (line, alert machine) of streams for which they changed, the slow ones only where
  these did, the activity of streams that sent something, and which streams came and went; a few columnar messages, not
  one a stream.
* **Images**: all columns of a bucket of slots, windows included, and the input offset as of which they stand. A sweep
  rewrites all of them, a few at each commit, paced by records and by monotonic time.
* **META**: one row that says where the state stands.

A delta's key is used again only after a whole sweep that began after the delta was committed, by which time an image
holds what it said: so compaction bounds the log. And what a restore needs begins where the last whole sweep began:
META says where that is, so a restore does not read what compaction has not come to yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor.message import Message
from monitor.pipeline import Partition
from monitor.state.entry import Entry, Image, Meta, ModelMark, Streams
from monitor.state.rows import ROWS_LIMIT, Packed, packs, row_bytes
from monitor.state.stages import NAMES, Generation
from monitor.state.store import META_KEY

_LARGEST_BUCKET = 64
_MOST_IMAGES = 4_000_000
"""Bytes of images in one transaction, about: a sweep that is behind must not make a transaction that takes seconds."""

SWEEP_STREAMS, LEAST_SWEEP = 4, 32_000
"""A sweep takes so many records a live stream, and so many at least: what a restore reads of the input goes with what
it reads of the log. Few streams would else be written anew so seldom that a restore reads input for many seconds."""

_MOST_NAMES = 2_000  # streams in a message: an id has up to 256 bytes
_CONFIGS = 16
"""So many configurations are remembered."""

_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes a log, as META says it: the same for all partitions, but for `input`."""

    model: ModelMark
    config: str
    versions: Mapping[str, str] = field(default_factory=dict)
    input: str | None = None


class StateLog:
    """Writes one partition's state.

    Attributes:
        needed: image offset by bucket.
    """

    def __init__(  # noqa: PLR0913 - what META says
        self,
        partition: Partition,
        topic: str,
        next_offset: int,
        *,
        writer: Writer,
        stages: Mapping[str, Generation],
        pending: Callable[[Partition], int],
        sweep_records: int,
        sweep_seconds: float,
        position: int = 0,
        before: Meta | None = None,
        images: dict[int, int] | None = None,
        anew: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to write, or go on where `before` stands.

        Args:
            partition: what is written.
            topic: the topic of the log.
            next_offset: where the partition stands.
            writer: who writes.
            stages: generations of the stages.
            pending: counts the records of the partition that wait.
            sweep_records: a sweep takes about so many input records, fewer where there are few streams.
            sweep_seconds: or so long, whichever comes first.
            position: where in the log the next message comes, or later.
            before: the META that was restored.
            images: image offset by bucket, as restored.
            anew: whether to begin with images of everything: the log before was of other fleets.
            clock: monotonic seconds; invisible in what is written but for the pace of the sweep.
        """
        self._partition, self._topic, self._clock = partition, topic, clock
        self._writer, self._pending, self._stages = writer, pending, dict(stages)
        self._generations = [self._stages[name].number for name in NAMES]
        self._sweep_records, self._sweep_seconds = sweep_records, sweep_seconds
        size = sum(row_bytes(column) for column in partition.columns)
        self._bucket = before.bucket if before else max(1, min(_LARGEST_BUCKET, ROWS_LIMIT // max(size, 1)))
        self._most = max(1, _MOST_IMAGES // (self._bucket * max(size, 1)))
        self._cycle, self._swept, self._deltas = (before.cycle, before.swept, before.deltas) if before else (0, 0, 0)
        self._position = position
        self._log, self._turn = (before.log, before.turn) if before else (position, position)
        self._bundles = _with(before.bundles if before else [], writer.model.sha256, next_offset)
        self._configs = _with(before.configs if before else [], writer.config, next_offset)[-_CONFIGS:]
        self._images = dict(images or {})
        self._next = next_offset
        self._anew = anew
        self._fresh = 0  # sweeps that must still be finished until all images are of the last record
        self._debt = 0.0
        self._at = clock()

    def write(self, next_offset: int) -> list[Message]:
        """Return the messages that bring the log to `next_offset`; they are committed with that offset, or not at all.

        Once they are not, this log must be thrown away with its partition.
        """
        entries = [*self.entries(next_offset), (META_KEY, Entry(meta=self.meta()))]
        self.passed(len(entries) + 1)  # and the marker of the transaction
        number = self._partition.number
        return [Message(self._topic, key, _encode(entry), (), number) for key, entry in entries]

    def entries(self, next_offset: int) -> list[tuple[bytes, Entry]]:
        """Return keys and entries that bring the log to `next_offset`, but for META."""
        table, changes = self._partition.table, self._partition.changes.take()
        if self._anew:
            self._anew = False
            return self._rewritten(next_offset)
        entries: list[tuple[bytes, Entry]] = []
        for begin in range(0, len(changes.came_or_gone), _MOST_NAMES):
            named = self._streams(changes.came_or_gone[begin : begin + _MOST_NAMES])
            entries.append((self._delta(), Entry(streams=named)))
        decided = changes.decided
        for columns, slots in (
            (self._partition.quick_columns, decided),
            (self._partition.slow_columns, changes.refreshed),
            (self._partition.activity_columns, np.setdiff1d(changes.touched, decided, assume_unique=True)),
        ):
            live = slots[table["live"][slots]]
            entries += [(self._delta(), Entry(rows=part)) for part in packs(table, live, columns, self._generations)]
        if next_offset > self._next:
            self._fresh = 2
        entries += self._sweep(next_offset)
        self._next = next_offset
        return entries

    def passed(self, entries: int) -> None:
        """Note that the log has become longer, by whatever."""
        self._position += entries

    def idle(self) -> bool:
        """Whether the sweep has something to write although no records came since."""
        if not self._fresh:
            return False
        share = (self._clock() - self._at) / self._sweep_seconds
        return self._debt + share * self._buckets >= 1

    @property
    def stands(self) -> int:
        """The input offset that the log was last brought to."""
        return self._next

    @property
    def _buckets(self) -> int:
        return -(-self._partition.table.capacity // self._bucket)

    def _delta(self) -> bytes:
        """Return a key for a delta that no delta still needed has."""
        self._deltas += 1
        return b"D%d-%d" % (self._cycle % 2, self._deltas)

    def _streams(self, slots: NDArray[np.intp]) -> Streams:
        table = self._partition.table
        live = table["live"][slots]
        here = slots[live]
        for bucket in np.unique(here // self._bucket).tolist():
            self._images.setdefault(bucket, self._next)
        return Streams(
            here.tolist(),
            [table.raw_id(slot) for slot in here.tolist()],
            table["first_offset"][here].tolist(),
            slots[~live].tolist(),
        )

    def _sweep(self, next_offset: int) -> Iterator[tuple[bytes, Entry]]:
        """Yield the images whose turn it is."""
        buckets = self._buckets
        now = self._clock()
        records = min(self._sweep_records, max(LEAST_SWEEP, SWEEP_STREAMS * self._partition.table.live_count))
        share = (next_offset - self._next) / records + (now - self._at) / self._sweep_seconds
        self._at = now
        self._debt = min(self._debt + share * buckets, float(buckets))
        written = 0
        while self._debt >= 1 and buckets and written < self._most:
            self._debt -= 1
            for entry in self._image(self._swept, next_offset):
                written += 1
                yield entry
            self._swept += 1
            if self._swept >= buckets:
                self._swept, self._deltas = 0, 0
                self._cycle += 1
                self._fresh = max(0, self._fresh - 1)
                self._log, self._turn = self._turn, self._position

    def _image(self, bucket: int, next_offset: int) -> Iterator[tuple[bytes, Entry]]:
        """Yield a bucket's image; none for a bucket that never had a stream."""
        table = self._partition.table
        slots = np.arange(bucket * self._bucket, min((bucket + 1) * self._bucket, table.capacity))
        slots = slots[table["live"][slots]]
        if len(slots) == 0 and bucket not in self._images:
            return
        if len(slots):
            self._images[bucket] = next_offset
        else:
            del self._images[bucket]  # the last image says that it is empty
        streams = Streams(
            slots.tolist(), [table.raw_id(slot) for slot in slots.tolist()], table["first_offset"][slots].tolist(), []
        )
        rows = [*packs(table, slots, self._partition.columns, self._generations)]
        first = rows[0] if rows else Packed(b"")
        yield b"I%d" % bucket, Entry(image=Image(bucket, self._bucket, next_offset, streams, first))
        for part, packed in enumerate(rows[1:], 1):
            yield b"I%d+%d" % (bucket, part), Entry(rest=packed)

    def _rewritten(self, next_offset: int) -> list[tuple[bytes, Entry]]:
        """Return all images: what the log said before is not read any more."""
        entries = [entry for bucket in range(self._buckets) for entry in self._image(bucket, next_offset)]
        self._log = self._turn = self._position
        self._swept = self._deltas = 0
        self._cycle += 1
        self._next = next_offset
        return entries

    def meta(self) -> Meta:
        """Return where the log stands."""
        partition, writer = self._partition, self._writer
        needed = min(self._images.values(), default=self._next)
        partition.barred = [offset for offset in partition.barred if offset >= needed]
        return Meta(
            next_offset=self._next,
            input=writer.input,
            time=partition.time.value,
            leaders=partition.time.leaders,
            counts=dict(partition.counts),
            pending=self._pending(partition),
            live=partition.table.live_count,
            bucket=self._bucket,
            needed=needed,
            log=self._log,
            turn=self._turn,
            cycle=self._cycle,
            swept=self._swept,
            deltas=self._deltas,
            stages=self._stages,
            model=writer.model,
            bundles=self._bundles,
            configs=self._configs,
            versions=dict(writer.versions),
            barred=partition.barred,
        )


def _with(known: Sequence[tuple[str, int]], last: str, offset: int) -> list[tuple[str, int]]:
    """Return a history to which something is added, if it is not its end already."""
    return list(known) if known and known[-1][0] == last else [*known, (last, offset)]
