"""Columns of what was fetched, beside kafka-python's own records of the same bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer.offsets import IsolationLevel
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder
from kafka.record.util import calc_crc32c

from monitor.kafka import unpacking
from monitor.kafka.port import Columns
from monitor.kafka.python.fetched import PartitionColumns

PLACE = TopicPartition("sensors", 3)
Fields = tuple[int, int, bytes | None, bytes | None]
Given = tuple[int, bytes | None, bytes | None, Sequence[tuple[str, bytes | None]]]
ALIKE: list[Given] = [(1, b"k", b"v" * 20, [])] * 30


class Made(NamedTuple):
    """A batch to be made."""

    records: Sequence[Given]
    kind: int = 0
    stamped: bool = False
    epoch: int = 0
    producer: int = -1
    magic: int = 2

    def content(self, first: int) -> bytes:
        """Return its bytes, with offsets from `first`."""
        writer = {} if self.producer < 0 else {"producer_id": self.producer, "producer_epoch": 0, "base_sequence": 0}
        builder = MemoryRecordsBuilder(self.magic, self.kind, 1 << 30, transactional=self.producer >= 0, **writer)
        for time, key, value, headers in self.records:
            builder.append(time, key, value, list(headers) if self.magic == 2 else [])
        builder.close()
        found = bytearray(builder.buffer())
        if self.magic < 2:
            return bytes(found)
        found[0:8] = struct.pack(">q", first)
        found[12:16] = struct.pack(">i", self.epoch)
        if self.stamped:
            found[22] |= 8
        return sealed(found)


def sealed(batch: bytearray) -> bytes:
    """Return a batch with the checksum that it should have."""
    batch[17:21] = calc_crc32c(bytes(batch[21:])).to_bytes(4, "big")
    return bytes(batch)


def marker(first: int, producer: int, *, abort: bool) -> bytes:
    """Return what ends a producer's transaction."""
    found = bytearray(Made([(0, struct.pack(">hh", 0, 0 if abort else 1), b"", [])], producer=producer).content(first))
    found[22] |= 0x20
    return sealed(found)


def read(make: Any, content: bytes, begin: int, takes: list[int], **more: Any) -> tuple[list[Fields], list[Any]]:
    """Return the records that come in takes of such sizes, and what the taker is told: positions, epochs, errors."""
    source = SimpleNamespace(next_batch=(records := MemoryRecords(content)).next_batch, last=None)
    part = make(begin, PLACE, source, **more)
    part.batches = source
    found: list[Fields] = []
    told: list[Any] = []
    for most in takes:
        if not part:
            break
        try:
            taken = part.take(most)
        except CorruptRecordError:
            told.append("corrupt")
            break
        told.append((len(taken), part.next_fetch_offset, part.leader_epoch, bool(part)))
        for each in taken:
            if isinstance(each, Columns):
                found += zip(each.offsets, each.timestamps, each.keys, each.values, strict=True)
            else:
                found.append((each.offset, each.timestamp, each.key, each.value))
    assert records is not None
    return found, told


fields = st.one_of(st.none(), st.binary(max_size=200))
record = st.tuples(
    st.integers(0, 1 << 41), fields, fields, st.lists(st.tuples(st.text(max_size=3), fields), max_size=2)
)
batches = st.lists(
    st.builds(
        Made,
        st.lists(record, min_size=1, max_size=40),
        st.sampled_from((0, 0, 0, 1, 2, 3, 4)),
        st.booleans(),
        st.integers(0, 1),
        st.just(-1),
        st.just(2),
    ),
    max_size=6,
)


def log_of(made: list[Made], gap: int = 0) -> bytes:
    """Return batches one after the other, each so many offsets behind the last."""
    content, offset = b"", 0
    for each in made:
        content += each.content(offset)
        offset += len(each.records) + gap
    return content


