# ruff: noqa: D102, D107, FBT002 - the methods are the client's own, and described there
"""kafka-python's consumer and producer, as far as the daemon uses them, over a `ScriptedBroker`, with a script.

The script says what goes wrong at which call. A crash is an exception that nobody catches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.structs import OffsetAndMetadata

from monitor.kafka.port import Columns
from tests.faults.scripted_broker import Place, ScriptedBroker, Transaction


class Crash(BaseException):
    """The process is gone."""


@dataclass
class Script:
    """What is to go wrong next; each trouble happens once.

    Attributes:
        crash_in: so many calls of the client from now the process is gone; None = not.
        troubles: what goes wrong, by call: `init`, `send to TOPIC`, `flush`, `offsets`, `end`, `poll`.
        late: ends of transactions that are still on their way.
        meanwhile: done by others just before a call: `offsets` or `end`.
    """

    crash_in: int | None = None
    troubles: dict[str, deque[str]] = field(default_factory=dict)
    late: list[Callable[[], None]] = field(default_factory=list)
    meanwhile: dict[str, Callable[[], None]] = field(default_factory=dict)
    calls: int = 0

    def call(self, what: str) -> str:
        """Note a call of the client; return what goes wrong with it, or nothing."""
        self.calls += 1
        if what in self.meanwhile:
            self.meanwhile.pop(what)()
        if self.crash_in is not None:
            self.crash_in -= 1
            if self.crash_in <= 0:
                self.crash_in = None
                raise Crash(what)
        waiting = self.troubles.get(what)
        return waiting.popleft() if waiting else ""


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        """Begin."""
        self.now = 1_000.0

    def monotonic(self) -> float:
        """See `time`."""
        self.now += 0.001
        return self.now

    def perf_counter(self) -> float:
        """See `time`."""
        return self.monotonic()

    def time(self) -> float:
        """See `time`."""
        return self.monotonic()

    def sleep(self, seconds: float) -> None:
        """See `time`."""
        self.now += seconds


class Result:
    """The answer to a request of a transaction: it came, it failed, or it never comes."""

    def __init__(self, error: Exception | None = None, *, came: bool = True) -> None:
        """Keep it."""
        self._error, self._came = error, came

    def wait(self, timeout_ms: float | None = None) -> bool:
        """See the client."""
        del timeout_ms
        if self._error is not None:
            raise self._error
        return self._came


class Future:
    """What became of a message."""

    def __init__(self, error: Exception | None, place: Place) -> None:
        """Keep it."""
        self.exception = error
        self.value = SimpleNamespace(topic=place[0], partition=place[1])

    def succeeded(self) -> bool:
        """See the client."""
        return self.exception is None


class World:
    """What all clients of one process share: broker, script, clock, and the process's name in the group."""

    def __init__(self, broker: ScriptedBroker, script: Script, name: str, clock: Clock) -> None:
        """Keep them."""
        self.broker, self.script, self.name, self.clock = broker, script, name, clock

    def producer(self, **settings: Any) -> ScriptedProducer:
        """Return a `KafkaProducer`."""
        self.script.call("connect")
        return ScriptedProducer(self, settings["transactional_id"])

    def consumer(self, **settings: Any) -> ScriptedConsumer:
        """Return a `KafkaConsumer`."""
        self.script.call("connect")
        return ScriptedConsumer(self, settings)


