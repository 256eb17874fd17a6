"""Kafka's record batches (format 2) as columns.

kafka-python makes an object of every record, which is most of what reading costs: 8 µs a record where this takes less
than one. Where a record begins is known only once the one before it has been looked at; that is all that is done one by
one. Its fields are then read for all records at once. What the format is: the message format of Kafka's documentation,
https://kafka.apache.org/documentation/#messageformat.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from kafka.errors import CorruptRecordError
from kafka.record.util import decode_varint
from numpy.typing import NDArray

from monitor.kafka.port import Columns

_MORE = 0x80  # of a number's bytes, those with this bit have another one behind them
_BITS = 7
_LONGEST = 70  # bits, of ten bytes
_PAD = bytes(16)  # a number cannot go on in it, so that one that does at the end of the data is found out afterwards


class Packet(NamedTuple):
    """The records of one batch, unpacked.

    Attributes:
        data: their bytes.
        records: how many they are.
        offset: that the records' own count from.
        time: ms, that the records' own count from.
        stamped: whether `time` is that of all, put there by the broker when it appended them.
    """

    data: bytes | memoryview
    records: int
    offset: int
    time: int
    stamped: bool


def columns(packets: Sequence[Packet]) -> Columns:
    """Return the records of batches of one partition, in order. Headers are passed over.

    Raises:
        CorruptRecordError: if what is in one of them is not that many records.
    """
    data = b"".join(packet.data for packet in packets) + _PAD
    try:
        begins, ends = _places(data, packets)
    except (IndexError, ValueError) as error:
        message = f"a record goes on beyond its batch: {error!r}"
        raise CorruptRecordError(message) from None
    numbers = np.frombuffer(data, np.uint8)
    counts = [packet.records for packet in packets]
    times, at = _varints(numbers, begins + 1)  # behind its attributes, which say nothing
    offsets, at = _varints(numbers, at)
    keys, at = _slices(data, *_varints(numbers, at), ends)
    values, at = _slices(data, *_varints(numbers, at), ends)
    headers, at = _varints(numbers, at)
    if not ((headers > 0) & (at < ends) | (headers == 0) & (at == ends)).all():
        message = "a record is shorter or longer than it says"
        raise CorruptRecordError(message)
    times[np.repeat([packet.stamped for packet in packets], counts)] = 0
    times += np.repeat(np.array([packet.time for packet in packets], np.int64), counts)
    offsets += np.repeat(np.array([packet.offset for packet in packets], np.int64), counts)
    if len(offsets) and (offsets[0] < packets[0].offset or (np.diff(offsets) <= 0).any()):
        message = "the offsets of the records do not rise"
        raise CorruptRecordError(message)
    return Columns(offsets.tolist(), times.tolist(), keys, values)


def _places(data: bytes, packets: Sequence[Packet]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each record begins behind its length, and where it ends."""
    begins: list[int] = []
    ends: list[int] = []
    begun, ended = begins.append, ends.append
    at = stop = 0
    for packet in packets:
        stop += len(packet.data)
        for _ in range(packet.records):
            length = data[at]
            if length < _MORE:
                at += 1
            elif (high := data[at + 1]) < _MORE:  # nearly all are that long
                length += (high - 1) << _BITS
                at += 2
            else:
                length, at = decode_varint(data, at)
                length *= 2
            if length & 1 or length < 0:
                message = "a record of negative length"
                raise CorruptRecordError(message)
            begun(at)
            at += length >> 1
            ended(at)
        if at != stop:
            message = f"{stop - at} bytes are left over once all records are read"
            raise CorruptRecordError(message)
    return np.array(begins, np.int64), np.array(ends, np.int64)


def _varints(numbers: NDArray[np.uint8], at: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of variable length (zigzag) that begin at these places, and where each ends."""
    byte = numbers[at]
    found = (byte & (_MORE - 1)).astype(np.uint64)
    more = byte >= _MORE
    at = at + 1
    for shift in range(_BITS, _LONGEST + 1, _BITS):
        if not more.any():
            break
        if shift == _LONGEST:
            message = "a number of more than ten bytes"
            raise CorruptRecordError(message)
        byte = numbers[at]
        found |= np.where(more, byte & (_MORE - 1), 0).astype(np.uint64) << np.uint64(shift)
        at += more
        more &= byte >= _MORE
    return (found >> np.uint64(1)).astype(np.int64) ^ -(found & np.uint64(1)).astype(np.int64), at


def _slices(
    data: bytes, lengths: NDArray[np.int64], at: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[list[bytes | None], NDArray[np.int64]]:
    """Return the bytes of such lengths at these places, None for a negative length, and where each ends."""
    null = lengths < 0
    lengths = np.where(null, 0, lengths)
    if (lengths > ends - at).any():
        message = "a key or a value is longer than its record"
        raise CorruptRecordError(message)
    until = at + lengths
    found: list[bytes | None] = [data[low:high] for low, high in zip(at.tolist(), until.tolist(), strict=True)]
    for i in np.flatnonzero(null).tolist():
        found[i] = None
    return found, until