@settings(max_examples=300, deadline=None)
@given(batches, st.integers(0, 3), st.integers(0, 60), st.lists(st.integers(1, 90), max_size=12))
def test_it_is_what_the_client_reads(made: list[Made], gap: int, begin: int, takes: list[int]) -> None:
    """If it failed, a record would be lost, come twice, or come changed, or the position would not be behind it."""
    content = log_of(made, gap)
    ours, theirs = (read(make, content, begin, takes) for make in (PartitionColumns, Fetcher.PartitionRecords))
    assert ours == theirs


@settings(max_examples=300, deadline=None)
@given(
    st.lists(record, min_size=30, max_size=60), st.integers(0, 1 << 20), st.integers(1, 255), st.booleans(), st.data()
)
def test_damage_is_found_where_the_client_finds_it(
    records: list[Any], place: int, flip: int, again: bool, data: st.DataObject
) -> None:
    """If it failed, a damaged batch would be read as other records, or end the daemon in a traceback."""
    made = [Made(records) for _ in range(3)]
    parts = [bytearray(each.content(n * len(records))) for n, each in enumerate(made)]
    hit = data.draw(st.integers(0, 2))
    parts[hit][61 + place % (len(parts[hit]) - 61)] ^= flip
    if again:
        sealed(parts[hit])
    content = b"".join(map(bytes, parts))
    takes = [1_000] * 5
    found, told = read(PartitionColumns, content, 0, takes)
    wanted, client = read(Fetcher.PartitionRecords, content, 0, takes)
    if not again:
        assert (found, told) == (wanted, client)
    else:  # the client gives some records of a batch that was sealed after it was spoilt, and looks into headers
        whole = hit * len(records)
        assert found[:whole] == wanted[:whole]
        assert told[-1] == "corrupt" or len(found) == 3 * len(records)


@pytest.mark.parametrize("abort", [True, False])
def test_what_was_aborted_does_not_come(abort: bool) -> None:
    """If it failed, records of a producer's aborted transaction would be scored."""
    content = Made(ALIKE, producer=7).content(0) + Made(ALIKE, producer=8).content(30)
    content += marker(60, 7, abort=abort) + Made(ALIKE, producer=7).content(61) + marker(91, 8, abort=False)
    gone = [SimpleNamespace(producer_id=7, first_offset=0)] if abort else []
    more = {"isolation_level": IsolationLevel.READ_COMMITTED, "aborted_transactions": gone}
    found, told = read(PartitionColumns, content, 0, [20] * 10, **more)
    assert (found, told) == read(Fetcher.PartitionRecords, content, 0, [20] * 10, **more)
    assert [each[0] for each in found] == [*range(0 if not abort else 30, 60), *range(61, 91)]
    assert told[-1][1] == 92


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("kind", [0, 1])
def test_older_formats_are_read_as_well(magic: int, kind: int) -> None:
    """If it failed, a topic that began under an old broker could not be read from its beginning."""
    records: list[Given] = [(1_000 + i, b"k%d" % i, b"v" * i, []) for i in range(40)]
    content = Made(records, kind, magic=magic).content(0) + Made(records).content(40)
    found, told = read(PartitionColumns, content, 0, [25] * 10)
    assert (found, told) == read(Fetcher.PartitionRecords, content, 0, [25] * 10)
    assert len(found) == 80


def test_a_number_without_an_end_is_damage() -> None:
    """If it failed, bytes that only look like a number would be read beyond the batch, or for ever."""
    content = bytearray(Made(ALIKE).content(0))
    content[-22:-2] = b"\xff" * 20
    found, told = read(PartitionColumns, sealed(content), 0, [100])
    assert (found, told) == ([], ["corrupt"])


def test_the_batch_that_is_damaged_is_known() -> None:
    """If it failed, an operator would be told to go past another batch than the one that cannot be read."""
    bad = bytearray(Made(ALIKE).content(30))
    bad[-22] ^= 2  # the length of the last value
    content = Made(ALIKE).content(0) + sealed(bad) + Made(ALIKE).content(60)
    source = unpacking._Batches(MemoryRecords(content))
    part = PartitionColumns(0, PLACE, source)
    part.batches = source
    assert len(part.take(1_000)) == 30
    with pytest.raises(CorruptRecordError):
        part.take(1_000)
    assert unpacking._offsets(part) == (30, 59)
