"""A member of a consumer group that never skips a record and never hands one out twice.

kafka-python runs rebalance callbacks on its own thread, inside `poll`; they only note what happened. Everything else
(reading the committed offsets, seeking) is done after the poll, by the polling thread, once the group is stable, while
the new partitions are paused. Records that the same poll returned are dropped: they may come from the old position.

With each offset a mark is stored that no other commit has. So a member that does not know whether its last commit was
made, or that had to hand a partition in and got it back, can tell whether it is the last one that wrote. If it is, what
it has in memory still holds, and so does work that waits for a commit: nobody else has done any of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaError, OffsetNotAvailableError

from monitor.kafka.connection import ConnectionSettings, connect
from monitor.kafka.errors import EXIT_OPERATOR, UNREADABLE, Fenced, KafkaProblem, fenced, problem, unreadable
from monitor.times import from_iso

log = structlog.get_logger(__name__)

_LOOKUP_MS = 2_000  # a step of the main loop must stay short; what is not found in time is looked up again
PATIENCE_SECONDS = 600.0
"""How long offsets that cannot be read are waited for before the rest is left to a restart."""

_BEHIND_SECONDS = 10.0  # ends are read before offsets, and the process may have stood still in between
_METADATA_MS = 60_000  # new partitions of a topic are found so soon
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


class Member:
    """One member of the group.

    Attributes:
        next: next offset of each partition that is consumed.
        membership: the group membership as it was right after the last poll.
    """

    def __init__(self, connection: ConnectionSettings, settings: GroupSettings) -> None:
        """Connect and subscribe; the group is joined by the first polls.

        Raises:
            KafkaProblem: if the cluster cannot be reached, or a topic does not exist.
        """
        self._settings = settings
        self._address = connection.address
        self.next: dict[Key, int] = {}
        self.membership: Any | None = None
        self._marks: dict[Key, str | None] = {}  # what this member last wrote or read beside a partition's offset
        self._recorded: dict[Key, tuple[int, str | None]] = {}  # offset and mark that the broker is known to have
        self._chosen: dict[Key, int] = {}  # where a partition without an offset begins, until that is committed
        self._lost: set[Key] = set()
        self._gained: dict[Key, tuple[int, bool]] = {}
        self._held: set[Key] = set()  # partitions whose records wait until their state is there
        self._unsettled = True
        self._unknown: float | None = None  # since when the offsets cannot be read
        self._behind: float | None = None  # since when a partition is said to end before its committed offset
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
            fetch_max_wait_ms=100,
            metadata_max_age_ms=_METADATA_MS,
            metrics_enabled=False,
        )
        try:
            self.require(dict.fromkeys(settings.topics, "source.topics"))
            self._facts = _Facts(self._consumer)
            self._consumer.subscribe(topics=list(settings.topics), listener=self._facts)
        except BaseException:
            self.close()
            raise

    @property
    def settled(self) -> bool:
        """Whether the group is stable and the positions are those of the broker, with a partition or without."""
        return not (self._unsettled or self._facts.changed)

    def require(self, topics: Mapping[str, str]) -> None:
        """Make sure that topics exist.

        Args:
            topics: the setting that names each topic.

        Raises:
            KafkaProblem: for the first one that does not exist.
        """
        for topic, setting in topics.items():
            try:
                found = self._consumer.partitions_for_topic(topic)
            except KafkaError as error:
                raise problem(error, f"cannot look up the topic {topic!r} ({setting})") from None
            if not found:
                message = (
                    f"the topic {topic!r} does not exist on {self._address}, or may not be seen: fix {setting},"
                    " or make it with `tidegauge topics CONFIG --create`"
                )
                raise KafkaProblem(message, EXIT_OPERATOR)

    def poll(self, timeout: float) -> dict[Key, list[Any]]:
        """Return new records by partition, each in the order of its offsets, after at most about `timeout` seconds.

        Raises:
            KafkaProblem: if polling on is useless.
        """
        found = self._poll(timeout)
        self.membership = self._consumer.group_metadata()
        if not self.settled:
            self._settle()
            return {}
        if not self.stable:
            if found:  # the position is behind them, and they were not handed out
                self.unsettle()
            return {}
        self._check_heartbeat()
        records: dict[Key, list[Any]] = {}
        for partition, batch in found.items():
            key = (partition.topic, partition.partition)
            first = self.next.get(key)
            if first is None or key in self._held:
                continue
            if batch[0].offset < first:
                batch = [record for record in batch if record.offset >= first]  # noqa: PLW2901 - the rest of the same batch
            if batch:
                self.next[key] = batch[-1].offset + 1
                records[key] = batch
        return records

    @property
    def stable(self) -> bool:
        """Whether offsets may be committed under `membership`.

        The broker takes offsets from a member without name and generation, which is what one becomes that was thrown
        out of the group: they would go over those of the new owner.
        """
        membership = self.membership
        return bool(
            membership is not None
            and "stable" in str(membership.state).lower()
            and membership.generation_id >= 0
            and membership.member_id
        )

    def unsettle(self) -> None:
        """Read the truth from the broker after the next poll: the positions are not to be trusted."""
        self._unsettled = True

    def note(self, positions: Mapping[Key, int], mark: str) -> None:
        """Remember that a commit of these positions was begun, with this mark."""
        for key in positions:
            self._marks[key] = mark

    def recorded(self, positions: Mapping[Key, int], mark: str) -> None:
        """Remember that the broker has acknowledged that commit."""
        for key, offset in positions.items():
            self._recorded[key] = (offset, mark)

    def take_lost(self) -> set[Key]:
        """Return the partitions whose state must be dropped, since the last call."""
        lost, self._lost = self._lost, set()
        return lost

    def take_gained(self) -> dict[Key, tuple[int, bool]]:
        """Return the partitions that were got since the last call: offset, and whether it is a committed one.

        No record of them comes before `release`.
        """
        gained, self._gained = self._gained, {}
        return gained

    def release(self, keys: Iterable[Key]) -> None:
        """Let the records of partitions come."""
        released = self._held & set(keys)
        self._held -= released
        if self.settled:  # else the settling does it
            self._consumer.resume(*(TopicPartition(*key) for key in released))

    def identity(self, topic: str) -> str | None:
        """Return the topic's own id, None where the brokers do not say it."""
        found = self._consumer._cluster.topic_id(topic)  # noqa: SLF001 - nothing public tells
        return None if found is None else str(found)

    def lag(self) -> Mapping[Key, int]:
        """Return how many records behind the end each partition is, as far as the last fetch knows.

        The markers that end a producer's transactions count, until a record comes behind them.
        """
        assigned = self._consumer.assignment()
        found = {}
        for (topic, number), offset in self.next.items():
            partition = TopicPartition(topic, number)
            end = self._consumer.highwater(partition) if partition in assigned else None
            if end is not None:
                found[topic, number] = max(0, end - offset)
        return found

    def close(self, timeout: float = 2.0) -> None:
        """Leave the group (a static member stays in it until its session ends) and disconnect. May be called twice."""
        try:
            self._consumer.close(autocommit=False, timeout_ms=int(timeout * 1000))
        except KafkaError as error:  # nothing is lost by it: offsets are committed elsewhere
            log.warning("consumer_close_failed", error=type(error).__name__)

    def _poll(self, timeout: float) -> dict[Any, list[Any]]:
        """Let the client poll, and sort out what it raises."""
        what = f"cannot consume {', '.join(self._settings.topics)}"
        fetcher = self._consumer._fetcher  # noqa: SLF001 - there is no public way
        if not fetcher._next_partition_records:  # noqa: SLF001 - as above
            # What the client has put aside of a paused partition it takes up again only if this is None, not if it is
            # used up, and fetches no more of it: once resumed, the partition would stand still for ever.
            fetcher._next_partition_records = None  # noqa: SLF001 - as above
        try:
            found: dict[Any, list[Any]] = self._consumer.poll(timeout_ms=int(timeout * 1000))
        except KafkaError as error:
            if fenced(error):
                raise Fenced(str(self._settings.group_instance_id)) from None
            if getattr(error, "retriable", False):
                log.warning("poll_failed", error=type(error).__name__)
                self.unsettle()
                return {}
            raise problem(error, what) from None
        except UNREADABLE as error:
            raise unreadable(error, what) from None
        return found

    def _check_heartbeat(self) -> None:
        """End a static member whose name another process has taken.

        The client stops its heartbeat then and says nothing; a member without new records would go on as a ghost.
        """
        coordinator = self._consumer._coordinator  # noqa: SLF001 - nothing public tells
        if self._settings.group_instance_id is not None and not coordinator._heartbeat_enabled:  # noqa: SLF001 - as above
            self.membership = self._consumer.group_metadata()
            if self.stable:
                raise Fenced(self._settings.group_instance_id)

    def _settle(self) -> None:
        """Look up where each assigned partition is, go there, and note what is lost."""
        self._unsettled = True
        if not self.stable:
            return  # between two assignments: what was assigned is another's by now, what will be is not known yet
        self._facts.changed = False
        assigned = {(p.topic, p.partition): p for p in self._consumer.assignment()}
        for key in set(self.next) - set(assigned):
            del self.next[key]
            self._recorded.pop(key, None)
            self._lost.add(key)
            self._gained.pop(key, None)
            self._held.discard(key)
        try:
            partitions = list(assigned.values())
            ends = self._consumer.end_offsets(partitions, timeout_ms=_LOOKUP_MS)
            firsts = self._consumer.beginning_offsets(partitions, timeout_ms=_LOOKUP_MS)
            for key, partition in assigned.items():
                self._position(key, partition, firsts[partition], ends[partition])
        except KafkaError as error:
            if getattr(error, "retriable", False):
                self._wait_on(error)
                return
            raise problem(error, f"cannot read the offsets of group {self._settings.group_id!r}") from None
        self._unsettled, self._unknown, self._behind = False, None, None
        self._consumer.resume(*(partition for key, partition in assigned.items() if key not in self._held))
        log.info("partitions_assigned", partitions=[f"{topic}-{number}" for topic, number in sorted(assigned)])

    def _wait_on(self, error: KafkaError) -> None:
        """Put up with offsets that cannot be read now, but not for ever."""
        now = time.monotonic()
        self._unknown = self._unknown or now
        if now - self._unknown > PATIENCE_SECONDS:
            message = (
                f"the offsets of group {self._settings.group_id!r} cannot be read ({type(error).__name__}) for"
                f" {PATIENCE_SECONDS:.0f} s: if a transaction of a producer that died still holds them,"
                " `kafka-transactions.sh find-hanging` finds it and `abort` ends it"
            )
            raise KafkaProblem(message)
        log.warning("offsets_unknown", group=self._settings.group_id, error=str(error) or type(error).__name__)

    def _position(self, key: Key, partition: Any, first: int, end: int) -> None:  # noqa: ANN401 - the client has no types
        """Go on where this member was, if nobody has committed since; else at the committed offset, or the start."""
        committed = self._consumer.committed(partition, metadata=True, timeout_ms=_LOOKUP_MS)
        if committed is None:
            offset, mark = self._chosen.get(key), None
            if offset is None:
                offset = self._chosen[key] = self._start(partition, first, end)
        else:
            offset, mark = int(committed.offset), committed.metadata
            self._chosen.pop(key, None)
            self._check(key, offset, first, end)
        ours = self._marks.get(key) == mark and (
            self.next.get(key) == offset or (key in self.next and self._recorded.get(key) == (offset, mark))
        )
        if not ours:
            self._lost.add(key)
            self._gained[key] = (offset, committed is not None)
            self._held.add(key)
            self._consumer.pause(partition)  # what came of it now would be lost: the position would be behind it
            self.next[key] = offset
        self._marks[key] = mark
        self._recorded[key] = (offset, mark)
        self._consumer.seek(partition, self.next[key])

    def _check(self, key: Key, offset: int, first: int, end: int) -> None:
        """Raise if the records at an offset are gone."""
        if first <= offset <= end:
            return
        if end < offset:
            now = time.monotonic()
            self._behind = self._behind or now
            if now - self._behind < _BEHIND_SECONDS:
                message = f"{key[0]}-{key[1]} is said to end at {end}, before {offset}"
                raise OffsetNotAvailableError(message)
        go_on = f"tidegauge skip CONFIG --topic {key[0]} --partition {key[1]} --offset"
        what = (
            f"the topic begins at {first}: records are gone. `{go_on} {first - 1}` goes on with what there is"
            if offset < first
            else f"the topic ends at {end}. If it was made anew, `tidegauge state migrate CONFIG --topic {key[0]}"
            f" --partitions N` moves the state to it; if it has lost records, `{go_on} {end - 1}` goes on"
        )
        message = f"lost offsets: group {self._settings.group_id!r} stands at {offset} of {key[0]}-{key[1]}, but {what}"
        raise KafkaProblem(message, EXIT_OPERATOR)

    def _start(self, partition: Any, first: int, end: int) -> int:  # noqa: ANN401 - the client has no types
        """Return the offset at which a partition without a committed one begins."""
        start = self._settings.start
        if start in {"beginning", "end"}:
            return first if start == "beginning" else end
        found = self._consumer.offsets_for_times({partition: from_iso(start)}, timeout_ms=_LOOKUP_MS)[partition]
        return end if found is None else int(found.offset)