class ScriptedProducer:
    """`KafkaProducer`."""

    def __init__(self, world: World, name: str) -> None:
        self._world, self._broker, self._script = world, world.broker, world.script
        self._name, self._epoch = name, -1
        self._begun = False
        self._transaction_manager = self
        self._sender = SimpleNamespace(wakeup=lambda: None, force_close=lambda: None)
        flushes = SimpleNamespace(decrement=lambda: None)
        self._accumulator = SimpleNamespace(
            begin_flush=lambda: None, has_undrained=lambda: False, _flushes_in_progress=flushes
        )

    def init_transactions(self) -> None:
        trouble = self._script.call("init")
        if trouble == "lost":
            self._broker.init(self._name)  # it arrived, and the answer did not
            message = "no answer"
            raise KafkaTimeoutError(message)
        self._epoch = self._broker.init(self._name)

    def begin_transaction(self) -> None:
        self._script.call("begin")
        self._begun = True

    def maybe_add_partition_to_transaction(self, partition: TopicPartition) -> None:
        self._script.call(f"add {partition.topic}")
        with suppress(KafkaError):  # it is found out by the messages
            self._open().places.add(_place(partition))

    def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> Future:
        del timestamp_ms
        assert self._begun
        trouble = self._script.call(f"send to {topic}")
        place = (topic, (sum(key or b"") % self._broker.partitions[topic]) if partition is None else partition)
        if trouble == "dropped":  # and the client goes on as if nothing were
            message = "delivery timeout"
            return Future(KafkaTimeoutError(message), place)
        try:
            transaction = self._open()
        except KafkaError as error:
            return Future(error, place)
        transaction.places.add(place)
        self._broker.append(place, key, value, tuple(headers), transaction)
        return Future(None, place)

    def flush(self, timeout: float | None = None) -> None:
        del timeout
        if self._script.call("flush") == "timeout":
            message = "flush"
            raise KafkaTimeoutError(message)

    def send_offsets_to_transaction(self, offsets: dict[TopicPartition, OffsetAndMetadata], member: Any) -> Result:
        trouble = self._script.call("offsets")
        try:
            transaction = self._open()
            self._broker.add_offsets(
                transaction,
                {(each.topic, each.partition): (meta.offset, meta.metadata) for each, meta in offsets.items()},
                (member.generation_id, member.member_id, member.group_instance_id),
            )
        except KafkaError as error:
            return Result(error)
        return Result(came=trouble != "lost")

    def begin_commit(self) -> Result:
        trouble = self._script.call("end")
        name, epoch, broker = self._name, self._epoch, self._broker

        def arrive() -> None:
            if broker.identities[name].epoch == epoch:
                broker.finish(name, epoch, commit=True)

        if trouble == "late":
            self._script.late.append(arrive)
            return Result(came=False)
        if trouble == "lost":
            arrive()
            return Result(came=False)
        try:
            broker.finish(name, epoch, commit=True)
        except KafkaError as error:
            return Result(error)
        if trouble == "twice":
            self._script.late.append(arrive)
        self._script.call("ended")
        return Result()

    def close(self, timeout: float | None = None) -> None:
        """See the client; nothing is aborted by it."""

    def _open(self) -> Transaction:
        return self._broker.transaction(self._name, self._epoch)


