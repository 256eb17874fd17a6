"""A message: bytes that go out to a topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes that go out to a topic.

    Attributes:
        topic: where they go.
        key: Kafka key; decides the partition where `partition` is None.
        value: the value, None for a tombstone.
        headers: pairs of name and bytes.
        partition: partition, or None to let the key decide.
        offset: where it lies in its partition, if it was read from there.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None
    offset: int | None = None
