"""Bounds on what compressed batches may become in memory.

Kafka's limits are on compressed bytes, and kafka-python unpacks a batch whole, whatever it becomes: 200 KB of gzip on
the wire were measured as 600 MB of memory. Here the client gets decoders that stop at `BATCH_LIMIT`, and a fetcher that
ends a poll once `POLL_LIMIT` have been unpacked in it, so that many batches below the first limit are no way round it.
What is left is fetched again for the next poll. Nobody sends such batches by accident: a value is at most 64 KB here.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable
from typing import Any

import lz4.frame
import snappy
import zstandard
from kafka import codec
from kafka.errors import CorruptRecordError, UnsupportedCodecError
from kafka.record import default_records, legacy_records

from monitor.kafka.errors import BatchTooLargeError, UnreadableBatchError

BATCH_LIMIT = 32 << 20
"""Most bytes that a batch may unpack to."""

POLL_LIMIT = 32 << 20
"""After so many unpacked bytes a poll returns what it has; the last batch may go beyond."""

_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEAD = 16
_VARINT_BITS = 35


class _Meter(threading.local):
    """What this thread has unpacked since the poll began."""

    unpacked = 0


_meter = _Meter()


def gunzip(data: bytes) -> bytes:
    """Unpack gzip: one member or several."""
    pieces: list[bytes] = []
    have = 0
    rest = bytes(data)
    while rest:
        member = zlib.decompressobj(wbits=31)
        piece = member.decompress(rest, BATCH_LIMIT + 1 - have)
        have = _within(have + len(piece))
        pieces.append(piece)
        if not member.eof:
            message = "the gzip data ends too soon"
            raise EOFError(message)
        rest = member.unused_data
    return b"".join(pieces)


def unzstd(data: bytes) -> bytes:
    """Unpack Zstandard: one frame or several."""
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
        found: bytes = reader.read(BATCH_LIMIT + 1)
    _within(len(found))
    return found


def unlz4(data: bytes) -> bytes:
    """Unpack a frame of LZ4."""
    decoder = lz4.frame.LZ4FrameDecompressor()
    found: bytes = decoder.decompress(data, max_length=BATCH_LIMIT + 1)
    _within(len(found))
    if not decoder.eof:
        message = "the LZ4 frame ends too soon"
        raise EOFError(message)
    return found


def unsnappy(data: bytes) -> bytes:
    """Unpack Snappy: one block, or the blocks of the framing that Java's library made up."""
    if not data.startswith(_XERIAL):
        _within(_declared(data))
        return bytes(snappy.decompress(data))
    pieces: list[bytes] = []
    have, place = 0, _XERIAL_HEAD
    while place < len(data):
        (length,) = struct.unpack_from("!i", data, place)
        if length < 0:
            message = "a Snappy block of negative length"
            raise ValueError(message)
        block = data[place + 4 : place + 4 + length]
        have = _within(have + _declared(block))
        pieces.append(bytes(snappy.decompress(block)))
        place += 4 + length
    return b"".join(pieces)


def _declared(block: bytes) -> int:
    """Return the length that a block of Snappy says it has, before anybody reserves as much."""
    length = 0
    for number, byte in enumerate(block[: _VARINT_BITS // 7]):
        length |= (byte & 0x7F) << (7 * number)
        if byte < 0x80:  # noqa: PLR2004 - the last byte of the number
            return length
    message = "a Snappy block without a length"
    raise ValueError(message)


def _within(size: int) -> int:
    """Return a size that is allowed."""
    if size > BATCH_LIMIT:
        raise BatchTooLargeError(BATCH_LIMIT)
    return size


def _metered(unpack: Callable[[bytes], bytes]) -> Callable[[Any], bytes]:
    """Return a decoder that counts what it makes."""

    def decode(data: Any) -> bytes:  # noqa: ANN401 - bytes or a memoryview, as the client has it
        try:
            found = unpack(bytes(data))
        except BatchTooLargeError:
            raise
        except Exception as error:  # noqa: BLE001 - each codec has its own, with no base class in common
            raise UnreadableBatchError(error) from None
        _meter.unpacked += len(found)
        return found

    return decode


class _Batches:
    """The batches of a fetch, which end when a poll has unpacked enough: the client fetches the rest again.

    Attributes:
        last: the one that was taken last.
    """

    def __init__(self, batches: Any) -> None:  # noqa: ANN401 - the client has no types
        self._batches = batches
        self.last: Any = None

    def next_batch(self) -> Any:  # noqa: ANN401 - as above
        if _meter.unpacked > POLL_LIMIT:
            return None
        self.last = self._batches.next_batch()
        return self.last


def noting(parts: Any) -> Any:  # noqa: ANN401 - as above
    """Return a maker of the client's fetched partitions, with batches that end and are known."""

    def make(fetch_offset: int, place: Any, records: Any, **more: Any) -> Any:  # noqa: ANN401 - as above
        batches = _Batches(records)
        part = parts(fetch_offset, place, batches, **more)
        part.batches = batches
        return part

    return make


def _offsets(part: Any) -> tuple[int, int]:  # noqa: ANN401 - as above
    """Return the first and the last offset of the batch that a fetched partition is in, as far as that is known."""
    here = int(part.next_fetch_offset)
    batch = getattr(getattr(part, "batches", None), "last", None)
    if batch is None or batch.magic < 2 or batch.last_offset < here:  # noqa: PLR2004 - older ones do not say
        return here, here
    return here, int(batch.last_offset)


def bound(consumer: Any) -> None:  # noqa: ANN401 - the client has no types
    """Let a consumer's polls end at `POLL_LIMIT`, and its errors name the batch."""
    fetcher = consumer._fetcher  # noqa: SLF001 - there is no public way to bound a poll by bytes
    fetcher.PartitionRecords = noting(fetcher.PartitionRecords)
    append, fetched = fetcher._append, fetcher.fetched_records  # noqa: SLF001 - as above

    def bounded_append(drained: Any, part: Any, most: int, update_offsets: Any) -> int:  # noqa: ANN401 - as above
        try:
            count = int(append(drained, part, most, update_offsets))
        except (BatchTooLargeError, UnreadableBatchError, CorruptRecordError, UnsupportedCodecError) as error:
            theirs = isinstance(error, CorruptRecordError | UnsupportedCodecError)
            found = UnreadableBatchError(error) if theirs else error
            found.place(part.topic_partition.topic, part.topic_partition.partition, *_offsets(part))
            raise found from None
        return most if _meter.unpacked > POLL_LIMIT else count

    def bounded_fetched(*arguments: Any, **more: Any) -> Any:  # noqa: ANN401 - as above
        _meter.unpacked = 0
        return fetched(*arguments, **more)

    fetcher._append, fetcher.fetched_records = bounded_append, bounded_fetched  # noqa: SLF001 - as above


def install() -> None:
    """Give the client these decoders in place of its own."""
    for module in (codec, default_records, legacy_records):
        module.gzip_decode = _metered(gunzip)
        module.snappy_decode = _metered(unsnappy)
        module.lz4_decode = _metered(unlz4)
    codec.zstd_decode = default_records.zstd_decode = _metered(unzstd)


install()
