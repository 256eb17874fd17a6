"""The topics that a configuration needs, and what a cluster has of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.errors import connecting, problem


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it should be.

    Attributes:
        name: its name.
        purpose: what it is for: input, alerts or dead letters.
        partitions: number of partitions.
        configs: settings of the topic, under Kafka's names.
    """

    name: str
    purpose: str
    partitions: int
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """A topic as it is."""

    partitions: int
    replication: int


class Cluster:
    """A cluster's topics, through its admin interface."""

    def __init__(self, connection: ConnectionSettings) -> None:
        """Connect.

        Raises:
            KafkaProblem: if that fails.
        """
        self._address = connection.address
        with connecting(connection.address):
            self._admin: Any = KafkaAdminClient(**connection.arguments())

    def find(self, names: Sequence[str]) -> dict[str, Found]:
        """Return those of the topics that exist."""
        with self._asking("cannot look at the topics"):
            described = self._admin.describe_topics(list(names))
        found = {}
        for topic in described:
            partitions = topic.get("partitions") or []
            if not topic.get("error_code") and partitions:
                found[str(topic.get("name") or topic.get("topic"))] = Found(
                    len(partitions), len(_replicas(partitions[0]))
                )
        return found

    def create(self, topics: Sequence[Topic]) -> list[str]:
        """Make the topics that are missing, and return their names; what exists is never altered.

        They get as many replicas as there are brokers, at most three.
        """
        missing = [topic for topic in topics if topic.name not in self.find([t.name for t in topics])]
        if not missing:
            return []
        with self._asking("cannot make topics"):
            brokers = len(self._admin.describe_cluster()["brokers"])
            wanted = {
                topic.name: {
                    "num_partitions": topic.partitions,
                    "replication_factor": min(3, brokers),
                    "configs": dict(topic.configs),
                }
                for topic in missing
            }
            try:
                self._admin.create_topics(wanted)
                self._admin.wait_for_topics(list(wanted))
            except TopicAlreadyExistsError:
                return [name for name in wanted if name not in self.find(list(wanted))]
        return list(wanted)

    def close(self) -> None:
        """Disconnect."""
        self._admin.close()

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        try:
            yield
        except KafkaError as error:
            raise problem(error, f"{what} of {self._address}") from None


def _replicas(partition: Mapping[str, Any]) -> Sequence[Any]:
    """Return the replicas of a described partition, whatever the client calls them."""
    return partition.get("replica_nodes") or partition.get("replicas") or [0]
