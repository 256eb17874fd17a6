"""A range of a topic, read once and without a consumer group: for replay, training, and looking at alerts."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from monitor.kafka.connection import ConnectionSettings, connect
from monitor.kafka.errors import EXIT_OPERATOR, UNREADABLE, KafkaProblem, problem, unreadable
from monitor.times import from_iso

_LOOKUP_MS = 10_000
Key = tuple[str, int]


class Range:
    """Reads each partition of a topic from one place to another.

    Attributes:
        exhausted: True when every partition has been read to its end.
    """

    def __init__(
        self, connection: ConnectionSettings, topic: str, begin: str, end: str | None, *, max_poll_records: int = 10_000
    ) -> None:
        """Look up where the range begins and ends.

        Args:
            connection: how to reach the cluster.
            topic: the topic.
            begin: `beginning`, `end`, an ISO time, an offset, or offsets as `0:120,1:80`.
            end: the same; None reads for ever. `end` is the end as it is now.
            max_poll_records: most records of one poll.

        Raises:
            KafkaProblem: if the cluster cannot be reached, the topic does not exist or a place cannot be understood.
        """
        self._topic = topic
        self._consumer: Any = connect(
            KafkaConsumer,
            connection,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_poll_records=max_poll_records,
            fetch_max_wait_ms=100,
        )
        try:
            numbers = self._consumer.partitions_for_topic(topic)
        except KafkaError as error:
            self.close()
            raise problem(error, f"cannot look up the topic {topic!r}") from None
        if not numbers:
            self.close()
            message = f"the topic {topic!r} does not exist on {connection.address}"
            raise KafkaProblem(message, EXIT_OPERATOR)
        self._partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
        try:
            self._consumer.assign(self._partitions)
            begins = self._places(begin)
            self._ends = None if end is None else self._places(end)
            for partition, offset in begins.items():
                self._consumer.seek(partition, offset)
            self.exhausted = False
            self._look()
        except KafkaError as error:
            self.close()
            raise problem(error, f"cannot look up offsets of {topic!r}") from None

    def poll(self, timeout: float) -> dict[Key, list[Any]]:
        """Return new records by partition, each in the order of its offsets, after at most about `timeout` seconds.

        Raises:
            KafkaProblem: if the topic cannot be read; polling on is useless.
        """
        until = time.monotonic() + timeout
        while not self.exhausted:
            try:
                found = self._consumer.poll(timeout_ms=max(0, int((until - time.monotonic()) * 1000)))
                records = self._within(found)
                self._look()
            except KafkaError as error:
                raise problem(error, f"cannot read {self._topic!r}") from None
            except UNREADABLE as error:
                raise unreadable(error, f"cannot read {self._topic!r}") from None
            if records or time.monotonic() >= until:
                return records
        return {}

    def close(self) -> None:
        """Disconnect. May be called twice."""
        with suppress(KafkaError):
            self._consumer.close(autocommit=False, timeout_ms=2_000)

    def _within(self, found: Mapping[Any, list[Any]]) -> dict[Key, list[Any]]:
        """Return the records that lie before the end of their partition's range."""
        records = {}
        for partition, batch in found.items():
            end = None if self._ends is None else self._ends[partition]
            kept = batch if end is None else [record for record in batch if record.offset < end]
            if kept:
                records[partition.topic, partition.partition] = kept
        return records

    def _look(self) -> None:
        """Stop reading partitions that are at their end."""
        if self._ends is None:
            return
        done = [p for p in self._partitions if self._consumer.position(p, timeout_ms=_LOOKUP_MS) >= self._ends[p]]
        if done:
            self._consumer.pause(*done)
        self.exhausted = len(done) == len(self._partitions)

    def _places(self, text: str) -> dict[Any, int]:
        """Return the offset that a place means in each partition."""
        partitions: Sequence[Any] = self._partitions
        first = self._consumer.beginning_offsets(list(partitions), timeout_ms=_LOOKUP_MS)
        last = self._consumer.end_offsets(list(partitions), timeout_ms=_LOOKUP_MS)
        if text == "beginning":
            return dict(first)
        if text == "end":
            return dict(last)
        if re.fullmatch(r"\d+", text):
            wanted = dict.fromkeys(partitions, int(text))
        elif re.fullmatch(r"\d+:\d+(,\d+:\d+)*", text):
            named = dict(part.split(":") for part in text.split(","))
            wanted = {p: int(named.get(str(p.partition), last[p])) for p in partitions}
        else:
            try:
                moment = from_iso(text)
            except ValueError:
                self.close()
                message = f"{text!r} is no place in a topic: write beginning, end, an ISO time, an offset or 0:120,1:80"
                raise KafkaProblem(message, EXIT_OPERATOR) from None
            times = self._consumer.offsets_for_times(dict.fromkeys(partitions, moment), timeout_ms=_LOOKUP_MS)
            wanted = {p: last[p] if times.get(p) is None else int(times[p].offset) for p in partitions}
        return {p: min(max(offset, first[p]), last[p]) for p, offset in wanted.items()}
