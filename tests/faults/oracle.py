"""What must come out: the product's engine over the input topic, in one pass, in one process, without transactions."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition

from models.bundle import read
from models.serving import Model
from monitor.config import load
from monitor.engine import Engine
from monitor.sources.base import Batch, Key


class Event(NamedTuple):
    """One event of the alerts topic."""

    stream: bytes
    id: str
    digest: str


class Letter(NamedTuple):
    """One dead letter."""

    partition: int
    offset: int
    reason: str


def event(key: bytes | None, value: bytes | None) -> Event:
    """Return what identifies an event, and all of its bytes in short."""
    raw = value or b""
    return Event(key or b"", str(json.loads(raw)["id"]), hashlib.sha256(raw).hexdigest())


@dataclass
class Expected:
    """What a stretch of input must become.

    Attributes:
        events: in the order in which they leave.
        letters: dead letters.
        records: input records.
    """

    events: list[Event] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    records: int = 0

    def add(self, more: Expected) -> None:
        """Take in what the stretch behind this one must become."""
        self.events += more.events
        self.letters += more.letters
        self.records += more.records


class Oracle:
    """Reads the input as far as it goes, each time it is asked.

    Attributes:
        engine: the engine, with the state that the daemons must have between them.
        next: next input offset of each partition: what the group must have committed.
        records: input records so far.
    """

    def __init__(self, bootstrap: str, topic: str, partitions: int, config: Mapping[str, Any], folder: Path) -> None:
        """Begin at the beginning of the topic, with a daemon's configuration."""
        path = folder / "oracle.yaml"
        path.write_text(json.dumps(config))
        loaded = load(path)
        bundle = read(loaded.model.bundle)
        self.engine = Engine(loaded, bundle, Model(bundle))
        self.next: dict[Key, int] = {(topic, number): 0 for number in range(partitions)}
        self.records = 0
        self._bootstrap, self._topic = bootstrap, topic
        self._read: dict[TopicPartition, int] = {TopicPartition(topic, n): 0 for n in range(partitions)}

    def advance(self, seconds: float = 600) -> Expected:
        """Process everything up to the topic's present end.

        Raises:
            TimeoutError: if it cannot be read in time.
        """
        found = Expected()
        consumer = KafkaConsumer(
            bootstrap_servers=self._bootstrap.split(","),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_poll_records=5_000,
        )
        try:
            consumer.assign(list(self._read))
            for partition, offset in self._read.items():
                consumer.seek(partition, offset)
            ends = consumer.end_offsets(list(self._read))
            deadline = time.monotonic() + seconds
            while any(consumer.position(partition) < ends[partition] for partition in self._read):
                if time.monotonic() > deadline:
                    message = f"the input {self._topic} cannot be read to its end"
                    raise TimeoutError(message)
                self._take(consumer.poll(timeout_ms=200), found)
            self._read = {partition: consumer.position(partition) for partition in self._read}
        finally:
            consumer.close(autocommit=False)
        self.records += found.records
        return found

    def _take(self, polled: Mapping[TopicPartition, list[Any]], found: Expected) -> None:
        batches = [
            Batch(
                partition.topic,
                partition.partition,
                [record.offset for record in records],
                [record.timestamp for record in records],
                [record.key for record in records],
                [record.value for record in records],
            )
            for partition, records in sorted(polled.items())
            if records
        ]
        if not batches:
            return
        work = self.engine.process(batches)
        self.next.update(work.positions)
        found.events += [event(each.key, each.value) for each in work.events]
        found.letters += [Letter(each.partition, each.offset, each.reason) for each in work.dead_letters]
        found.records += sum(map(len, batches))

    def accounted(self) -> int:
        """Return records by class and pending ones, all together."""
        counts = sum((partition.counts for partition in self.engine.partitions.values()), Counter[str]())
        return sum(counts.values()) + self.engine.pending()
