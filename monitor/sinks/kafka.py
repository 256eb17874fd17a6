"""A Kafka topic: within the source's transaction where the source is Kafka too, else in transactions of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.errors import KafkaProblem
from monitor.kafka.names import TopicName
from monitor.kafka.port import Identity
from monitor.kafka.transactions import TransactionFailed, Transactions
from monitor.message import Message
from monitor.sinks.base import Sink, SinkError, SinkSettings


class Settings(ConnectionSettings, SinkSettings):
    """Section `sink` with `type: kafka`. With a Kafka source the connection is the source's; only `topic` is set."""

    type: Literal["kafka"] = "kafka"
    topic: TopicName = Field(description="topic of the alerts")
    transactional_id: str = Field(
        "tidegauge-sink", description="identity of the transactions, where the source is not Kafka"
    )

    def contradiction(self, source: ConnectionSettings) -> str | None:
        """Return what is wrong with a setting that a Kafka source decides, "name: found …, expected …", or None.

        Alerts are part of the source's transactions, which have one connection and one identity: a setting of the
        sink's own is in vain, and so refused unless it says the same.
        """
        for name in (*ConnectionSettings.model_fields, "transactional_id"):
            mine, theirs = getattr(self, name), getattr(source, name, None)
            if name not in self.model_fields_set or mine == theirs:
                continue
            values = f"found {_shown(mine)}, but source has {_shown(theirs)}"
            if isinstance(mine, SecretStr):
                values = "found another than source has"
            return f"{name}: {values}: alerts go out in the source's transactions; leave it out"
        return None

    def build(self) -> KafkaSink:
        """Connect (only used where the source is not Kafka)."""
        return KafkaSink(self)


def _shown(value: object) -> str:
    """Return a setting much as the configuration writes it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


class RefusedError(SinkError):
    """The brokers refuse this program for good, not the events.

    Attributes:
        status: exit status of the command.
    """

    def __init__(self, problem: KafkaProblem) -> None:
        """Say why."""
        super().__init__(str(problem))
        self.status = problem.status


class KafkaSink(Sink):
    """Publishes events in transactions of its own: all of one delivery, or none; at least once over restarts."""

    transaction_timeout_ms: ClassVar[int] = 10_000

    def __init__(self, settings: Settings) -> None:
        """Connect.

        Raises:
            SinkError: if the cluster cannot be reached.
        """
        self._topic = settings.topic
        try:
            identity = Identity(settings.transactional_id, self.transaction_timeout_ms, None)
            self._transactions = Transactions(settings, identity)
        except KafkaProblem as error:
            raise RefusedError(error) from None

    def deliver(self, events: Sequence[Message]) -> None:
        """Publish the events in one transaction."""
        messages = [Message(self._topic, event.key, event.value, event.headers) for event in events]
        try:
            self._transactions.commit(messages, {}, None)
        except TransactionFailed as error:
            message = f"the alerts topic {self._topic!r} did not take the events: {error}"
            raise SinkError(message) from None  # the next delivery begins with a new producer
        except KafkaProblem as error:
            raise RefusedError(error) from None

    def close(self) -> None:
        """Disconnect."""
        self._transactions.close()
