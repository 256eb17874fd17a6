"""A partition from its changelog, and from the input behind it.

Entries are applied in the order of the log, the later one wins. Then the window stage alone runs over the input from
each image's offset to the committed one, and what it makes is thrown away: it only brings windows up to date. No stream
is created or dropped by it.
"""

from __future__ import annotations

import msgspec
import numpy as np

from monitor.pipeline import Partition
from monitor.record import Records
from monitor.state.log import FORMAT, Entry, Image, Meta, Streams
from monitor.state.rows import StateError, slots_of, unpack
from monitor.window import Windower


class Restore:
    """Builds one partition.

    Attributes:
        meta: the last META of the log, None before one came.
        images: image offset by bucket.
    """

    def __init__(self, partition: Partition) -> None:
        """Begin with a partition without state."""
        self.partition = partition
        self.meta: Meta | None = None
        self.images: dict[int, int] = {}
        self._decode = msgspec.msgpack.Decoder(Entry).decode
        self._begin = np.zeros(0, np.int64)  # by slot: from where its windows must be brought up to date

    def apply(self, value: bytes) -> None:
        """Apply the next entry of the log.

        Raises:
            StateError: if it is damaged, or of another format.
        """
        try:
            entry = self._decode(value)
        except (msgspec.MsgspecError, RecursionError) as error:
            message = f"the state is damaged: {error}"
            raise StateError(message) from None
        if entry.v != FORMAT:
            message = f"the state has format {entry.v}, and this version reads {FORMAT}"
            raise StateError(message)
        if entry.streams is not None:
            self._streams(entry.streams)
        if entry.image is not None:
            self._image(entry.image)
        if entry.rows is not None:
            # Rows of a stream that is not named yet are from before its image, of which compaction has left the last.
            unpack(self.partition.table, entry.rows, self.partition.decision_columns, live_only=True)
        if entry.meta is not None:
            self._meta(entry.meta)

    def finish(self, committed: int) -> int:
        """Check that the log stands where the offsets do, and return the input offset to rewind to.

        Raises:
            StateError: if it does not.
        """
        meta = self.meta
        if meta is None or meta.next_offset != committed:
            stands = "nowhere" if meta is None else str(meta.next_offset)
            message = f"the state stands at {stands}, the group's offset at {committed}"
            raise StateError(message)
        partition = self.partition
        partition.time.value = meta.time
        partition.time.leaders = [(time, slot) for time, slot in meta.leaders]
        partition.counts.update(meta.counts)
        partition.table.reindex()
        live = partition.table.live()
        if len(live) != meta.live:
            message = f"the state is damaged: it names {len(live)} streams, and counts {meta.live}"
            raise StateError(message)
        self._begin = np.full(partition.table.capacity, committed, np.int64)
        for bucket in np.unique(live // meta.bucket).tolist():
            self.images.setdefault(bucket, meta.needed)  # streams that came after the last sweep: from their first
        buckets = np.array([self.images[slot // meta.bucket] for slot in live.tolist()], np.int64)
        self._begin[live] = np.maximum(buckets, partition.table["first_offset"][live])
        return min(int(self._begin[live].min()) if len(live) else committed, committed)

    def rewind(self, windower: Windower, records: Records) -> None:
        """Bring windows up to date with records that were processed before."""
        table = self.partition.table
        begin = np.where(table["live"][records.slot], self._begin[records.slot], np.iinfo(np.int64).max)
        part = np.flatnonzero(records.offset >= begin)
        if len(part):
            windower.process(table, records.take(part))
        table.settle()

    def _streams(self, streams: Streams) -> None:
        """Take streams in that came, and let those go that went."""
        table = self.partition.table
        gone = np.array([slot for slot in streams.gone if slot < table.capacity], np.intp)
        table.clear(gone)
        if not len(streams.slots) == len(streams.ids) == len(streams.first):
            message = "the state is damaged: streams without names"
            raise StateError(message)
        table.place(streams.slots, streams.ids)
        if streams.slots:
            table["first_offset"][streams.slots] = streams.first

    def _image(self, image: Image) -> None:
        """Take a bucket's image."""
        table = self.partition.table
        self.images[image.bucket] = image.offset
        if not image.streams.slots:
            del self.images[image.bucket]
        slots = slots_of(image.rows)
        if slots.tolist() != image.streams.slots:
            message = "the state is damaged: an image whose rows are not those of its streams"
            raise StateError(message)
        self._clear(image)
        self._streams(image.streams)
        unpack(table, image.rows, self.partition.columns)

    def _clear(self, image: Image) -> None:
        """Free the slots of a bucket that the image does not name."""
        table = self.partition.table
        first = image.bucket * image.size
        slots = np.arange(min(first, table.capacity), min(first + image.size, table.capacity))
        table.clear(np.setdiff1d(slots, np.array(image.streams.slots, np.intp)))

    def _meta(self, meta: Meta) -> None:
        if meta.format != FORMAT:
            message = f"the state has format {meta.format}, and this version reads {FORMAT}"
            raise StateError(message)
        self.meta = meta
