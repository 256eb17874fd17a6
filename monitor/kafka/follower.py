"""A reader of the alerts topic with a consumer group of its own: at least once."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from kafka import KafkaConsumer
from kafka.errors import KafkaError

from monitor.kafka.connection import ConnectionSettings, connect
from monitor.kafka.errors import problem
from monitor.message import Message

_COMMIT_MS = 5_000
_CLOSE_MS = 2_000


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
        self._consumer: Any = connect(
            partial(KafkaConsumer, topic),
            connection,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_poll_records=500,
        )

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
        return [
            Message(record.topic, record.key, record.value, list(record.headers), record.partition)
            for batch in found.values()
            for record in batch
        ]

    def commit(self) -> None:
        """Record that everything that `poll` returned has been dealt with.

        Raises:
            KafkaProblem: if that is not possible; the events come again.
        """
        try:
            self._consumer.commit(timeout_ms=_COMMIT_MS)
        except KafkaError as error:
            raise problem(error, f"cannot commit offsets on {self._topic!r}") from None

    def close(self) -> None:
        """Leave the group. May be called twice."""
        with suppress(KafkaError):
            self._consumer.close(autocommit=False, timeout_ms=_CLOSE_MS)
