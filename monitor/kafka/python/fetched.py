"""What a fetch has brought of one partition, handed on as columns and not record by record.

This is kafka-python's own `PartitionRecords` (which knows of aborted transactions, markers, checksums and positions)
with its inner loop replaced: batches are collected, a couple of thousand records, and read at once by
`monitor.kafka.python.batch`. What cannot be read comes after all that was before it, as in the client.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer.offsets import IsolationLevel

from monitor.kafka.port import Columns
from monitor.kafka.python.batch import Packet, columns
from monitor.kafka.unpacking import noting

_COUNTED = 2
"""Format of the batches that say how many records they have; older ones are read as the client does."""

_MANY = 2_000
"""So many records are read at once; more would not be quicker."""

_FEW = 24
"""Fewer are read as the client does: NumPy takes as long for one as for some dozens."""


class Taken:
    """Records that were taken: as many as they are to whoever counts them, columns to whoever goes through them.

    The client's own bookkeeping asks for the length, and extends a list.
    """

    def __init__(self, pieces: list[Columns]) -> None:
        """Keep pieces."""
        self._pieces = pieces
        self._length = sum(len(piece) for piece in pieces)

    def __len__(self) -> int:
        """Return the number of records."""
        return self._length

    def __iter__(self) -> Iterator[Columns]:
        """Yield the columns."""
        return iter(self._pieces)


class PartitionColumns(Fetcher.PartitionRecords):  # type: ignore[misc]  # the client has no types
    """See the module. `batches` is what the batches come from, and knows the last one."""

    batches: Any

    def __init__(self, *given: Any, **more: Any) -> None:
        """Begin as the client does."""
        self._rest: Columns | None = None
        super().__init__(*given, **more)

    def take(self, n: int | None = None) -> Taken:
        """Return the next records, `n` at most.

        Raises:
            Exception: what keeps the records at this place from being read.
        """
        self._maybe_raise_next_inline_exception()
        pieces: list[Columns] = []
        left = n or 0
        try:
            while left > 0:
                found = self._rest or next(self.record_iterator or iter(()), None)
                if found is None:
                    break
                piece, self._rest = found.cut(left)
                pieces.append(piece)
                left -= len(piece)
                self.next_fetch_offset = piece.offsets[-1] + 1
        except Exception as error:
            if not pieces:
                raise
            self._next_inline_exception = error
        return Taken(pieces)

    def _maybe_skip_record(self, record: Columns) -> bool:
        """Skip nothing: what is before the offset that was asked for is cut off where batches are read."""
        del record
        return False

    def _unpack_records(self, tp: Any, records: Any, *deserializers: Any) -> Iterator[Columns]:  # noqa: ANN401 - as above
        """Yield the records of batches; it goes on behind those that it has yielded once they are taken."""
        del tp, deserializers
        run: list[Any] = []
        count = 0
        last = failure = None
        while True:
            try:
                batch = records.next_batch()
                wanted = batch is not None and self._wanted(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, what was before it comes first
                batch, failure = None, error
            if run and (batch is None or count >= _MANY or not _alike(run[-1], batch)):
                yield from self._read(run)
                run, count = [], 0
            if failure is not None:
                raise failure
            if batch is None:
                break
            last = batch
            if batch.magic == _COUNTED:
                self.leader_epoch = batch.leader_epoch
            if wanted:
                run.append(batch)
                count += batch.records_count if batch.magic == _COUNTED else 1
            elif not run:
                self.next_fetch_offset = batch.next_offset
        if last is not None and last.magic == _COUNTED:
            self.next_fetch_offset = last.next_offset  # its last records may have been compacted away
        self.drain()

    def _wanted(self, batch: Any) -> bool:  # noqa: ANN401 - as above
        """Return whether a batch has records for the consumer; then it is unpacked.

        Raises:
            CorruptRecordError: if its checksum is wrong.
        """
        if self.check_crcs and not batch.validate_crc():
            message = f"Record batch at offset {batch.base_offset} failed crc check"
            raise CorruptRecordError(message)
        if batch.magic == _COUNTED:
            if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
                self._consume_aborted_transactions_up_to(batch.last_offset)
                if self._contains_abort_marker(batch):
                    self.aborted_producer_ids.discard(batch.producer_id)
                elif self._is_batch_aborted(batch):
                    return False
            if batch.is_control_batch:
                return False
        iter(batch)  # unpacks it
        return True

    def _read(self, run: list[Any]) -> Iterator[Columns]:
        """Yield the records of batches.

        Raises:
            CorruptRecordError: for the first one that cannot be read, behind the records of those before it.
        """
        try:
            found = _columns(run).since(self.fetch_offset)
        except CorruptRecordError:
            if len(run) == 1:
                raise
            for batch in run:
                self.batches.last = batch
                yield from self._read([batch])
            return
        if found is not None:
            self.records_read += len(found)
            self.bytes_read += sum(batch.size_in_bytes for batch in run)
            yield found


def columnar(consumer: Any) -> None:  # noqa: ANN401 - as above
    """Let `poll` of a consumer that gives nothing to deserializers return lists of `Columns` in place of records."""
    consumer._fetcher.PartitionRecords = noting(PartitionColumns)  # noqa: SLF001 - there is no public way


def _alike(one: Any, other: Any) -> bool:  # noqa: ANN401 - as above
    """Return whether two batches can be read together."""
    return bool(one.magic == other.magic == _COUNTED and one.leader_epoch == other.leader_epoch)


def _columns(run: list[Any]) -> Columns:
    """Return the records of unpacked batches that can be read together."""
    if run[0].magic == _COUNTED and sum(batch.records_count for batch in run) >= _FEW:
        return columns([_packet(batch) for batch in run])
    records = [record for batch in run for record in batch]
    if not all(record.validate_crc() for record in records):
        message = f"a record of the batch at offset {run[0].base_offset} failed its crc check"
        raise CorruptRecordError(message)
    return Columns(
        [record.offset for record in records],
        [record.timestamp for record in records],
        [record.key for record in records],
        [record.value for record in records],
    )


def _packet(batch: Any) -> Packet:  # noqa: ANN401 - as above
    """Return what there is to read in a batch."""
    stamped = batch.timestamp_type == batch.LOG_APPEND_TIME
    data = memoryview(batch._buffer)[batch._pos :]  # noqa: SLF001 - nothing public gives the bytes
    time = batch.max_timestamp if stamped else batch.first_timestamp
    return Packet(data, batch.records_count, batch.base_offset, time, stamped)
