"""A member of a consumer group, as librdkafka has it.

Partitions are read by assigning them with an offset each, anew whenever one is to be read from elsewhere or not at all:
librdkafka then throws away whatever it had of the assignment before, so nothing of an old position can come. Pausing
and seeking leave windows in which it can, and a partition that was paused before it was fetched has been seen to stand
still when resumed. What waits for its state is simply not assigned; the group gave it all the same.

Callbacks run within `poll`, on the thread that calls it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from itertools import groupby
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka import KafkaError as Said
from kafka.errors import KafkaError, OffsetNotAvailableError

from monitor.kafka.changelog import PartitionReader
from monitor.kafka.confluent.configuration import configuration, made, reach
from monitor.kafka.confluent.errors import OUT_OF_RANGE, UNREADABLE, translated, translating
from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.errors import EXIT_OPERATOR, EXIT_RETRY, KafkaProblem
from monitor.kafka.port import NOTE_END, Columns, GroupSettings, Key, Membership
from monitor.kafka.unpacking import BATCH_LIMIT

log = structlog.get_logger(__name__)

_LOOKUP_SECONDS = 2.0  # a step of the main loop must stay short; what is not found in time is looked up again
_OUTSIDE_SECONDS = 10.0  # a new leader knows the end of a partition when its followers have told it what they have
_EARLIEST, _LATEST = -2, -1  # Kafka's own words for the ends, where a time is asked for
_MAGIC = b"CGMDv2:"
_GENERATION = slice(len(_MAGIC), len(_MAGIC) + 4)


class ConfluentGroup:
    """See `monitor.kafka.port.GroupClient`."""

    def __init__(self, connection: ConnectionSettings, settings: GroupSettings) -> None:
        """Connect.

        Raises:
            KafkaProblem: if the cluster cannot be reached.
        """
        self._settings, self._connection = settings, connection
        self.changed = False
        self._given: set[Key] | None = None  # by the group; None between two assignments
        self._reasons: list[str] = []
        self._fatal: Said | None = None
        self._spoilt: KafkaProblem | None = None
        self._outside: float | None = None  # since when the brokers say that there is no such offset
        fetch = settings.fetch_max_bytes
        more = {
            "group.id": settings.group_id,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "partition.assignment.strategy": "range",  # as the other client's, so that both can be in one group
            "session.timeout.ms": settings.session_timeout_ms,
            "heartbeat.interval.ms": min(3_000, settings.session_timeout_ms // 3),
            "max.poll.interval.ms": max(settings.max_poll_interval_ms, settings.session_timeout_ms),
            "check.crcs": True,
            "message.max.bytes": min(fetch, 1_000_000),
            "fetch.max.bytes": fetch,
            "max.partition.fetch.bytes": settings.max_partition_fetch_bytes,
            "receive.message.max.bytes": max(fetch, BATCH_LIMIT) + 1_048_576,
            "fetch.wait.max.ms": 100,
            "fetch.error.backoff.ms": 100,
            "fetch.queue.backoff.ms": 2,  # its own 1,000 would be a second without records whenever the queue was full
            "queued.min.messages": max(10_000, 2 * settings.max_poll_records),
            "queued.max.messages.kbytes": max(4 * fetch, 16 << 20) >> 10,
        }
        if settings.group_instance_id is not None:
            more["group.instance.id"] = settings.group_instance_id
        self._consumer = made(Consumer, connection, configuration(connection, self._failed) | more)
        self._several = len(settings.topics) > 1
        self._reader = PartitionReader(connection)
        try:
            reach(self._consumer, connection, self._reasons, connection.bootstrap_timeout_ms / 1000)
        except BaseException:
            self.close(1.0)
            raise

    def exists(self, topic: str) -> bool:
        """See the port."""
        with translating():
            found = self._consumer.list_topics(topic, _LOOKUP_SECONDS).topics.get(topic)
        return found is not None and found.error is None and bool(found.partitions)

    def subscribe(self) -> None:
        """See the port."""
        with translating():
            self._consumer.subscribe(
                list(self._settings.topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
            )

    def poll(self, seconds: float, most: int) -> dict[Key, Columns]:
        """See the port."""
        if self._spoilt is not None and not self.changed:
            raise self._spoilt
        with translating():
            # One call for many would wait until there are as many, or until its time is up.
            messages = self._consumer.consume(1, seconds)
            if messages and most > 1:
                messages += self._consumer.consume(most - 1, 0)
        if self._fatal is not None:
            raise translated(self._fatal)
        if not messages:
            return {}
        if any(map(Message.error, messages)):
            messages = self._sound(messages)
        if messages:
            self._outside = None
        return self._columns(messages)

    def membership(self) -> Membership:
        """See the port."""
        raw: Any = self._consumer.consumer_group_metadata()
        generation, name = _read(raw, self._settings.group_id)
        return Membership(self._given is not None, generation, name, raw)

    def superseded(self) -> bool:
        """See the port: librdkafka says it by itself, as a fatal error."""
        return False

    def assignment(self) -> set[Key]:
        """See the port."""
        return set(self._given or ())

    def bounds(self, keys: Collection[Key]) -> dict[Key, tuple[int, int]]:
        """See the port."""
        ends = self._places(keys, _LATEST)
        firsts = self._places(keys, _EARLIEST)
        return {key: (firsts[key], ends[key]) for key in keys}

    def committed(self, keys: Collection[Key]) -> dict[Key, tuple[int, str | None] | None]:
        """See the port."""
        found: dict[Key, tuple[int, str | None] | None] = dict.fromkeys(keys)
        if not keys:
            return found
        with translating():
            for each in self._consumer.committed([TopicPartition(*key) for key in keys], _LOOKUP_SECONDS):
                if each.error is not None:
                    raise KafkaException(each.error)
                if each.offset >= 0:
                    found[each.topic, each.partition] = each.offset, _note(each)
        return found

    def at(self, key: Key, time_ms: int) -> int | None:
        """See the port."""
        found = self._places([key], time_ms)[key]
        return None if found < 0 else found

    def go(self, positions: Mapping[Key, int], held: Collection[Key]) -> None:
        """See the port."""
        wanted = [TopicPartition(*key, offset) for key, offset in positions.items() if key not in held]
        self._spoilt = None
        with translating():
            self._consumer.assign(wanted)

    def release(self, keys: Collection[Key], positions: Mapping[Key, int]) -> None:
        """See the port."""
        del keys
        self.go(positions, ())

    def ends(self, keys: Iterable[Key]) -> dict[Key, int]:
        """See the port."""
        found = {}
        for key in keys:
            with suppress(KafkaException):
                bounds = self._consumer.get_watermark_offsets(TopicPartition(*key), cached=True)
                if bounds is not None and bounds[1] >= 0:
                    found[key] = bounds[1]
        return found

    def identity(self, topic: str) -> str | None:
        """See the port; librdkafka tells nobody who is not an administrator, so the other client asks."""
        try:
            return self._reader.identity(topic)
        except KafkaProblem as error:
            if error.status != EXIT_RETRY:
                raise
            raise translated(Said(Said._TRANSPORT, str(error))) from None  # noqa: SLF001 - that is its name
        finally:
            self._reader.close()

    def close(self, seconds: float) -> None:
        """See the port. The client waits for brokers without end; it is left to itself then."""
        closing = threading.Thread(target=self._close, name="consumer-close", daemon=True)
        closing.start()
        closing.join(seconds)
        if closing.is_alive():
            log.warning("consumer_close_failed", error="the brokers do not answer")

    def _close(self) -> None:
        with suppress(KafkaException, RuntimeError):  # nothing is lost by it, and it may be closed
            self._consumer.close()

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Note what the group has given; nothing is read of it yet."""
        self._given = {(each.topic, each.partition) for each in partitions}
        self.changed = True
        consumer.assign([])

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Give all of it back, as the protocol that both clients speak wants it, and wait for what comes."""
        del partitions
        self._given = None
        self.changed = True
        consumer.unassign()

    def _failed(self, error: Said) -> None:
        """Take note of what belongs to no call."""
        self._reasons = [*self._reasons[-9:], f"{error.name()} {error.str()}"]
        if error.fatal():
            self._fatal = error

    def _places(self, keys: Collection[Key], time_ms: int) -> dict[Key, int]:
        """Return the offset that stands for a time in each partition."""
        if not keys:
            return {}
        with translating():
            found = self._consumer.offsets_for_times([TopicPartition(*key, time_ms) for key in keys], _LOOKUP_SECONDS)
            for each in found:
                if each.error is not None:
                    raise KafkaException(each.error)
        return {(each.topic, each.partition): each.offset for each in found}

    def _sound(self, messages: list[Message]) -> list[Message]:
        """Return the messages without errors, and none that comes behind one that cannot be read.

        Raises:
            KafkaError: for the first error that is about no record.
        """
        ended: set[tuple[Any, Any]] = set()
        found = []
        for message in messages:
            place = message.topic(), message.partition()
            error = message.error()
            if error is None:
                if place not in ended:
                    found.append(message)
                continue
            if error.code() in OUT_OF_RANGE:
                raise self._out_of_range(error)
            if error.code() not in UNREADABLE:
                raise translated(error)
            ended.add(place)
            if not self.changed and self._spoilt is None:
                self._spoilt = self._unreadable(message, error)
        return found

    def _out_of_range(self, error: Said) -> KafkaError:
        """Return what it means that there is no such offset: at first that it is to be looked up again."""
        now = time.monotonic()
        self._outside = self._outside or now
        if now - self._outside < _OUTSIDE_SECONDS:
            return OffsetNotAvailableError(error.str())
        return translated(error)

    def _unreadable(self, message: Message, error: Said) -> KafkaProblem:
        """Return what is wrong with a batch: the other client says where it ends, which one must know to go past it."""
        key, offset = (str(message.topic()), int(message.partition() or 0)), int(message.offset() or 0)
        try:
            for _ in self._reader.read(key, offset, offset + 1):
                pass
        except KafkaProblem as problem:
            return problem
        finally:
            self._reader.close()
        text = f"cannot consume {key[0]}: the batch at offset {offset} of {key[0]}-{key[1]}: {error.str()}"
        return KafkaProblem(text, EXIT_OPERATOR, (offset, offset))

    def _columns(self, messages: list[Message]) -> dict[Key, Columns]:
        """Return messages as columns: they come in runs of one partition each."""
        offsets: list[Any] = list(map(Message.offset, messages))
        stamps = [stamp for _, stamp in map(Message.timestamp, messages)]
        keys: list[Any] = list(map(Message.key, messages))
        values: list[Any] = list(map(Message.value, messages))
        numbers: list[Any] = list(map(Message.partition, messages))
        places: list[Any] = list(zip(map(Message.topic, messages), numbers, strict=True)) if self._several else numbers
        found: dict[Key, Columns] = {}
        end = 0
        for _, run in groupby(places):
            begin, end = end, end + len(list(run))
            part = Columns(offsets[begin:end], stamps[begin:end], keys[begin:end], values[begin:end])
            before = found.setdefault((str(messages[begin].topic()), numbers[begin]), part)
            if before is not part:
                before.offsets.extend(part.offsets)
                before.timestamps.extend(part.timestamps)
                before.keys.extend(part.keys)
                before.values.extend(part.values)
        return found


def _note(place: TopicPartition) -> str:
    """Return the note beside an offset, without what follows it in memory.

    librdkafka copies a note without the zero that ends it, and confluent-kafka reads on until it finds one: so there
    may be any bytes behind it. One of ours ends with `NOTE_END`, and has none before.
    """
    try:
        text = place.metadata or ""
    except UnicodeDecodeError as error:
        text = error.object.decode("latin-1")
    note, end, _ = text.partition(NOTE_END)
    return note + end


def _read(raw: Any, group: str) -> tuple[int, str]:  # noqa: ANN401 - what the client calls opaque
    """Return generation and name of a member, read off what librdkafka writes for `send_offsets_to_transaction`."""
    if not isinstance(raw, bytes) or not raw.startswith(_MAGIC):
        message = "this confluent-kafka writes a group's membership in an unknown form: use source.client: kafka-python"
        raise KafkaProblem(message)
    named = raw[_GENERATION.stop :].split(b"\0")
    if named[0] != group.encode():
        return -1, ""
    return int.from_bytes(raw[_GENERATION], "little", signed=True), named[1].decode()
