"""A member of a consumer group, as kafka-python has it.

The client runs rebalance callbacks on its own thread, inside `poll`; they only note what happened.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaError

from monitor.kafka.connection import ConnectionSettings, connect
from monitor.kafka.errors import UNREADABLE, unreadable
from monitor.kafka.port import Columns, GroupSettings, Key, Membership
from monitor.kafka.python.fetched import columnar

log = structlog.get_logger(__name__)

_LOOKUP_MS = 2_000  # a step of the main loop must stay short; what is not found in time is looked up again
_METADATA_MS = 60_000  # new partitions of a topic are found so soon
_WAIT_MS = 100
"""How long a broker keeps a fetch that finds nothing. No other is sent to it meanwhile, not even for partitions of
which there is more: a quiet one beside a busy one would hold it up."""
_QUIET_WAIT_MS, _QUIET_SECONDS = 500, 2.0
"""The same when nothing has come for so many seconds: a record ends the wait at once, and asking costs time."""


class _Facts(ConsumerRebalanceListener):  # type: ignore[misc]  # the client has no types
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


class PythonGroup:
    """See `monitor.kafka.port.GroupClient`."""

    def __init__(self, connection: ConnectionSettings, settings: GroupSettings) -> None:
        """Connect.

        Raises:
            KafkaProblem: if the cluster cannot be reached.
        """
        self._settings = settings
        self._consumer = connect(
            KafkaConsumer,
            connection,
            group_id=settings.group_id,
            group_instance_id=settings.group_instance_id,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            partition_assignment_strategy=[RangePartitionAssignor],
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=min(3_000, settings.session_timeout_ms // 3),
            max_poll_interval_ms=settings.max_poll_interval_ms,
            max_poll_records=settings.max_poll_records,
            fetch_max_bytes=settings.fetch_max_bytes,
            max_partition_fetch_bytes=settings.max_partition_fetch_bytes,
            fetch_max_wait_ms=_WAIT_MS,
            metadata_max_age_ms=_METADATA_MS,
            metrics_enabled=False,
        )
        columnar(self._consumer)
        self._facts = _Facts(self._consumer)
        self._came = time.monotonic()  # when the last records did, or partitions to read

    @property
    def changed(self) -> bool:
        """See the port."""
        return self._facts.changed

    @changed.setter
    def changed(self, changed: bool) -> None:
        self._facts.changed = changed

    def exists(self, topic: str) -> bool:
        """See the port."""
        return bool(self._consumer.partitions_for_topic(topic))

    def subscribe(self) -> None:
        """See the port."""
        self._consumer.subscribe(topics=list(self._settings.topics), listener=self._facts)

    def poll(self, seconds: float, most: int) -> dict[Key, Columns]:
        """See the port."""
        fetcher = self._consumer._fetcher  # noqa: SLF001 - there is no public way
        if not fetcher._next_partition_records:  # noqa: SLF001 - as above
            # What the client has put aside of a paused partition it takes up again only if this is None, not if it is
            # used up, and fetches no more of it: once resumed, the partition would stand still for ever.
            fetcher._next_partition_records = None  # noqa: SLF001 - as above
        try:
            found = self._consumer.poll(timeout_ms=int(seconds * 1000), max_records=most)
        except UNREADABLE as error:
            raise unreadable(error, f"cannot consume {', '.join(self._settings.topics)}") from None
        now = time.monotonic()
        self._came = now if found else self._came
        quiet = now - self._came > _QUIET_SECONDS
        fetcher.config["fetch_max_wait_ms"] = _QUIET_WAIT_MS if quiet else _WAIT_MS
        return {(place.topic, place.partition): Columns.joined(pieces) for place, pieces in found.items()}

    def membership(self) -> Membership:
        """See the port."""
        return membership_of(self._consumer)

    def superseded(self) -> bool:
        """See the port: the client stops its heartbeat then, and says nothing."""
        return not self._consumer._coordinator._heartbeat_enabled  # noqa: SLF001 - nothing public tells

    def assignment(self) -> set[Key]:
        """See the port."""
        return {(each.topic, each.partition) for each in self._consumer.assignment()}

    def bounds(self, keys: Collection[Key]) -> dict[Key, tuple[int, int]]:
        """See the port."""
        places = {key: TopicPartition(*key) for key in keys}
        ends = self._consumer.end_offsets(list(places.values()), timeout_ms=_LOOKUP_MS)
        firsts = self._consumer.beginning_offsets(list(places.values()), timeout_ms=_LOOKUP_MS)
        return {key: (int(firsts[place]), int(ends[place])) for key, place in places.items()}

    def committed(self, keys: Collection[Key]) -> dict[Key, tuple[int, str | None] | None]:
        """See the port."""
        found: dict[Key, tuple[int, str | None] | None] = {}
        for key in keys:
            each = self._consumer.committed(TopicPartition(*key), metadata=True, timeout_ms=_LOOKUP_MS)
            found[key] = None if each is None else (int(each.offset), each.metadata)
        return found

    def at(self, key: Key, time_ms: int) -> int | None:
        """See the port."""
        place = TopicPartition(*key)
        found = self._consumer.offsets_for_times({place: time_ms}, timeout_ms=_LOOKUP_MS)[place]
        return None if found is None else int(found.offset)

    def go(self, positions: Mapping[Key, int], held: Collection[Key]) -> None:
        """See the port."""
        self._consumer.pause(*(TopicPartition(*key) for key in held))  # what comes of them is lost
        for key, offset in positions.items():
            self._consumer.seek(TopicPartition(*key), offset)
        self._consumer.resume(*(TopicPartition(*key) for key in positions if key not in held))
        self._came = time.monotonic()

    def release(self, keys: Collection[Key], positions: Mapping[Key, int]) -> None:
        """See the port."""
        del positions  # the client keeps those of the others
        self._consumer.resume(*(TopicPartition(*key) for key in keys))
        self._came = time.monotonic()

    def ends(self, keys: Iterable[Key]) -> dict[Key, int]:
        """See the port. The markers that end a producer's transactions count, until a record comes behind them."""
        assigned = self._consumer.assignment()
        places = {key: TopicPartition(*key) for key in keys}
        found = {key: self._consumer.highwater(place) for key, place in places.items() if place in assigned}
        return {key: int(end) for key, end in found.items() if end is not None}

    def identity(self, topic: str) -> str | None:
        """See the port."""
        found = self._consumer._cluster.topic_id(topic)  # noqa: SLF001 - nothing public tells
        return None if found is None else str(found)

    def close(self, seconds: float) -> None:
        """See the port."""
        try:
            self._consumer.close(autocommit=False, timeout_ms=int(seconds * 1000))
        except KafkaError as error:  # nothing is lost by it: offsets are committed elsewhere
            log.warning("consumer_close_failed", error=type(error).__name__)


def membership_of(consumer: Any) -> Membership:  # noqa: ANN401 - the client has no types
    """Return what a consumer of the client is to its group right now."""
    found = consumer.group_metadata()
    settled = "stable" in str(found.state).lower()
    return Membership(settled, int(found.generation_id), str(found.member_id or ""), found)
