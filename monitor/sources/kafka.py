"""Topics of a Kafka cluster, as a member of a consumer group; and ranges of topics, as recordings."""

from __future__ import annotations

import re
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self
from urllib.parse import parse_qs, urlsplit

import structlog
from pydantic import ConfigDict, Field, field_validator, model_validator

from monitor.codec import features_of
from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.consumer import GroupSettings, Member
from monitor.kafka.errors import KafkaProblem
from monitor.kafka.range import Range
from monitor.kafka.transactions import TransactionFailed, Transactions
from monitor.message import Message
from monitor.record import RecordSettings
from monitor.sources.base import Batch, Key, Rows, Source, SourceError, SourceSettings
from monitor.times import from_iso

log = structlog.get_logger(__name__)

schemes = ("kafka",)
AUTO = "auto"
_BACKOFF_SECONDS = 0.2


class Settings(ConnectionSettings, SourceSettings):
    """Section `source` with `type: kafka`."""

    type: Literal["kafka"] = "kafka"
    topics: tuple[str, ...] = Field(min_length=1, description="input topics")
    group_id: str = Field(min_length=1, description="consumer group; its offsets are what is processed")
    group_instance_id: str | None = Field(
        AUTO, description="static member of the group; auto: <group_id>-<hostname>; null: a dynamic member"
    )
    transactional_id: str = Field(
        AUTO, description="identity of the transactions; auto: that of group_instance_id; a second user fences the first"
    )
    start: str = Field(
        "beginning", description="where a partition without a committed offset begins: beginning, end or an ISO time"
    )
    partitions: int = Field(4, ge=1, description="partitions of the topics that `tidegauge topics --create` makes")
    commit_interval_ms: int = Field(
        1_000, ge=0, description="polls that changed nothing but windows may wait so long for their commit, ms"
    )
    transaction_timeout_ms: int = Field(
        10_000, ge=2_000, le=900_000, description="the broker aborts a transaction after so long, ms"
    )
    session_timeout_ms: int = Field(45_000, ge=1_000, description="a member that is silent for so long is out, ms")
    max_poll_interval_ms: int = Field(300_000, ge=10_000, description="longest time between two polls, ms")
    max_poll_records: int = Field(10_000, ge=1, le=1_000_000, description="most records of one poll")
    fetch_max_bytes: int = Field(8_388_608, ge=65_536, description="most bytes of one fetch of one broker")
    max_partition_fetch_bytes: int = Field(1_048_576, ge=65_536, description="most bytes of one partition in a fetch")
    compression_type: Literal["gzip", "snappy", "lz4", "zstd"] | None = Field(
        None, description="codec of alerts and dead letters"
    )

    @field_validator("start")
    @classmethod
    def _place(cls, start: str) -> str:
        if start not in {"beginning", "end"}:
            try:
                from_iso(start)
            except ValueError:
                message = "must be beginning, end, or an ISO time"
                raise ValueError(message) from None
        return start

    @model_validator(mode="after")
    def _named(self) -> Settings:
        if self.group_instance_id is not None and not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", self.group_instance_id):
            message = "group_instance_id must be 1 to 249 of A-Z a-z 0-9 . _ -"
            raise ValueError(message)
        return self

    @property
    def instance(self) -> str | None:
        """The static member's name, None for a dynamic member."""
        if self.group_instance_id == AUTO:
            return re.sub(r"[^A-Za-z0-9._-]", "-", f"{self.group_id}-{socket.gethostname()}")[:249]
        return self.group_instance_id

    @property
    def identity(self) -> str:
        """The transactional id."""
        if self.transactional_id != AUTO:
            return self.transactional_id
        return self.instance or f"{self.group_id}-{uuid.uuid4().hex}"

    def build(self, record: RecordSettings, features: Sequence[str] | None) -> KafkaSource:
        """Join the group."""
        del record, features
        return KafkaSource(self)

    @classmethod
    def recording(cls, paths: Sequence[str], configured: SourceSettings | None = None) -> Self:
        """Return the settings that read `kafka://TOPIC?from=…&to=…`."""
        if len(paths) != 1:
            message = "name one topic: kafka://TOPIC?from=…&to=…"
            raise SourceError(message, 2)
        url = urlsplit(paths[0])
        query = parse_qs(url.query)
        unknown = set(query) - {"from", "to"}
        if unknown or not url.netloc:
            message = f"{paths[0]}: write kafka://TOPIC?from=…&to=… with beginning, end, an ISO time or offsets"
            raise SourceError(message, 2)
        names = ConnectionSettings.model_fields
        known = {} if configured is None else {n: getattr(configured, n) for n in names if hasattr(configured, n)}
        return RangeSettings(  # type: ignore[return-value] - read like the source, but without a group
            connection=ConnectionSettings(**known),
            topic=url.netloc,
            begin=query.get("from", ["beginning"])[0],
            end=query.get("to", ["end"])[0],
        )


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


