"""The changelog of a partition: everything that is committed in it, from its beginning."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.errors import EXIT_OPERATOR, KafkaProblem, connecting, problem

_LOOKUP_MS = 10_000
_STUCK_SECONDS = 60.0


class PartitionReader:
    """Reads one partition between two offsets, committed records only.

    The end is taken read_uncommitted and then read read_committed until the position is there: the last transaction's
    marker may lie behind what a read_committed consumer calls the end at the moment (KAFKA-10167).
    """

    def __init__(self, connection: ConnectionSettings, topic: str, partition: int) -> None:
        """Connect.

        Raises:
            KafkaProblem: if the cluster cannot be reached, or the topic or partition does not exist.
        """
        self._connection = connection
        self._partition = TopicPartition(topic, partition)
        self._consumer = self._connect("read_committed")
        numbers = self._consumer.partitions_for_topic(topic) or set()
        if partition not in numbers:
            self.close()
            message = (
                f"the topic {topic!r} has no partition {partition} on {connection.address}: it must have as many as its"
                " input; make it with `tidegauge topics CONFIG --create`"
            )
            raise KafkaProblem(message, EXIT_OPERATOR)
        self._consumer.assign([self._partition])

    def end(self) -> int:
        """Return the offset behind the last record, committed or not."""
        consumer = self._connect("read_uncommitted")
        try:
            return int(consumer.end_offsets([self._partition], timeout_ms=_LOOKUP_MS)[self._partition])
        except KafkaError as error:
            raise problem(error, f"cannot look up the end of {self._partition.topic!r}") from None
        finally:
            consumer.close(autocommit=False)

    def begin(self) -> int:
        """Return the offset of the first record."""
        try:
            return int(self._consumer.beginning_offsets([self._partition], timeout_ms=_LOOKUP_MS)[self._partition])
        except KafkaError as error:
            raise problem(error, f"cannot look up the beginning of {self._partition.topic!r}") from None

    def read(self, begin: int, end: int) -> Iterator[list[Any]]:
        """Yield slices of the records from `begin` to below `end`; an empty one now and then while nothing comes.

        Raises:
            KafkaProblem: if nothing comes for a minute.
        """
        self._consumer.seek(self._partition, begin)
        moved = time.monotonic()
        position = begin
        while position < end:
            try:
                found = self._consumer.poll(timeout_ms=200)
                now_at = int(self._consumer.position(self._partition, timeout_ms=_LOOKUP_MS))
            except KafkaError as error:
                raise problem(error, f"cannot read {self._partition.topic!r}") from None
            if now_at > position:
                position, moved = now_at, time.monotonic()
            elif time.monotonic() - moved > _STUCK_SECONDS:
                message = (
                    f"{self._partition.topic}-{self._partition.partition}: nothing comes behind {position} of {end}; a"
                    " transaction may hang"
                )
                raise KafkaProblem(message)
            yield [record for batch in found.values() for record in batch if record.offset < end]

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close(autocommit=False)

    def _connect(self, isolation: str) -> Any:  # noqa: ANN401 - the client has no types
        with connecting(self._connection.address):
            return KafkaConsumer(
                **self._connection.arguments(),
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level=isolation,
                max_poll_records=10_000,
                fetch_max_wait_ms=50,
            )
