"""A reader of the alerts topic with a consumer group of its own: at least once."""

from __future__ import annotations

from typing import Any

from kafka import KafkaConsumer
from kafka.errors import KafkaError

from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.errors import connecting, problem
from monitor.message import Message


class Follower:
    """Reads what is committed, and commits what has been dealt with.

    A group without an offset begins at the beginning: alerts are few, and receivers know repeated ones by their id.
    """

    def __init__(self, connection: ConnectionSettings, topic: str, group: str) -> None:
        """Connect and subscribe.

        Raises:
            KafkaProblem: if the cluster cannot be reached.
        """
        self._topic = topic
        with connecting(connection.address):
            self._consumer: Any = KafkaConsumer(
                topic,
                **connection.arguments(),
                group_id=group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                max_poll_records=500,
            )

    def poll(self, timeout: float) -> list[Message]:
        """Return new events, in order within each partition."""
        try:
            found = self._consumer.poll(timeout_ms=int(timeout * 1000))
        except KafkaError as error:
            raise problem(error, f"cannot read {self._topic!r}") from None
        return [
            Message(record.topic, record.key, record.value, list(record.headers), record.partition)
            for batch in found.values()
            for record in batch
        ]

    def commit(self) -> None:
        """Record that everything that `poll` returned has been dealt with."""
        try:
            self._consumer.commit()
        except KafkaError as error:
            raise problem(error, f"cannot commit offsets on {self._topic!r}") from None

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close(autocommit=False, timeout_ms=2_000)


