"""What a reader of a topic sees: from where the last look ended to now, and all the time, beside the faults."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from tests.kafka.topics import Isolation


def _reader(bootstrap: str, isolation: Isolation) -> KafkaConsumer:
    return KafkaConsumer(
        bootstrap_servers=bootstrap.split(","),
        isolation_level=isolation,
        enable_auto_commit=False,
        auto_offset_reset="none",
        max_poll_records=10_000,
        bootstrap_timeout_ms=10_000,
    )


class View:
    """A topic as read by a new consumer, from where the last look ended.

    Attributes:
        seen: records so far.
    """

    def __init__(self, bootstrap: str, topic: str, partitions: int, isolation: Isolation = "read_committed") -> None:
        """Begin at the beginning."""
        self._bootstrap, self._isolation = bootstrap, isolation
        self._at: dict[TopicPartition, int] = {TopicPartition(topic, number): 0 for number in range(partitions)}
        self.seen = 0

    def look(self, seconds: float = 300) -> list[Any]:
        """Return what came since, by partition, then offset; nothing is hidden any more by an open transaction.

        Raises:
            TimeoutError: if a transaction stays open, or the topic cannot be read.
        """
        deadline = time.monotonic() + seconds
        ends = self._ends("read_uncommitted")
        while self._isolation == "read_committed" and self._ends("read_committed") != ends:
            if time.monotonic() > deadline:
                message = f"a transaction stays open: {self._ends('read_committed')} of {ends} is stable"
                raise TimeoutError(message)
            time.sleep(0.1)
            ends = self._ends("read_uncommitted")
        consumer = _reader(self._bootstrap, self._isolation)
        found: dict[TopicPartition, list[Any]] = {partition: [] for partition in self._at}
        try:
            consumer.assign(list(self._at))
            for partition, offset in self._at.items():
                consumer.seek(partition, offset)
            while any(consumer.position(partition) < ends[partition] for partition in self._at):
                if time.monotonic() > deadline:
                    message = f"cannot read up to {ends}"
                    raise TimeoutError(message)
                for partition, records in consumer.poll(timeout_ms=200).items():
                    found[partition] += [record for record in records if record.offset < ends[partition]]
        finally:
            consumer.close(autocommit=False)
        self._at = ends
        self.seen += sum(map(len, found.values()))
        return [record for partition in sorted(found) for record in found[partition]]

    def _ends(self, isolation: Isolation) -> dict[TopicPartition, int]:
        consumer = _reader(self._bootstrap, isolation)
        try:
            consumer.assign(list(self._at))
            return dict(consumer.end_offsets(list(self._at)))
        finally:
            consumer.close(autocommit=False)


class Witness:
    """A reader of committed records that reads all the time, whatever happens to the brokers meanwhile."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, note: Callable[[Any], str]) -> None:
        """Begin to read; `note` says what to remember of a record."""
        self._bootstrap, self._note = bootstrap, note
        self._at: dict[TopicPartition, int] = {TopicPartition(topic, number): 0 for number in range(partitions)}
        self._notes: list[str] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="witness", daemon=True)
        self._thread.start()

    def take(self, count: int, seconds: float = 300) -> list[str]:
        """Return what was noted since last asked, once it is `count` notes, or after `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self._lock:
                if len(self._notes) >= count:
                    break
            time.sleep(0.05)
        with self._lock:
            found, self._notes = self._notes, []
        return found

    def close(self) -> None:
        """Stop."""
        self._ended.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._ended.is_set():
            consumer = None
            try:
                consumer = _reader(self._bootstrap, "read_committed")
                consumer.assign(list(self._at))
                for partition, offset in self._at.items():
                    consumer.seek(partition, offset)
                while not self._ended.is_set():
                    for partition, records in consumer.poll(timeout_ms=200).items():
                        with self._lock:
                            self._notes += [self._note(record) for record in records]
                        self._at[partition] = records[-1].offset + 1
            except (KafkaError, OSError):
                self._ended.wait(0.3)
            finally:
                if consumer is not None:
                    _close(consumer)


def _close(consumer: KafkaConsumer) -> None:
    try:
        consumer.close(autocommit=False)
    except (KafkaError, OSError):
        return
