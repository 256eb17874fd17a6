"""A group whose members are all gone, taken over for a moment: to move its offsets and its state as one.

The group is joined, as by a member, once it is empty. So the broker itself refuses what would be committed over another
member's head, and a daemon that starts meanwhile waits for its partitions until this is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import GroupIdNotFoundError, KafkaError

from monitor.kafka.connection import ConnectionSettings, connect
from monitor.kafka.errors import EXIT_OPERATOR, KafkaProblem, problem
from monitor.kafka.port import Identity, Key, Membership
from monitor.kafka.python.group import membership_of
from monitor.kafka.transactions import TransactionFailed, Transactions
from monitor.message import Message

TRANSACTION_MS = 300_000
"""All state of a group goes into one transaction: a broker aborts it after so long, should this process die."""

_LOOKUP_MS = 10_000
_JOIN_TRIES, _JOIN_SECONDS = 3, 20.0
_LONGEST_WORK_MS = 3_600_000
_GRACE_SECONDS = 5.0
_SESSION_MS = 10_000  # at least: nothing is gained by less here
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a partition of the input stands.

    Attributes:
        committed: the group's offset, None where it has none.
        first: offset of the topic's first record.
        end: offset behind its last one.
    """

    committed: int | None
    first: int
    end: int


class _Quiet(ConsumerRebalanceListener):  # type: ignore[misc]  # the client has no types
    """Keeps the client from fetching what is assigned to it."""

    def __init__(self, consumer: Any) -> None:  # noqa: ANN401 - as above
        self._consumer = consumer

    def on_partitions_revoked(self, revoked: Sequence[Any]) -> None:
        """Nothing to do: a commit under an old membership is refused."""

    def on_partitions_assigned(self, assigned: Sequence[Any]) -> None:
        for partition in assigned:
            self._consumer.seek(partition, 0)  # a position, so that the client does not ask for a reset
        self._consumer.pause(*assigned)


