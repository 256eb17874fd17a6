"""The topics that a configuration needs, what a cluster has of them, and what it lets this user do."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from kafka import KafkaAdminClient
from kafka import errors as client
from kafka.admin import ConfigResource, ConfigResourceType

from monitor.kafka.connection import ConnectionSettings, connect
from monitor.kafka.errors import EXIT_OPERATOR, KafkaProblem, problem

LOOKED_AT = ("cleanup.policy", "retention.ms")
"""The settings of a topic that are shown beside those that it should have."""

_GROW_SECONDS, _GROW_PAUSE = 30.0, 0.2


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it should be.

    Attributes:
        name: its name.
        purpose: what it is for: input, alerts, dead letters or state.
        partitions: number of partitions.
        configs: settings of the topic, under Kafka's names.
        setting: the setting of the configuration that names it.
        rights: what the daemon must be allowed to do with it, under Kafka's names.
        hint: what else an operator should know.
        like: a topic that it must have as many partitions as, where that one is there.
    """

    name: str
    purpose: str
    partitions: int
    configs: Mapping[str, str]
    setting: str
    rights: tuple[str, ...]
    hint: str = ""
    like: str = ""

    def beside(self, found: Mapping[str, Found]) -> Topic:
        """Return it with the number of partitions that it must have beside what is there."""
        other = found.get(self.like)
        return self if other is None else replace(self, partitions=other.partitions)


@dataclass(frozen=True, slots=True)
class Found:
    """A topic as it is.

    Attributes:
        partitions: number of partitions.
        replication: replicas of its first partition.
        rights: what this user may do with it, under Kafka's names; None = the cluster does not say.
        configs: those of `LOOKED_AT`, as far as they may be seen.
    """

    partitions: int
    replication: int
    rights: frozenset[str] | None = None
    configs: Mapping[str, str] = field(default_factory=dict)


