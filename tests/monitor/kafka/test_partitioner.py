"""The partition of a key, as producers choose it."""

from __future__ import annotations

import pytest

from monitor.kafka.partitioner import partitioner

MURMUR2 = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}
"""Of Apache Kafka's own test (UtilsTest.testMurmur2)."""


@pytest.mark.parametrize("key", MURMUR2)
def test_a_key_goes_where_kafkas_clients_put_it(key: bytes) -> None:
    """If it failed, a stream's state would be moved to another partition than its next record."""
    for count in (1, 2, 7, 50):
        assert partitioner("murmur2", count)(key) == (MURMUR2[key] & 0x7FFFFFFF) % count


def test_a_key_goes_where_librdkafka_puts_it() -> None:
    """If it failed, the same for producers that are built on librdkafka."""
    assert partitioner("crc32", 1 << 31)(b"123456789") == 0xCBF43926 % (1 << 31)  # the check value of CRC-32