class ScriptedConsumer:
    """`KafkaConsumer`."""

    def __init__(self, world: World, settings: dict[str, Any]) -> None:
        self._world, self._broker, self._script = world, world.broker, world.script
        self._committed = settings["isolation_level"] == "read_committed"
        self._most = settings.get("max_poll_records", 500)
        self._instance = settings.get("group_instance_id")
        self._topics: list[str] = []
        self._listener: Any = None
        self._generation, self._id = -1, ""
        self._assigned: list[TopicPartition] = []
        self._paused: set[TopicPartition] = set()
        self._positions: dict[TopicPartition, int] = {}
        self._coordinator = SimpleNamespace(_heartbeat_enabled=True)
        self._fetcher = SimpleNamespace(_next_partition_records=None, config={})
        self._cluster = SimpleNamespace(topic_id=lambda topic: topic, add_topic=lambda _: None)

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        self._script.call("metadata")
        count = self._broker.partitions.get(topic)
        return None if count is None else set(range(count))

    def subscribe(self, topics: list[str], listener: Any) -> None:
        self._topics, self._listener = topics, listener

    def assign(self, partitions: list[TopicPartition]) -> None:
        self._assigned = list(partitions)

    def assignment(self) -> set[TopicPartition]:
        return set(self._assigned)

    def group_metadata(self) -> Any:
        stable = self._generation >= 0
        return SimpleNamespace(
            group_id="g",
            generation_id=self._generation,
            member_id=self._id,
            group_instance_id=self._instance if stable else None,
            state="<stable>" if stable else "<unjoined>",
        )

    def poll(self, timeout_ms: float = 0, max_records: int | None = None) -> dict[TopicPartition, list[Any]]:
        del max_records
        trouble = self._script.call("poll")
        if trouble == "evicted":  # by its own heartbeat thread, after too long a pause
            self._broker.leave(self._world.name, self._topics)
            self._generation, self._id = -1, ""
            return self._fetch()
        if trouble == "failed":
            message = "poll"
            raise KafkaTimeoutError(message)
        found: dict[TopicPartition, list[Any]] = {}
        if self._topics and not self._in_the_group():
            if trouble == "stale":
                found = self._fetch()  # from before the rebalance that this same poll runs
            self._join()
            return found
        found = self._fetch()
        if not found:
            self._world.clock.sleep(timeout_ms / 1000)
        return found

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._positions[partition] = offset

    def position(self, partition: TopicPartition, timeout_ms: float | None = None) -> int:
        del timeout_ms
        return self._positions[partition]

    def pause(self, *partitions: TopicPartition) -> None:
        self._paused |= set(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self._paused -= set(partitions)

    def paused(self) -> set[TopicPartition]:
        return set(self._paused)

    def highwater(self, partition: TopicPartition) -> int:
        return self._broker.end(_place(partition), stable=False)

    def beginning_offsets(self, partitions: list[TopicPartition], timeout_ms: float | None = None) -> dict[Any, int]:
        del timeout_ms
        self._script.call("offsets_of")
        return dict.fromkeys(partitions, 0)

    def end_offsets(self, partitions: list[TopicPartition], timeout_ms: float | None = None) -> dict[Any, int]:
        del timeout_ms
        if self._script.call("ends") == "behind":  # a new leader does not know yet what its followers have
            return dict.fromkeys(partitions, 0)
        return {each: self._broker.end(_place(each), stable=self._committed) for each in partitions}

    def committed(
        self,
        partition: TopicPartition,
        metadata: bool = False,
        timeout_ms: float | None = None,
    ) -> Any:
        del timeout_ms, metadata
        self._script.call("committed")
        found = self._broker.committed(_place(partition))
        return None if found is None else OffsetAndMetadata(found[0], found[1], -1)

    def close(self, autocommit: bool = True, timeout_ms: float | None = None) -> None:
        del autocommit, timeout_ms
        if self._topics and self._instance is None and self._in_the_group():
            self._broker.leave(self._world.name, self._topics)

    def _in_the_group(self) -> bool:
        return self._generation == self._broker.generation and self._broker.members.get(self._world.name) == self._id

    def _join(self) -> None:
        if self._broker.members.get(self._world.name) == self._id:  # known: it takes part in the new generation
            self._generation = self._broker.generation
        else:
            static = self._instance is not None
            self._generation, self._id = self._broker.join(self._world.name, self._topics, static=static)
        self._listener.on_partitions_revoked(list(self._assigned))
        mine = [TopicPartition(*place) for place, owner in self._broker.owners.items() if owner == self._world.name]
        self._assigned = mine
        self._positions = {each: offset for each, offset in self._positions.items() if each in mine}
        self._listener.on_partitions_assigned(mine)

    def _fetch(self) -> dict[TopicPartition, list[Any]]:
        found: dict[TopicPartition, list[Any]] = {}
        for partition in self._assigned:
            at = self._positions.get(partition)
            if at is None or partition in self._paused:
                continue
            entries = self._broker.read(_place(partition), at, committed=self._committed)[: self._most]
            if entries:
                found[partition] = [_columns(entries)]
                self._positions[partition] = entries[-1].offset + 1
            else:
                self._positions[partition] = self._broker.end(_place(partition), stable=self._committed)
        return found


def _place(partition: TopicPartition) -> Place:
    return partition.topic, partition.partition


def _columns(entries: list[Any]) -> Columns:
    return Columns(
        [entry.offset for entry in entries],
        [1_700_000_000_000] * len(entries),
        [entry.key for entry in entries],
        [entry.value for entry in entries],
    )
