"""Ranges of topics, as recordings; and the client's records as batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ConfigDict

from monitor.codec import features_of
from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.range import Range
from monitor.record import RecordSettings
from monitor.sources._kafka_state import said
from monitor.sources.base import Batch, Key, Source, SourceSettings


class RangeSettings(SourceSettings):
    """A range of a topic, named by a URL."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str = "kafka"
    connection: ConnectionSettings
    topic: str
    begin: str
    end: str

    def build(self, record: RecordSettings, features: Sequence[str] | None) -> KafkaRange:
        """Look up where the range begins and ends."""
        del record, features
        return KafkaRange(self)

    def peek(self, record: RecordSettings, count: int = 1_000) -> tuple[str, ...]:
        """Return the names of the features in the first records of the range."""
        source = KafkaRange(self)
        try:
            values: list[bytes | None] = []
            while len(values) < count and not source.exhausted:
                for batch in source.poll(1.0):
                    values.extend(batch.values)
            return features_of(record, values[:count])
        finally:
            source.close()


def batches_of(records: Mapping[Key, list[Any]]) -> list[Batch]:
    """Return the client's records as batches."""
    return [
        Batch(
            topic,
            partition,
            [record.offset for record in found],
            [record.timestamp for record in found],
            [record.key for record in found],
            [record.value for record in found],
        )
        for (topic, partition), found in records.items()
    ]


class KafkaRange(Source):
    """A range of a topic, once."""

    def __init__(self, settings: RangeSettings) -> None:
        """Look up where the range begins and ends.

        Raises:
            SourceError: if that is not possible.
        """
        with said():
            self._range = Range(settings.connection, settings.topic, settings.begin, settings.end)

    def poll(self, timeout: float) -> list[Batch]:  # type: ignore[override]  # it never returns Rows
        """Return the next records."""
        with said():
            return batches_of(self._range.poll(timeout))

    @property
    def exhausted(self) -> bool:
        """True at the end of the range."""
        return self._range.exhausted

    def close(self) -> None:
        """Disconnect."""
        self._range.close()
