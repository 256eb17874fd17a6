"""Compressed batches: unpacked as the client would, and never into more memory than is allowed."""

from __future__ import annotations

import gzip
import itertools
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lz4.frame
import pytest
import snappy
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import TopicPartition, codec
from kafka.consumer.fetcher import Fetcher
from kafka.record import default_records
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder
from kafka.record.util import calc_crc32c

from monitor.kafka import unpacking
from monitor.kafka.errors import EXIT_OPERATOR, BatchTooLargeError, UnreadableBatchError, problem
from monitor.kafka.unpacking import BATCH_LIMIT, bound

ROOT = Path(__file__).parents[3]
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "lz4": lz4.frame.compress,
    "snappy": snappy.compress,
    "snappy of Java": codec.snappy_encode,
}
UNPACK = {
    "gzip": unpacking.gunzip,
    "zstd": unpacking.unzstd,
    "lz4": unpacking.unlz4,
    "snappy": unpacking.unsnappy,
    "snappy of Java": unpacking.unsnappy,
}
TYPES = {"gzip": 1, "snappy of Java": 2, "lz4": 3, "zstd": 4}


@pytest.mark.parametrize("kind", PACK)
@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=2_000), times=st.integers(0, 200))
def test_what_was_packed_comes_back(kind: str, data: bytes, times: int) -> None:
    """If it failed, a producer's compression would decide what its records say."""
    assert UNPACK[kind](PACK[kind](data * times)) == data * times


def test_members_in_a_row_are_one() -> None:
    """If it failed, a batch that its producer flushed in pieces would be cut short."""
    assert unpacking.gunzip(gzip.compress(b"a") + gzip.compress(b"b")) == b"ab"
    assert unpacking.unzstd(PACK["zstd"](b"a") + PACK["zstd"](b"b")) == b"ab"


@pytest.mark.parametrize("kind", PACK)
@settings(max_examples=100, deadline=None)
@given(cut=st.floats(0, 0.999), flip=st.integers(0, 1 << 16), data=st.binary(min_size=1, max_size=500))
def test_damaged_data_is_an_error_of_the_client(kind: str, cut: float, flip: int, data: bytes) -> None:
    """If it failed, a damaged batch would end the daemon in a traceback: each codec raises errors of its own."""
    packed = bytearray(PACK[kind](data))
    packed[flip % len(packed)] ^= 1 + flip % 255
    for damaged in (bytes(packed), bytes(packed[: int(cut * len(packed))])):
        try:
            codec_of(kind)(damaged)
        except (BatchTooLargeError, UnreadableBatchError) as error:
            assert problem(error, "cannot consume x").status == EXIT_OPERATOR  # noqa: PT017 - a damage may go unnoticed
            assert "\n" not in str(error)  # noqa: PT017 - as above


def codec_of(kind: str) -> Callable[[bytes], bytes]:
    """Return the decoder that the client has now."""
    found: Callable[[bytes], bytes] = getattr(default_records, f"{kind.split(maxsplit=1)[0]}_decode")
    return found


BOMB = """
import resource, sys
from pathlib import Path
from monitor.kafka import unpacking
from monitor.kafka.errors import BatchTooLargeError
from kafka.record import default_records
data = Path(sys.argv[2]).read_bytes()
decode = getattr(default_records, sys.argv[1] + "_decode")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode(data)
except BatchTooLargeError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", PACK)
def test_a_bomb_is_refused_before_it_goes_off(kind: str, tmp_path: Path) -> None:
    """If it failed, kilobytes from one producer would end every member of the group, one after the other."""
    size = 256 << 20
    bomb = tmp_path / "bomb"
    if kind == "snappy":  # only says that it is large, which is enough to have it reserved
        bomb.write_bytes(b"\xff\xff\xff\xff\x07" + bytes(100))
    elif kind == "snappy of Java":
        block = snappy.compress(bytes(1 << 20))
        bomb.write_bytes(b"\x82SNAPPY\x00" + struct.pack("!ii", 1, 1) + (struct.pack("!i", len(block)) + block) * 256)
    else:
        bomb.write_bytes(PACK[kind](bytes(size)))
    command = [sys.executable, "-c", BOMB, kind.split(maxsplit=1)[0], str(bomb)]
    said, grown = subprocess.run(command, capture_output=True, check=True, text=True, cwd=ROOT).stdout.splitlines()
    assert said == (
        "a batch unpacks to more than 32 MiB: move the group's offset past it, and see who may write to the topic"
    )
    assert int(grown) * 1024 < 4 * BATCH_LIMIT < size


PLACE = TopicPartition("sensors", 3)


def fetcher_of(batches: list[bytes]) -> Any:
    """Return the client's own fetcher, bounded, to which these batches of one partition have come."""
    state = SimpleNamespace(position=SimpleNamespace(offset=0), highwater=None)
    fetcher = Fetcher.__new__(Fetcher)  # its constructor wants a cluster
    fetcher.config = Fetcher.DEFAULT_CONFIG
    fetcher._subscriptions = SimpleNamespace(
        assignment={PLACE: state},
        is_assigned=lambda _: True,
        is_fetchable=lambda _: True,
        is_paused=lambda _: False,
    )
    fetcher._sensors = fetcher._next_in_line_exception_metadata = fetcher._next_partition_records = None
    fetcher._paused_completed_fetches, fetcher._paused_partition_records = {}, {}
    fetcher._completed_fetches = deque([SimpleNamespace(topic_partition=PLACE, fetched_offset=0)] * 100)

    def parse(_: object) -> Any:
        """Return what the broker has from the position on: whole batches, as Kafka sends them."""
        offset = state.position.offset
        left = [each for each in batches if struct.unpack(">q", each[:8])[0] + len_of(each) > offset]
        return fetcher.PartitionRecords(offset, PLACE, MemoryRecords(b"".join(left)))

    fetcher._parse_fetched_data = parse
    bound(SimpleNamespace(_fetcher=fetcher))
    return fetcher