def _batches(records: Mapping[Key, list[Any]]) -> list[Batch]:
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
        try:
            self._range = Range(settings.connection, settings.topic, settings.begin, settings.end)
        except KafkaProblem as error:
            raise SourceError(str(error), error.status) from None

    def poll(self, timeout: float) -> list[Batch]:  # type: ignore[override] - it never returns Rows
        """Return the next records."""
        try:
            return _batches(self._range.poll(timeout))
        except KafkaProblem as error:
            raise SourceError(str(error), error.status) from None

    @property
    def exhausted(self) -> bool:
        """True at the end of the range."""
        return self._range.exhausted

    def close(self) -> None:
        """Disconnect."""
        self._range.close()


class KafkaSource(Source):
    """A member of a consumer group whose offsets, alerts and dead letters are committed in one transaction."""

    transactional: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        """Connect, settle what a predecessor left open, and join the group.

        Raises:
            SourceError: if the cluster cannot be reached, refuses, or lacks a topic.
        """
        self._settings = settings
        try:
            self._transactions = Transactions(
                settings, settings.identity, settings.transaction_timeout_ms, settings.compression_type
            )
            self._member = Member(
                settings,
                GroupSettings(
                    settings.topics,
                    settings.group_id,
                    settings.instance,
                    settings.start,
                    settings.session_timeout_ms,
                    settings.max_poll_interval_ms,
                    settings.max_poll_records,
                    settings.fetch_max_bytes,
                    settings.max_partition_fetch_bytes,
                ),
            )
        except (KafkaProblem, OSError) as error:
            raise SourceError(str(error), getattr(error, "status", 1)) from None
        self._failures = 0
        self.commit_seconds = 0.0

    def poll(self, timeout: float) -> list[Batch | Rows]:
        """Return new records of the partitions that are this member's."""
        try:
            records = self._member.poll(timeout)
            begun = self._member.take_begun()
            if begun:  # a partition's start is committed at once: a restart must not choose another
                self._commit(begun, ())
        except KafkaProblem as error:
            raise SourceError(str(error), error.status) from None
        return list(_batches(records))

    @property
    def ready(self) -> bool:
        """True once the group has answered, also with no partition for this member."""
        return self._member.settled

    def commit(self, positions: Mapping[Key, int], messages: Sequence[Message] = ()) -> bool:
        """Commit positions and messages in one transaction."""
        try:
            return self._commit(positions, messages)
        except KafkaProblem as error:
            raise SourceError(str(error), error.status) from None

    def take_lost(self) -> set[Key]:
        """Return the partitions that are not this member's any more, or that it reads from elsewhere."""
        return self._member.take_lost()

    def lag(self) -> Mapping[Key, int]:
        """Return how many records behind the end each partition is."""
        return self._member.lag()

    def close(self) -> None:
        """Leave."""
        self._transactions.close()
        self._member.close()

    def _commit(self, positions: Mapping[Key, int], messages: Sequence[Message]) -> bool:
        try:
            self.commit_seconds = self._transactions.commit(messages, positions, self._member.membership)
        except TransactionFailed as error:
            # Nobody knows whether it committed, or the group has another owner for the partitions. A new producer
            # settles the transaction; the member polls, so that it is in the group again, and only then looks up
            # where it is.
            log.warning("transaction_failed", error=str(error), rejected=error.rejected)
            self._failures += 1
            time.sleep(min(5.0, _BACKOFF_SECONDS * 2 ** min(self._failures, 5)))
            self._transactions.rebuild()
            self._member.unsettle()
            return False
        self._failures = 0
        return True
