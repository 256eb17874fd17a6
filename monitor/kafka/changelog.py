"""Parts of partitions, read apart from the group: logs of state, and input that was processed before."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from monitor.kafka.connection import ConnectionSettings, connect
from monitor.kafka.errors import UNREADABLE, KafkaProblem, problem, unreadable
from monitor.kafka.port import Columns, Key
from monitor.kafka.python.fetched import columnar

_LOOKUP_MS = 10_000
_STUCK_SECONDS = 60.0
_SLICE_MS = 100
_SLICE_RECORDS = 2_000
_FETCH_BYTES = 8_388_608
_FETCH_WAIT_MS = 10  # what is read is there already; a fetch beyond it only keeps the next one waiting
_IDLE_MS = 20  # the client sleeps so long between two looks at who leads a partition; 100 ms would be most of a read


class PartitionReader:
    """Reads partitions between two offsets, committed records only, one partition at a time.

    Ends are taken read_uncommitted and then read read_committed until the position is there: the last transaction's
    marker may lie behind what a read_committed consumer calls the end at the moment (KAFKA-10167).
    """

    def __init__(self, connection: ConnectionSettings) -> None:
        """Set up; it connects when it is used, and again after `close`."""
        self._connection = connection
        self._consumers: dict[str, Any] = {}

    def count(self, topic: str) -> int:
        """Return how many partitions a topic has; 0: it does not exist.

        Raises:
            KafkaProblem: if the cluster cannot be asked.
        """
        try:
            return len(self._consumer("read_uncommitted").partitions_for_topic(topic) or ())
        except KafkaError as error:
            raise problem(error, f"cannot look up the topic {topic!r}") from None

    def identity(self, topic: str) -> str | None:
        """Return a topic's own id, None where the brokers do not say it or it does not exist.

        Raises:
            KafkaProblem: if the cluster cannot be asked.
        """
        self.count(topic)
        found = self._consumer("read_uncommitted")._cluster.topic_id(topic)  # noqa: SLF001 - nothing public tells
        return None if found is None else str(found)

    def bounds(self, keys: Sequence[Key]) -> Mapping[Key, tuple[int, int]]:
        """Return for each partition the offsets of its first record and behind its last, committed or not.

        Raises:
            KafkaProblem: if the cluster cannot be asked.
        """
        consumer = self._consumer("read_uncommitted")
        partitions = [TopicPartition(*key) for key in keys]
        try:
            firsts = consumer.beginning_offsets(list(partitions), timeout_ms=_LOOKUP_MS)
            ends = consumer.end_offsets(list(partitions), timeout_ms=_LOOKUP_MS)
        except KafkaError as error:
            raise problem(error, f"cannot look up the ends of {', '.join(sorted({key[0] for key in keys}))}") from None
        return {(p.topic, p.partition): (int(firsts[p]), int(ends[p])) for p in partitions}

    def read(self, key: Key, begin: int, end: int) -> Iterator[Columns | None]:
        """Yield slices of the records from `begin` to below `end`; None now and then while nothing comes.

        Raises:
            KafkaProblem: if nothing comes for a minute, or what comes cannot be read.
        """
        consumer = self._consumer("read_committed")
        partition = TopicPartition(*key)
        what = f"cannot read {key[0]!r}"
        try:
            # Else it would forget who leads the partitions of one topic (the log) when it turns to another (the input).
            consumer._cluster.add_topic(key[0])  # noqa: SLF001 - there is no public way
            consumer.assign([partition])
            consumer.seek(partition, begin)
        except KafkaError as error:
            raise problem(error, what) from None
        moved = time.monotonic()
        position = begin
        while position < end:
            try:
                found = consumer.poll(timeout_ms=_SLICE_MS)
                now_at = int(consumer.position(partition, timeout_ms=_LOOKUP_MS))
            except KafkaError as error:
                if not getattr(error, "retriable", False) or time.monotonic() - moved > _STUCK_SECONDS:
                    raise problem(error, what) from None
                yield None
                continue
            except UNREADABLE as error:
                raise unreadable(error, what) from None
            if now_at > position:
                position, moved = now_at, time.monotonic()
            elif time.monotonic() - moved > _STUCK_SECONDS:
                message = f"{key[0]}-{key[1]}: nothing comes behind {position} of {end}; a transaction may hang"
                raise KafkaProblem(message)
            yield Columns.joined(found[partition]).below(end) if partition in found else None

    def close(self) -> None:
        """Disconnect. May be called twice, and used again."""
        for consumer in self._consumers.values():
            with suppress(KafkaError):
                consumer.close(autocommit=False)
        self._consumers.clear()

    def _consumer(self, isolation: str) -> Any:  # noqa: ANN401 - the client has no types
        found = self._consumers.get(isolation)
        if found is None:
            found = connect(
                KafkaConsumer,
                self._connection,
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level=isolation,
                max_poll_records=_SLICE_RECORDS,
                max_partition_fetch_bytes=_FETCH_BYTES,
                fetch_max_wait_ms=_FETCH_WAIT_MS,
                retry_backoff_ms=_IDLE_MS,
            )
            columnar(found)
            self._consumers[isolation] = found
        return found
