"""A reader of the alerts topic with a consumer group of its own: at least once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from monitor.kafka.connection import ConnectionSettings, connect
from monitor.kafka.errors import problem
from monitor.kafka.range import Range
from monitor.message import Message

_COMMIT_MS = 5_000
_LOOKUP_MS = 5_000
_CLOSE_MS = 2_000
_POLL_SECONDS = 0.5


class _Facts(ConsumerRebalanceListener):  # type: ignore[misc]  # the client has no types
    """Notes that partitions were assigned; it is told on a thread of the client's."""

    assigned = False

    def on_partitions_revoked(self, revoked: Sequence[Any]) -> None:
        """Wait for the assignment that follows."""

    def on_partitions_assigned(self, assigned: Sequence[Any]) -> None:  # noqa: ARG002 - the follower looks itself
        self.assigned = True


class Follower:
    """Reads what is committed, and commits what has been dealt with.

    A group without an offset begins at the beginning: alerts are few, and receivers know repeated ones by their id.
    """

    def __init__(self, connection: ConnectionSettings, topic: str, group: str) -> None:
        """Connect and subscribe.

        Raises:
            KafkaProblem: if the cluster cannot be reached.
        """
        self._topic, self._group, self._connection = topic, group, connection
        self._consumer: Any = connect(
            KafkaConsumer,
            connection,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_poll_records=500,
        )
        self._facts = _Facts()
        self._consumer.subscribe(topics=[topic], listener=self._facts)

    def poll(self, timeout: float) -> list[Message]:
        """Return new events, in order within each partition; none while the brokers do not answer.

        Raises:
            KafkaProblem: if polling on is useless.
        """
        try:
            found = self._consumer.poll(timeout_ms=int(timeout * 1000))
        except KafkaError as error:
            if getattr(error, "retriable", False):
                return []
            raise problem(error, f"cannot read {self._topic!r}") from None
        return list(_messages(found.values()))

    def take_assigned(self) -> set[int] | None:
        """Return this member's partitions if the group has assigned any since the last call, else None.

        A partition that is in two such sets may have been another member's in between.
        """
        if not self._facts.assigned:
            return None
        self._facts.assigned = False
        return {partition.partition for partition in self._consumer.assignment()}

    def committed(self, partitions: Iterable[int]) -> dict[int, tuple[int, str]]:
        """Return the committed offset of partitions and the note beside it; those without an offset are left out.

        Raises:
            KafkaProblem: if the brokers do not say.
        """
        try:
            found = {
                number: self._consumer.committed(
                    TopicPartition(self._topic, number), metadata=True, timeout_ms=_LOOKUP_MS
                )
                for number in partitions
            }
        except KafkaError as error:
            raise problem(error, f"cannot read the offsets of group {self._group!r}") from None
        return {
            number: (int(each.offset), str(each.metadata or "")) for number, each in found.items() if each is not None
        }

    def between(self, places: Mapping[int, tuple[int, int]]) -> Iterator[Message]:
        """Yield what lies between two offsets (the second excluded) of each partition, beside the group.

        Raises:
            KafkaProblem: if that cannot be read.
        """
        if not places:
            return
        begin, end = (",".join(f"{number}:{place[i]}" for number, place in places.items()) for i in (0, 1))
        records = Range(self._connection, self._topic, begin, end)
        try:
            while not records.exhausted:
                yield from _messages(
                    batch for (_, number), batch in records.poll(_POLL_SECONDS).items() if number in places
                )
        finally:
            records.close()

    def commit(self, notes: Mapping[int, str]) -> None:
        """Record that everything that `poll` returned of these partitions has been dealt with.

        Args:
            notes: the partitions, and what to store beside the offset of each.

        Raises:
            KafkaProblem: if that is not possible; the events come again.
        """
        try:
            offsets = {}
            for number, note in notes.items():
                partition = TopicPartition(self._topic, number)
                position = self._consumer.position(partition, timeout_ms=_LOOKUP_MS)
                offsets[partition] = OffsetAndMetadata(position, note, -1)
            self._consumer.commit(offsets, timeout_ms=_COMMIT_MS)
        except KafkaError as error:
            raise problem(error, f"cannot commit offsets on {self._topic!r}") from None

    def close(self) -> None:
        """Leave the group. May be called twice."""
        with suppress(KafkaError):
            self._consumer.close(autocommit=False, timeout_ms=_CLOSE_MS)


def _messages(batches: Iterable[Sequence[Any]]) -> Iterator[Message]:
    """Yield the client's records as messages."""
    for batch in batches:
        for record in batch:
            yield Message(record.topic, record.key, record.value, list(record.headers), record.partition, record.offset)
