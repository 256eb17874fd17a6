"""Which partition a producer gives a key to."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Literal

from kafka.partitioner.default import murmur2

Partitioner = Literal["murmur2", "crc32"]
"""murmur2: Kafka's own clients and kafka-python; crc32: librdkafka's default, so confluent-kafka and kcat."""


def partitioner(kind: Partitioner, count: int) -> Callable[[bytes], int]:
    """Return a function from keys to one of `count` partitions."""
    if kind == "crc32":
        return lambda key: zlib.crc32(key) % count
    return lambda key: (int(murmur2(key)) & 0x7FFFFFFF) % count