class Takeover:
    """The only member of a group, for as long as it is open.

    Attributes:
        places: where each partition of the topics stands.
    """

    def __init__(
        self,
        connection: ConnectionSettings,
        group_id: str,
        topics: Sequence[str],
        session_timeout_ms: int,
        waiting: Callable[[str], None],
    ) -> None:
        """Wait for the group to be empty, and join it.

        Args:
            connection: how to reach the cluster.
            group_id: the group.
            topics: its topics.
            session_timeout_ms: so long a member that is gone may still be in the group.
            waiting: told, once, whom this waits for.

        Raises:
            KafkaProblem: if the group has members, or the cluster cannot be reached.
        """
        self._connection, self._group = connection, group_id
        self._wait(session_timeout_ms / 1000 + _GRACE_SECONDS, waiting)
        self._session_ms = max(session_timeout_ms, _SESSION_MS)
        self._consumer: Any = None
        try:
            self._membership = self._join(topics)
            self.places, self._identities = self._look(topics)
        except KafkaError as error:
            self.close()
            raise problem(error, f"cannot join the group {group_id!r}") from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Use it for a block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the group."""
        self.close()

    def identity(self, topic: str) -> str | None:
        """Return a topic's own id, None where the brokers do not say it."""
        found = self._identities.get(topic)
        return None if found is None else str(found)

    def commit(self, messages: Sequence[Message], offsets: Mapping[Key, int], compression: str | None = None) -> None:
        """Publish messages and set the group's offsets, all or nothing.

        Raises:
            KafkaProblem: if that did not work, or nobody knows: look, and do it again.
        """
        identity = Identity(f"{self._group}-operator", TRANSACTION_MS, compression)
        transactions = Transactions(self._connection, identity)
        try:
            transactions.commit(messages, offsets, self._membership)
        except TransactionFailed as error:
            if error.rejected:
                message = f"another member has joined the group {self._group!r} meanwhile: stop it, and try again"
            else:
                message = f"the transaction failed: {error}: try again"
            raise KafkaProblem(message) from None
        finally:
            transactions.close()

    def close(self) -> None:
        """Leave the group. May be called twice."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with suppress(KafkaError):
                consumer.close(autocommit=False, timeout_ms=2_000)

    def _wait(self, seconds: float, waiting: Callable[[str], None]) -> None:
        """Wait until nobody is in the group."""
        until = time.monotonic() + seconds
        admin = connect(KafkaAdminClient, self._connection)
        said = False
        try:
            while members := self._members(admin):
                who = ", ".join(sorted(members))
                if time.monotonic() >= until:
                    message = (
                        f"the group {self._group!r} has members ({who}): stop all of them first; one that is stopped"
                        " stays in the group until its session ends (source.session_timeout_ms)"
                    )
                    raise KafkaProblem(message)
                if not said:
                    waiting(f"waiting up to {seconds:.0f} s for {who} to leave the group {self._group!r}")
                    said = True
                time.sleep(_PAUSE_SECONDS)
        finally:
            admin.close()

    def _members(self, admin: Any) -> list[str]:  # noqa: ANN401 - the client has no types
        """Return the names of the group's members."""
        try:
            found = admin.describe_groups([self._group])[self._group]
        except GroupIdNotFoundError:
            return []
        except KafkaError as error:
            raise problem(error, f"cannot look at the group {self._group!r}") from None
        return [
            f"{member.get('group_instance_id') or member['client_id']} on {member['client_host'].lstrip('/')}"
            for member in found["members"]
        ]

    def _join(self, topics: Sequence[str]) -> Membership:
        """Join the group; return the membership that owns all partitions."""
        for _ in range(_JOIN_TRIES):
            self._consumer = connect(
                KafkaConsumer,
                self._connection,
                group_id=self._group,
                enable_auto_commit=False,
                auto_offset_reset="none",
                partition_assignment_strategy=[RangePartitionAssignor],
                session_timeout_ms=self._session_ms,
                heartbeat_interval_ms=3_000,
                max_poll_interval_ms=_LONGEST_WORK_MS,
            )
            found = self._joined(topics)
            if found is not None:
                return found
            self.close()  # a client that has not joined by now may never do it
        message = f"the group {self._group!r} cannot be had: another member has joined it, or the brokers do not answer"
        raise KafkaProblem(message)

    def _look(self, topics: Sequence[str]) -> tuple[dict[Key, Place], dict[str, Any]]:
        """Return where the partitions stand, and the topics' own ids."""
        consumer = self._consumer
        ids = {topic: consumer._cluster.topic_id(topic) for topic in topics}  # noqa: SLF001 - nothing public tells
        return _places(consumer, sorted(consumer.assignment())), ids

    def _joined(self, topics: Sequence[str]) -> Membership | None:
        """Return the membership; None if it does not come, or leaves partitions to others."""
        wanted = set()
        for topic in topics:
            numbers = self._consumer.partitions_for_topic(topic)
            if not numbers:
                message = f"the topic {topic!r} does not exist: fix source.topics"
                raise KafkaProblem(message, EXIT_OPERATOR)
            wanted |= {TopicPartition(topic, number) for number in numbers}
        self._consumer.subscribe(topics=list(topics), listener=_Quiet(self._consumer))
        until = time.monotonic() + _JOIN_SECONDS
        while time.monotonic() < until:
            self._consumer.poll(timeout_ms=200)
            membership = membership_of(self._consumer)
            if membership.stable and self._consumer.assignment() == wanted:
                return membership
        return None


def look(connection: ConnectionSettings, group_id: str, keys: Sequence[Key]) -> dict[Key, Place]:
    """Return where partitions stand, without joining the group; not those that do not exist.

    Raises:
        KafkaProblem: if the cluster cannot be asked.
    """
    consumer = connect(KafkaConsumer, connection, group_id=group_id, enable_auto_commit=False, auto_offset_reset="none")
    try:
        counts = {topic: len(consumer.partitions_for_topic(topic) or ()) for topic in {topic for topic, _ in keys}}
        return _places(consumer, [TopicPartition(*key) for key in keys if key[1] < counts[key[0]]])
    except KafkaError as error:
        raise problem(error, f"cannot look up the offsets of group {group_id!r}") from None
    finally:
        with suppress(KafkaError):
            consumer.close(autocommit=False)


def _places(consumer: Any, partitions: Sequence[Any]) -> dict[Key, Place]:  # noqa: ANN401 - the client has no types
    """Return where partitions stand."""
    firsts = consumer.beginning_offsets(list(partitions), timeout_ms=_LOOKUP_MS)
    ends = consumer.end_offsets(list(partitions), timeout_ms=_LOOKUP_MS)
    found = {}
    for partition in partitions:
        committed = consumer.committed(partition, timeout_ms=_LOOKUP_MS)
        place = Place(None if committed is None else int(committed), int(firsts[partition]), int(ends[partition]))
        found[partition.topic, partition.partition] = place
    return found
