"""A member of a consumer group that never skips a record and never hands one out twice.

kafka-python runs rebalance callbacks on its own thread, inside `poll`; they only note what happened. Everything else
(reading the committed offsets, seeking) is done after the poll, by the polling thread, while the new partitions are
paused. Records that the same poll returned are dropped: they may come from the old position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import FencedInstanceIdError, KafkaError, KafkaTimeoutError

from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.errors import EXIT_OPERATOR, Fenced, KafkaProblem, connecting, problem
from monitor.times import from_iso

log = structlog.get_logger(__name__)

_LOOKUP_MS = 10_000
Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """What makes a member of a group."""

    topics: Sequence[str]
    group_id: str
    group_instance_id: str | None
    start: str
    session_timeout_ms: int
    max_poll_interval_ms: int
    max_poll_records: int
    fetch_max_bytes: int
    max_partition_fetch_bytes: int


class _Facts(ConsumerRebalanceListener):  # type: ignore[misc] - the client has no types
    """Notes that partitions came or went, and keeps new ones quiet until their position is known."""

    def __init__(self, consumer: Any) -> None:  # noqa: ANN401 - as above
        self._consumer = consumer
        self.changed = False

    def on_partitions_revoked(self, revoked: Sequence[Any]) -> None:  # noqa: ARG002 - the next poll looks itself
        self.changed = True

    def on_partitions_assigned(self, assigned: Sequence[Any]) -> None:
        self.changed = True
        for partition in assigned:
            self._consumer.seek(partition, 0)  # a position, so that the client does not ask for a reset
        self._consumer.pause(*assigned)


class Member:
    """One member of the group.

    Attributes:
        next: next offset of each partition that is consumed.
        settled: True once the group has assigned partitions, be it none.
        membership: the group membership as it was after the last poll.
    """

    def __init__(self, connection: ConnectionSettings, settings: GroupSettings) -> None:
        """Connect and subscribe.

        Raises:
            KafkaProblem: if the cluster cannot be reached, or a topic does not exist.
        """
        self._settings = settings
        self.next: dict[Key, int] = {}
        self._lost: set[Key] = set()
        self._begun: dict[Key, int] = {}
        self._unsettled = False
        self.settled = False
        self.membership: Any | None = None
        with connecting(connection.address):
            self._consumer = KafkaConsumer(
                **connection.arguments(),
                group_id=settings.group_id,
                group_instance_id=settings.group_instance_id,
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level="read_committed",
                partition_assignment_strategy=[RangePartitionAssignor],
                session_timeout_ms=settings.session_timeout_ms,
                max_poll_interval_ms=settings.max_poll_interval_ms,
                max_poll_records=settings.max_poll_records,
                fetch_max_bytes=settings.fetch_max_bytes,
                max_partition_fetch_bytes=settings.max_partition_fetch_bytes,
                fetch_max_wait_ms=100,
            )
            for topic in settings.topics:
                if not self._consumer.partitions_for_topic(topic):
                    message = (
                        f"the topic {topic!r} does not exist on {connection.address}: fix source.topics,"
                        " or make it with `tidegauge topics CONFIG --create`"
                    )
                    raise KafkaProblem(message, EXIT_OPERATOR)
        self._facts = _Facts(self._consumer)
        self._consumer.subscribe(topics=list(settings.topics), listener=self._facts)

    def poll(self, timeout: float) -> dict[Key, list[Any]]:
        """Return new records by partition, each in the order of its offsets, after at most about `timeout` seconds.

        Raises:
            KafkaProblem: if polling on is useless.
        """
        try:
            found = self._consumer.poll(timeout_ms=int(timeout * 1000))
        except FencedInstanceIdError:
            raise Fenced(str(self._settings.group_instance_id)) from None
        except KafkaError as error:
            if getattr(error, "retriable", False):
                log.warning("poll_failed", error=type(error).__name__)
                self.unsettle()
                return {}
            raise problem(error, f"cannot consume {', '.join(self._settings.topics)}") from None
        if self._facts.changed or self._unsettled:
            self._settle()
            return {}
        self.membership = self._consumer.group_metadata()
        if found and not self._stable():
            self.unsettle()
            return {}
        records: dict[Key, list[Any]] = {}
        for partition, batch in found.items():
            key = (partition.topic, partition.partition)
            first = self.next.get(key)
            if first is None:
                continue
            if batch[0].offset < first:
                batch = [record for record in batch if record.offset >= first]  # noqa: PLW2901
            if batch:
                self.next[key] = batch[-1].offset + 1
                records[key] = batch
        return records

    def unsettle(self) -> None:
        """Read the truth from the broker after the next poll: positions and membership are not to be trusted."""
        self._unsettled = True

    def take_lost(self) -> set[Key]:
        """Return the partitions whose state must be dropped, since the last call."""
        lost, self._lost = self._lost, set()
        return lost

    def take_begun(self) -> dict[Key, int]:
        """Return the partitions that were begun without a committed offset, which is to be committed at once."""
        begun, self._begun = self._begun, {}
        return begun

    def lag(self) -> Mapping[Key, int]:
        """Return how many records behind the end each partition is, as far as the last fetch knows."""
        found = {}
        for (topic, partition), offset in self.next.items():
            end = self._consumer.highwater(TopicPartition(topic, partition))
            if end is not None:
                found[topic, partition] = max(0, end - offset)
        return found

    def close(self, timeout: float = 5.0) -> None:
        """Leave the group (a static member stays in it until its session ends) and disconnect."""
        self._consumer.close(autocommit=False, timeout_ms=int(timeout * 1000))

    def _stable(self) -> bool:
        """Whether the membership can be committed under: the broker takes offsets of a member without a name."""
        membership = self.membership
        return bool(
            membership is not None
            and str(getattr(membership, "state", "")) in {"<stable>", "MemberState.STABLE", "stable"}
            and membership.generation_id >= 0
            and membership.member_id
        )

    def _settle(self) -> None:
        """Look up where each assigned partition is, go there, and note what is lost."""
        self._facts.changed = False
        self._unsettled = True
        assigned = {(p.topic, p.partition): p for p in self._consumer.assignment()}
        for key in set(self.next) - set(assigned):
            del self.next[key]
            self._lost.add(key)
        try:
            for key, partition in assigned.items():
                self._position(key, partition)
        except KafkaTimeoutError:
            log.warning("offsets_unknown", group=self._settings.group_id)
            return
        except KafkaError as error:
            if getattr(error, "retriable", False):
                log.warning("offsets_unknown", group=self._settings.group_id, error=type(error).__name__)
                return
            raise problem(error, f"cannot read the offsets of group {self._settings.group_id!r}") from None
        if not self._facts.changed:
            self._unsettled = False
            self.settled = True
            self._consumer.resume(*assigned.values())
            self.membership = self._consumer.group_metadata()
            log.info("partitions_assigned", partitions=[f"{topic}-{number}" for topic, number in sorted(assigned)])

    def _position(self, key: Key, partition: Any) -> None:  # noqa: ANN401 - the client has no types
        """Seek to a partition's committed offset, or to the configured start."""
        offset = self._consumer.committed(partition, timeout_ms=_LOOKUP_MS)
        if offset is None:
            offset = self._start(partition)
            self._begun[key] = offset
        else:
            first = self._consumer.beginning_offsets([partition], timeout_ms=_LOOKUP_MS)[partition]
            if offset < first:
                message = (
                    f"lost offsets: group {self._settings.group_id!r} stands at {offset} of {key[0]}-{key[1]}, but the"
                    f" topic begins at {first}; records are gone. Reset the group's offset to go on"
                )
                raise KafkaProblem(message, EXIT_OPERATOR)
        if self.next.get(key) != offset:
            self._lost.add(key)
        self.next[key] = offset
        self._consumer.seek(partition, offset)

    def _start(self, partition: Any) -> int:  # noqa: ANN401 - the client has no types
        """Return the offset at which a partition without a committed one begins."""
        start = self._settings.start
        if start == "beginning":
            return int(self._consumer.beginning_offsets([partition], timeout_ms=_LOOKUP_MS)[partition])
        end = int(self._consumer.end_offsets([partition], timeout_ms=_LOOKUP_MS)[partition])
        if start == "end":
            return end
        found = self._consumer.offsets_for_times({partition: from_iso(start)}, timeout_ms=_LOOKUP_MS)[partition]
        return end if found is None else int(found.offset)
