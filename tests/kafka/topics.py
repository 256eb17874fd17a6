"""What tests do with topics: make them, fill them, read them to their end. `kcat` is the second, independent client."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

if TYPE_CHECKING:
    from kafka.consumer.fetcher import ConsumerRecord

Isolation = Literal["read_committed", "read_uncommitted"]


class Record(NamedTuple):
    """A message to be produced; without a partition the key decides, without a time Kafka does."""

    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    timestamp_ms: int | None = None
    headers: Sequence[tuple[str, bytes]] = ()


def create_topic(bootstrap: str, name: str | None = None, partitions: int = 1, **configs: str) -> str:
    """Make a topic, wait until each partition has a leader, and return its name (a new one if None).

    History is kept (`retention.ms=-1`) unless `configs` says otherwise: Kafka deletes records with old timestamps
    within half a minute. A config is written with underscores for dots: `cleanup_policy="compact"`.
    """
    name = name or f"test-{uuid.uuid4().hex[:12]}"
    settings = {"retention.ms": "-1", **{key.replace("_", "."): value for key, value in configs.items()}}
    admin = KafkaAdminClient(bootstrap_servers=bootstrap.split(","))
    try:
        admin.create_topics({name: {"num_partitions": partitions, "configs": settings}}, wait_for_metadata=True)
    finally:
        admin.close()
    return name


def delete_topics(bootstrap: str, names: Sequence[str]) -> None:
    """Delete topics."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap.split(","))
    try:
        admin.delete_topics(list(names))
    finally:
        admin.close()


def delete_before(bootstrap: str, topic: str, offset: int, partition: int = 0) -> None:
    """Let the records of a partition before `offset` be gone, as retention does."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap.split(","))
    try:
        admin.delete_records({TopicPartition(topic, partition): offset})
    finally:
        admin.close()


def produce(bootstrap: str, topic: str, records: Iterable[Record | bytes], **settings: Any) -> list[tuple[int, int]]:
    """Write records in order and return (partition, offset) of each; raises what Kafka answered if one failed."""
    settings = {"linger_ms": 5, "batch_size": 262_144, **settings}
    producer = KafkaProducer(bootstrap_servers=bootstrap.split(","), **settings)
    try:
        sent = []
        for record in records:
            each = Record(record) if isinstance(record, bytes) else record
            sent.append(
                producer.send(
                    topic,
                    value=each.value,
                    key=each.key,
                    partition=each.partition,
                    timestamp_ms=each.timestamp_ms,
                    headers=list(each.headers),
                )
            )
        producer.flush(timeout=60)
        return [(answer.partition, answer.offset) for answer in (future.get(timeout=10) for future in sent)]
    finally:
        producer.close(timeout=10)


def consume_all(
    bootstrap: str, topic: str, isolation: Isolation = "read_committed", seconds: float = 60
) -> list[ConsumerRecord]:
    """Return all records from the beginning to where the topic ended when this began, by partition, then offset.

    With `read_committed` that is the last stable offset: an open transaction hides what lies behind its start.

    Raises:
        TimeoutError: if they do not come within `seconds`.
    """
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap.split(","),
        isolation_level=isolation,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=10_000,
    )
    try:
        numbers = consumer.partitions_for_topic(topic)
        if not numbers:
            message = f"topic {topic} does not exist"
            raise LookupError(message)
        partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        found: dict[TopicPartition, list[ConsumerRecord]] = {partition: [] for partition in partitions}
        deadline = time.monotonic() + seconds
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            if time.monotonic() > deadline:
                message = f"{topic}: read {sum(map(len, found.values()))} records in {seconds} s, and that is not all"
                raise TimeoutError(message)
            for partition, records in consumer.poll(timeout_ms=200).items():
                found[partition] += [record for record in records if record.offset < ends[partition]]
        return [record for partition in partitions for record in found[partition]]
    finally:
        consumer.close(autocommit=False)


def kcat_consume(bootstrap: str, topic: str, isolation: Isolation = "read_committed") -> list[dict[str, Any]]:
    """Return all records of a topic as kcat prints them (`-J`): `topic partition offset ts key payload headers`.

    Raises:
        FileNotFoundError: if there is no kcat.
    """
    program = kcat()
    if program is None:
        message = "no kcat"
        raise FileNotFoundError(message)
    command = [program, "-C", "-J", "-e", "-q", "-b", bootstrap, "-t", topic, "-o", "beginning"]
    command += ["-X", f"isolation.level={isolation}"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def kcat() -> str | None:
    """Return the path of kcat (called kafkacat in older distributions), or None."""
    return shutil.which("kcat") or shutil.which("kafkacat")