class Cluster:
    """A cluster's topics, through its admin interface."""

    def __init__(self, connection: ConnectionSettings) -> None:
        """Set up; it connects when it is used, and again after `close`."""
        self._connection, self._address = connection, connection.address
        self._client: Any = None

    @property
    def _admin(self) -> Any:  # noqa: ANN401 - the client has no types
        """The client.

        Raises:
            KafkaProblem: if it cannot connect.
        """
        if self._client is None:
            self._client = connect(KafkaAdminClient, self._connection)
        return self._client

    def find(self, names: Sequence[str]) -> dict[str, Found]:
        """Return those of the topics that exist.

        Raises:
            KafkaProblem: if the cluster cannot be asked, or does not let this user look at one of them.
        """
        with self._asking("cannot look at the topics"):
            described = {str(topic["name"]): topic for topic in self._admin.describe_topics(list(names))}
        there = [name for name in names if self._exists(name, described.get(name))]
        configs = self._configs(there)
        return {
            name: Found(
                len(described[name]["partitions"]),
                len(described[name]["partitions"][0]["replica_nodes"]),
                _rights(described[name]),
                configs.get(name, {}),
            )
            for name in there
        }

    def rights(self, names: Sequence[str]) -> dict[str, frozenset[str]]:
        """Return what this user may do with those topics that may be seen, under Kafka's names.

        Raises:
            KafkaProblem: if the cluster cannot be asked.
        """
        with self._asking("cannot look at the topics"):
            topics = self._admin.describe_topics(list(names))
        described = {str(topic["name"]): _rights(topic) for topic in topics if not topic["error_code"]}
        return {name: found for name in names if (found := described.get(name)) is not None}

    def create(self, topics: Sequence[Topic]) -> list[str]:
        """Make the topics that are missing, and return their names; what exists is never altered.

        They get as many replicas as there are brokers, at most three.

        Raises:
            KafkaProblem: if one of them cannot be made.
        """
        there = self.find([topic.name for topic in topics])
        with self._asking("cannot make topics"):
            replicas = max(1, min(3, len(self._admin.describe_cluster()["brokers"])))
            safe = {"min.insync.replicas": "2"} if replicas == 3 else {}  # noqa: PLR2004 - one may fail, none is lost
            wanted = {
                topic.name: {
                    "num_partitions": topic.beside(there).partitions,
                    "replication_factor": replicas,
                    "configs": {**topic.configs, **(safe if topic.purpose == "state" else {})},
                }
                for topic in topics
                if topic.name not in there
            }
            if not wanted:
                return []
            answers = self._admin.create_topics(wanted, raise_errors=False)["topics"]
            made = [str(answer["name"]) for answer in answers if not answer["error_code"]]
            for answer in answers:
                error = client.for_code(answer["error_code"])
                if error not in {client.NoError, client.TopicAlreadyExistsError}:  # somebody else was faster: fine
                    raise problem(error(answer["error_message"]), f"cannot make the topic {answer['name']!r}")
            self._admin.wait_for_topics(list(wanted))
        return made

    def grow(self, name: str, partitions: int) -> None:
        """Let a topic have so many partitions, more than before, and wait until they are there.

        Raises:
            KafkaProblem: if that is refused.
        """
        with self._asking(f"cannot add partitions to the topic {name!r}"):
            self._admin.create_partitions({name: partitions})
            until = time.monotonic() + _GROW_SECONDS
            while len(self.find([name])) == 0 or self.find([name])[name].partitions < partitions:
                if time.monotonic() >= until:
                    message = f"the topic {name!r} does not get its {partitions} partitions"
                    raise KafkaProblem(message)
                time.sleep(_GROW_PAUSE)

    def forbidden(self, groups: Iterable[str], transactional_ids: Iterable[str]) -> list[str]:
        """Return a line for each group and identity of transactions that this user may not use.

        Nothing is joined and nothing fenced by asking.

        Raises:
            KafkaProblem: if the cluster cannot be asked.
        """
        lines = []
        with self._asking("cannot look at groups and transactions"):
            for group in groups:
                try:
                    answer = str(self._admin.describe_groups([group]).get(group, {}).get("error") or "")
                except client.GroupAuthorizationFailedError as error:
                    answer = str(error)
                if "Authorization" in answer:
                    lines.append(f"source.group_id: this user may not read the group {group!r} (ACL READ on it)")
            for name in transactional_ids:
                try:
                    self._admin.describe_transactions([name])
                except client.TransactionalIdNotFoundError:
                    pass  # nobody has used it yet
                except client.TransactionalIdAuthorizationFailedError:
                    text = f"this user may not use {name!r} (ACL WRITE on the transactional id)"
                    lines.append(f"source.transactional_id: {text}")
        return lines

    def close(self) -> None:
        """Disconnect. May be called twice, and used again."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _exists(self, name: str, described: Mapping[str, Any] | None) -> bool:
        """Return whether a described topic is there."""
        error = client.for_code(described["error_code"]) if described else client.UnknownTopicOrPartitionError
        if error is client.UnknownTopicOrPartitionError:
            return False
        if error is client.InvalidTopicError:
            message = f"{name!r} is no name of a topic: 1 to 249 of A-Z a-z 0-9 . _ -"
            raise KafkaProblem(message, EXIT_OPERATOR)
        if error is not client.NoError:
            raise problem(error(), f"cannot look at the topic {name!r} of {self._address}")
        return bool(described and described["partitions"])

    def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return some settings of topics; nothing where they may not be seen."""
        if not names:
            return {}
        resources = [ConfigResource(ConfigResourceType.TOPIC, name, list(LOOKED_AT)) for name in names]
        try:
            answer = self._admin.describe_configs(resources, config_filter="all").get("topic", {})
        except client.KafkaError:
            return {}
        return {
            name: {key: str(entry["value"]) for key, entry in entries.items() if key in LOOKED_AT}
            for name, entries in answer.items()
        }

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        try:
            yield
        except client.KafkaError as error:
            raise problem(error, f"{what} of {self._address}") from None


def require_right(cluster: Cluster, right: str, topics: Mapping[str, str]) -> None:
    """Make sure that this user may do something with topics.

    Without it a daemon that may not write its alerts would find out with the first of them.

    Args:
        cluster: what is asked; it stays connected.
        right: the operation, under Kafka's name.
        topics: the setting that names each topic.

    Raises:
        KafkaProblem: for the first topic with which that is not allowed, or if the cluster cannot be asked.
    """
    if not topics:
        return
    found = cluster.rights(list(topics))
    for topic, setting in topics.items():
        if not found.get(topic, frozenset({right})) & {right, "ALL"}:
            message = f"{setting}: this user may not {right} the topic {topic!r}: give it the ACL {right} on it"
            raise KafkaProblem(message, EXIT_OPERATOR)


def _rights(described: Mapping[str, Any]) -> frozenset[str] | None:
    """Return what a user may do with a described topic."""
    rights = described.get("authorized_operations")
    return None if rights is None else frozenset(map(str, rights))
