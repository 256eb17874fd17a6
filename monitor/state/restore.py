"""A partition from its log, and from the input behind it.

Entries are applied in the order of the log, the later one wins. Then the window stage alone runs over the input from
each image's offset to the committed one, and what it makes is thrown away: it only brings windows up to date. No stream
is created or dropped by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from monitor.pipeline import Partition
from monitor.record import Records
from monitor.state.entry import Entry, Image, Meta, Streams, read_entry
from monitor.state.rows import DamagedError, Packed, StateError, slots_of, unpack
from monitor.state.stages import Stage
from monitor.table import AnyColumn
from monitor.window import Windower

_SPARE_SLOTS = 1 << 16  # beyond twice the streams that a partition may have: for ids of one batch that were refused


@contextmanager
def _numbers_that_nobody_wrote() -> Iterator[None]:
    """Call what cannot be computed with them damage of the log."""
    try:
        with np.errstate(divide="raise"):
            yield
    except (ArithmeticError, LookupError, ValueError) as error:
        message = f"{type(error).__name__}: {error}"
        raise DamagedError(message) from None


class Restore:
    """Builds one partition.

    Attributes:
        partition: what is built.
        meta: the last META of the log.
        images: image offset by bucket.
        restarted: stages whose columns were written by another type or layout, and are left as in new streams.
    """

    def __init__(self, partition: Partition, newest: Meta, stages: Sequence[Stage]) -> None:
        """Begin with a partition without state.

        Args:
            partition: what is built.
            newest: the last META of the log, read before everything else.
            stages: the stages as they are now.
        """
        self.partition = partition
        self.meta = newest
        self.images: dict[int, int] = {}
        self._stages = stages
        self.restarted = {stage.name for stage in stages if newest.stages[stage.name].signature != stage.signature}
        self._stands: int | None = None  # where the log stands, as far as it was read
        self._begin = np.zeros(0, np.int64)  # by slot: from where its windows must be brought up to date

    def apply(self, value: bytes) -> None:
        """Apply the next entry of the log.

        Raises:
            StateError: if it is damaged, or of another format.
        """
        self.take(read_entry(value))

    def take(self, entry: Entry) -> None:
        """Apply the next entry that speaks of this partition's streams.

        Raises:
            StateError: if it is damaged.
        """
        with _numbers_that_nobody_wrote():
            self._apply(entry)

    def _apply(self, entry: Entry) -> None:
        if entry.streams is not None:
            self._streams(entry.streams)
        if entry.image is not None:
            self._image(entry.image)
        # Rows of a stream that is not named yet are from before its image, of which compaction has left the last.
        for packed, columns in (
            (entry.rows, self.partition.decision_columns),
            (entry.rest, self.partition.columns),
        ):
            if packed is not None:
                unpack(self.partition.table, packed, self._wanted(packed, columns), live_only=True)
        if entry.meta is not None:
            self._stands = entry.meta.next_offset

    def finish(self, committed: int) -> int:
        """Check that the log stands where the offsets do, and return the input offset to rewind to.

        Raises:
            StateError: if it does not.
        """
        meta = self.meta
        if self._stands != meta.next_offset or meta.next_offset != committed:
            stands = "nowhere" if self._stands is None else str(self._stands)
            message = f"the state stands at {stands}, the group's offset at {committed}"
            raise StateError(message)
        with _numbers_that_nobody_wrote():
            return self._begin_at(committed)

    def _begin_at(self, committed: int) -> int:
        """Take on what META says of the partition; return the input offset to rewind to."""
        partition, meta = self.partition, self.meta
        partition.time.value = meta.time
        partition.time.leaders = [(time, slot) for time, slot in meta.leaders]
        partition.counts.update(meta.counts)
        partition.barred = list(meta.barred)
        partition.table.reindex()
        live = partition.table.live()
        if len(live) != meta.live:
            message = f"it names {len(live)} streams, and counts {meta.live}"
            raise DamagedError(message)
        for bucket in np.unique(live // meta.bucket).tolist():
            self.images.setdefault(bucket, meta.needed)  # streams that came after the last sweep: from their first
        self._begin = np.full(partition.table.capacity, committed, np.int64)
        if "window" in self.restarted:
            self.images = dict.fromkeys(self.images, committed)
        else:
            images = np.array([self.images[slot // meta.bucket] for slot in live.tolist()], np.int64)
            since = np.maximum(images, meta.stages["window"].since)
            self._begin[live] = np.maximum(since, partition.table["first_offset"][live])
        return min(int(self._begin[live].min()) if len(live) else committed, committed)

    def rewind(self, windower: Windower, records: Records) -> None:
        """Bring windows up to date with records that were processed before."""
        table = self.partition.table
        if len(self._begin) < table.capacity:  # streams that are not known have made it grow, for now
            more = np.full(table.capacity - len(self._begin), np.iinfo(np.int64).max)
            self._begin = np.append(self._begin, more)
        begin = np.where(table["live"][records.slot], self._begin[records.slot], np.iinfo(np.int64).max)
        part = np.flatnonzero(records.offset >= begin)
        if len(part):
            windower.process(table, records.take(part))
        table.settle()

    def _wanted(self, packed: Packed, columns: Sequence[AnyColumn]) -> Sequence[AnyColumn]:
        """Return those of the columns that are of the stages' present generation.

        Those of the alert machine are read whatever wrote them, as far as they are what they were: alerts that fire
        must be resolved before their stage restarts.
        """
        unwanted: set[str] = set()
        for stage, number in zip(self._stages, packed.generations, strict=True):
            lost = stage.name in self.restarted and stage.name != "alert"
            if lost or number != self.meta.stages[stage.name].number:
                unwanted.update(column.name for column in stage.columns)
        return [column for column in columns if column.name not in unwanted] if unwanted else columns

    def _streams(self, streams: Streams) -> None:
        """Take streams in that came, and let those go that went."""
        table = self.partition.table
        gone = np.array([slot for slot in streams.gone if 0 <= slot < table.capacity], np.intp)
        table.clear(gone)
        if not len(streams.slots) == len(streams.ids) == len(streams.first):
            message = "streams without names"
            raise DamagedError(message)
        most = 2 * self.partition.liveness.max_streams + _SPARE_SLOTS  # else one number would fill the memory
        if streams.slots and not 0 <= min(streams.slots) <= max(streams.slots) < most:
            message = "streams in places that record.max_streams leaves no room for"
            raise DamagedError(message)
        table.place(streams.slots, streams.ids)
        if streams.slots:
            table["first_offset"][streams.slots] = streams.first

    def _image(self, image: Image) -> None:
        """Take a bucket's image."""
        table = self.partition.table
        self.images[image.bucket] = image.offset
        if not image.streams.slots:
            del self.images[image.bucket]
        slots = slots_of(image.rows).tolist()
        if slots != image.streams.slots[: len(slots)]:
            message = "an image whose rows are not those of its streams"
            raise DamagedError(message)
        self._clear(image)
        self._streams(image.streams)
        if slots:
            unpack(table, image.rows, self._wanted(image.rows, self.partition.columns))

    def _clear(self, image: Image) -> None:
        """Free the slots of a bucket that the image does not name."""
        table = self.partition.table
        first = image.bucket * image.size
        slots = np.arange(max(0, min(first, table.capacity)), max(0, min(first + image.size, table.capacity)))
        table.clear(np.setdiff1d(slots, np.array(image.streams.slots, np.intp)))
