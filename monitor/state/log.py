"""What a partition writes into its changelog at a commit.

* **Deltas**: the decision columns (line, alert machine) of streams for which they changed, the activity of streams that
  sent something, and which streams came and went; a few columnar messages, not one a stream.
* **Images**: all columns of a bucket of slots, windows included, and the input offset as of which they stand. A sweep
  rewrites all of them, a few at each commit, paced by records and by monotonic time.
* **META**: one row that says where the state stands.

A delta's key is used again only after a whole sweep that began after the delta was committed, by which time an image
holds what it said: so compaction bounds the log.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor.message import Message
from monitor.pipeline import Partition
from monitor.state.rows import ROWS_LIMIT, Packed, pack, parts, row_bytes

FORMAT = 1
_LARGEST_BUCKET = 64


class Streams(msgspec.Struct, array_like=True, gc=False):
    """Streams that came (with id and first offset) and slots that became free."""

    slots: list[int]
    ids: list[bytes]
    first: list[int]
    gone: list[int]


class Image(msgspec.Struct, array_like=True, gc=False):
    """All columns of a bucket's streams as of an input offset.

    The bucket is `size` slots from `bucket * size` on; those that have no stream in the image are free.
    """

    bucket: int
    size: int
    offset: int
    streams: Streams
    rows: Packed


class Meta(msgspec.Struct, gc=False, kw_only=True):
    """Where the state stands.

    Attributes:
        format: version of this format.
        next_offset: next input offset.
        time: the partition's time.
        leaders: (latest time, slot) of its leading streams.
        counts: records by class since the state began.
        live: live streams.
        bucket: slots in a bucket.
        needed: the lowest input offset that a restore reads.
        cycle: number of the sweep.
        swept: buckets that this sweep has rewritten.
        deltas: delta keys that this sweep has used.
        bundles: hashes of the bundles that the state has had, the present one last, each with the offset at which it
            came.
        config: hash of the configuration.
        versions: versions of the libraries that decide the last bit.
    """

    format: int = FORMAT
    next_offset: int
    time: int
    leaders: list[tuple[int, int]]
    counts: dict[str, int]
    live: int
    bucket: int
    needed: int
    cycle: int
    swept: int
    deltas: int
    bundles: list[tuple[str, int]]
    config: str
    versions: dict[str, str]


class Entry(msgspec.Struct, gc=False):
    """A value of the log: one of its members is set."""

    v: int = FORMAT
    streams: Streams | None = None
    rows: Packed | None = None
    image: Image | None = None
    meta: Meta | None = None


_encode = msgspec.msgpack.Encoder().encode


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
        bundle: str,
        config: str,
        versions: dict[str, str],
        sweep_records: int,
        sweep_seconds: float,
        before: Meta | None = None,
        images: dict[int, int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to write, or go on where `before` stands.

        Args:
            partition: what is written.
            topic: the changelog topic.
            next_offset: where the partition stands.
            bundle: hash of the bundle.
            config: hash of the configuration.
            versions: versions for META.
            sweep_records: a sweep takes about so many input records.
            sweep_seconds: or so long, whichever comes first.
            before: the META that was restored.
            images: image offset by bucket, as restored.
            clock: monotonic seconds; invisible in what is written but for the pace of the sweep.
        """
        self._partition, self._topic, self._clock = partition, topic, clock
        self._config, self._versions = config, versions
        self._sweep_records, self._sweep_seconds = sweep_records, sweep_seconds
        size = sum(row_bytes(column) for column in partition.columns)
        self._bucket = before.bucket if before else max(1, min(_LARGEST_BUCKET, ROWS_LIMIT // max(size, 1)))
        self._cycle, self._swept, self._deltas = (before.cycle, before.swept, before.deltas) if before else (0, 0, 0)
        bundles = list(before.bundles) if before else []
        self._bundles = bundles if bundles and bundles[-1][0] == bundle else [*bundles, (bundle, next_offset)]
        self._images = dict(images or {})
        self._next = next_offset
        self._debt = 0.0
        self._at = clock()

    def write(self, next_offset: int) -> list[Message]:
        """Return the messages that bring the log to `next_offset`; they are committed with that offset, or not at all.

        Once they are not, this log must be thrown away with its partition.
        """
        changes = self._partition.changes.take()
        entries: list[tuple[bytes, Entry]] = []
        if len(changes.came_or_gone):
            entries.append((self._delta(), Entry(streams=self._streams(changes.came_or_gone))))
        decided = changes.decided
        for columns, slots in (
            (self._partition.decision_columns, decided),
            (self._partition.activity_columns, np.setdiff1d(changes.touched, decided, assume_unique=True)),
        ):
            live = slots[self._partition.table["live"][slots]]
            entries += [
                (self._delta(), Entry(rows=pack(self._partition.table, part, columns))) for part in parts(live, columns)
            ]
        entries += self._sweep(next_offset)
        self._next = next_offset
        entries.append((b"M", Entry(meta=self._meta())))
        number = self._partition.number
        return [Message(self._topic, key, _encode(entry), (), number) for key, entry in entries]

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
        buckets = -(-self._partition.table.capacity // self._bucket)
        now = self._clock()
        share = (next_offset - self._next) / self._sweep_records + (now - self._at) / self._sweep_seconds
        self._at = now
        self._debt = min(self._debt + share * buckets, float(buckets))
        while self._debt >= 1 and buckets:
            self._debt -= 1
            yield from self._image(self._swept, next_offset)
            self._swept += 1
            if self._swept >= buckets:
                self._swept, self._deltas = 0, 0
                self._cycle += 1

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
        yield (
            b"I%d" % bucket,
            Entry(
                image=Image(
                    bucket,
                    self._bucket,
                    next_offset,
                    Streams(
                        slots.tolist(),
                        [table.raw_id(slot) for slot in slots.tolist()],
                        table["first_offset"][slots].tolist(),
                        [],
                    ),
                    pack(table, slots, self._partition.columns),
                )
            ),
        )

    def _meta(self) -> Meta:
        partition = self._partition
        return Meta(
            next_offset=self._next,
            time=partition.time.value,
            leaders=partition.time.leaders,
            counts=dict(partition.counts),
            live=partition.table.live_count,
            bucket=self._bucket,
            needed=min(self._images.values(), default=self._next),
            cycle=self._cycle,
            swept=self._swept,
            deltas=self._deltas,
            bundles=self._bundles,
            config=self._config,
            versions=self._versions,
        )