def len_of(batch_: bytes) -> int:
    """Return how many records a batch has."""
    count: int = MemoryRecords(batch_).next_batch().records_count
    return count


def batch(first: int, values: list[bytes], kind: int) -> bytes:
    """Return a compressed batch with offsets from `first`."""
    builder = MemoryRecordsBuilder(2, kind, 1 << 30)
    for value in values:
        builder.append(None, b"k", value)
    builder.close()
    found = bytearray(builder.buffer())
    found[0:8] = struct.pack(">q", first)
    return bytes(found)


@pytest.mark.parametrize("kind", TYPES)
def test_many_batches_below_the_limit_come_in_many_polls(kind: str) -> None:
    """If it failed, a hundred small bombs in one fetch would be in memory at once; and no record may be lost by it."""
    values = [bytes([number]) * (3 << 20) for number in range(40)]
    batches = [batch(2 * n, values[2 * n : 2 * n + 2], TYPES[kind]) for n in range(20)]
    fetcher = fetcher_of(batches)
    polls = [fetcher.fetched_records(10_000)[0].get(PLACE, []) for _ in range(40)]
    seen = list(itertools.chain.from_iterable(polls))
    assert [each.offset for each in seen] == list(range(40))
    assert [each.value for each in seen] == values
    largest = max(sum(len(each.value) for each in poll) for poll in polls)
    assert largest <= 2 * BATCH_LIMIT
    assert len([poll for poll in polls if poll]) > 2


def test_batches_that_are_not_compressed_are_bounded_by_the_fetch_alone() -> None:
    """If it failed, a plain topic would be read in more polls than it needs."""
    values = [bytes(1 << 20) for _ in range(60)]
    fetcher = fetcher_of([batch(n, [value], 0) for n, value in enumerate(values)])
    assert len(fetcher.fetched_records(10_000)[0][PLACE]) == 60


def test_the_error_names_the_batch() -> None:
    """If it failed, nobody would know which offset to move past."""
    fetcher = fetcher_of([batch(0, [b"x"], 4), batch(1, [bytes(BATCH_LIMIT)], 4)])
    assert len(fetcher.fetched_records(1)[0][PLACE]) == 1
    with pytest.raises(BatchTooLargeError, match=r"^the batch at offset 1 of sensors-3 unpacks to more than 32 MiB"):
        fetcher.fetched_records(10)


def test_the_error_names_a_batch_of_no_codec_that_there_is() -> None:
    """If it failed, the daemon would end with no word of which batch it is, and of how to go past it."""
    bad = bytearray(batch(1, [b"x"], 4))
    bad[22] = bad[22] & ~7 | 6  # the codec, in the attributes
    bad[17:21] = calc_crc32c(bytes(bad[21:])).to_bytes(4, "big")
    fetcher = fetcher_of([batch(0, [b"x"], 4), bytes(bad)])
    assert len(fetcher.fetched_records(1)[0][PLACE]) == 1
    with pytest.raises(UnreadableBatchError, match=r"^the batch at offset 1 of sensors-3 cannot .*`tidegauge skip"):
        fetcher.fetched_records(10)
