"""Topics of a Kafka cluster, as a member of a consumer group; and ranges of topics, as recordings."""

from __future__ import annotations

import itertools
import re
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Literal, Self
from urllib.parse import parse_qs, urlsplit

import structlog
from pydantic import Field, field_validator, model_validator

from monitor.kafka.clients import ClientName, require_client
from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.consumer import Member
from monitor.kafka.errors import EXIT_RETRY, KafkaProblem
from monitor.kafka.names import TopicName
from monitor.kafka.port import NOTE_END, GroupSettings, Identity
from monitor.kafka.topics import Cluster, require_right
from monitor.kafka.transactions import TransactionFailed, Transactions
from monitor.message import Message
from monitor.record import RecordSettings
from monitor.sources._kafka_range import RangeSettings
from monitor.sources._kafka_state import KafkaState, batch_of, said
from monitor.sources.base import Batch, Gained, Key, Rows, Source, SourceError, SourceSettings
from monitor.state import StateSettings, StateStore
from monitor.times import from_iso

log = structlog.get_logger(__name__)

schemes = ("kafka",)
AUTO = "auto"
PATIENCE_SECONDS = 600.0
"""How long a running member tries to commit before it gives up and leaves the rest to a restart."""

_BACKOFF_SECONDS = 0.1
_LONGEST_PAUSE = 5.0
_ROW_SECONDS = 60.0  # failures that are farther apart have nothing to do with each other


class Settings(ConnectionSettings, SourceSettings):
    """Section `source` with `type: kafka`."""

    type: Literal["kafka"] = "kafka"
    client: ClientName = Field(
        "kafka-python", description="what consumes and commits: kafka-python, or confluent (extra librdkafka)"
    )
    topics: tuple[TopicName, ...] = Field(min_length=1, description="input topics")
    group_id: str = Field(min_length=1, description="consumer group; its offsets are what is processed")
    group_instance_id: str | None = Field(
        AUTO, description="static member of the group; auto: <group_id>-<hostname>; null: a dynamic member"
    )
    transactional_id: str = Field(
        AUTO,
        description="identity of the transactions; auto: that of group_instance_id; a second user fences the first",
    )
    start: str = Field(
        "beginning", description="where a partition without a committed offset begins: beginning, end or an ISO time"
    )
    partitions: int = Field(4, ge=1, description="partitions of the topics that `tidegauge topics --create` makes")
    commit_interval_ms: int = Field(
        1_000, ge=0, description="a poll that decided nothing may wait so long for its commit, ms"
    )
    transaction_timeout_ms: int = Field(
        10_000, ge=2_000, le=900_000, description="the broker aborts a transaction after so long, ms"
    )
    session_timeout_ms: int = Field(45_000, ge=1_000, description="a member that is silent for so long is out, ms")
    max_poll_interval_ms: int = Field(300_000, ge=10_000, description="longest time between two polls, ms")
    max_poll_records: int = Field(
        30_000,
        ge=1,
        le=1_000_000,
        description="most records of one poll; fewer if the work on them takes longer than a second",
    )
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
        return RangeSettings(  # type: ignore[return-value]  # read like the source, but without a group
            connection=ConnectionSettings(**known),
            topic=url.netloc,
            begin=query.get("from", ["beginning"])[0],
            end=query.get("to", ["end"])[0],
        )


class KafkaSource(Source):
    """A member of a consumer group whose offsets, alerts and dead letters are committed in one transaction.

    While the brokers cannot be reached, `poll` returns nothing and tries again, so that the loop that calls it turns
    on; after `PATIENCE_SECONDS` without one good transaction it gives up.
    """

    transactional: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        """Connect, and make sure that the topics exist; the group is joined by `poll`.

        Raises:
            SourceError: if the client is not installed, or the cluster cannot be reached, refuses, or lacks a topic.
        """
        with said():
            require_client(settings.client)
        self._settings = settings
        self._state: KafkaState | None = None
        self._patience = settings.bootstrap_timeout_ms / 1000  # until the first transaction is possible
        self._failing = self._failed_at = time.monotonic()  # first and last of the failures in a row
        self._failures = 0
        self._retry_at = 0.0
        self._mark = uuid.uuid4().hex
        self._marks = itertools.count()
        self.commit_seconds = 0.0
        self._cluster = Cluster(settings)  # connected until the first poll
        try:
            with said():
                require_right(self._cluster, "READ", dict.fromkeys(settings.topics, "source.topics"))
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
                    settings.client,
                )
                # Opened by the first poll: a process that cannot run for another reason must not fence one that does.
                identity = Identity(settings.identity, settings.transaction_timeout_ms, settings.compression_type)
                self._transactions = Transactions(settings, identity, settings.client, open_now=False)
        except BaseException:
            self._cluster.close()
            raise

    def require(self, topics: Mapping[str, str]) -> None:
        """Make sure that topics exist, each with the setting that names it.

        Raises:
            SourceError: for the first one that does not.
        """
        with said():
            self._member.require(topics)
            require_right(self._cluster, "WRITE", topics)

    def poll(self, timeout: float) -> list[Batch | Rows]:
        """Return new records of the partitions that are this member's."""
        self._cluster.close()  # nothing is asked of it any more
        with said():
            if self._transactions.broken and not self._mend(timeout):
                return []
            found = self._member.poll(timeout)
        if not found:
            self._transactions.rest()
        return [batch_of(key, each) for key, each in found.items()]

    @property
    def ready(self) -> bool:
        """True while the group has given this member its partitions, be it none, and commits are possible."""
        return self._member.settled and not self._transactions.broken

    @property
    def settled(self) -> bool:
        """True while the group is stable, the positions are the broker's, and there is a producer."""
        return self.ready and self._member.stable

    def prepare(self) -> None:
        """Open the transaction of the commit that is about to come."""
        if self.settled:
            self._transactions.prepare()

    def cap(self, records: int) -> None:
        """Let no poll bring more."""
        self._member.pace.cap(records)

    def worked(self, records: int, seconds: float) -> None:
        """Let a poll bring as many records as are worked off in a moment."""
        self._member.pace.worked(records, seconds)

    def commit(self, positions: Mapping[Key, int], messages: Sequence[Message] = ()) -> bool:
        """Commit positions and messages in one transaction."""
        with said():
            return self._commit(positions, messages)

    def take_lost(self) -> set[Key]:
        """Return the partitions that are not this member's any more, or that it reads from elsewhere."""
        return self._member.take_lost()

    def take_gained(self) -> Mapping[Key, Gained]:
        """Return the partitions that this member has got."""
        found = self._member.take_gained()
        return {key: Gained(*each) for key, each in found.items()}

    def release(self, keys: Iterable[Key]) -> None:
        """Let the records of partitions come."""
        self._member.release(keys)

    def again(self, key: Key, begin: int, end: int) -> Iterator[list[Batch | Rows]]:
        """Yield records that were processed before."""
        if self._state is None:
            self._state = KafkaState(self._settings, "")
        yield from self._state.input(key, begin, end)

    def store(self, settings: StateSettings) -> StateStore | None:
        """Return the state topics of this group, which must exist."""
        if settings.type == "none":
            return None
        self._state = state = KafkaState(self._settings, settings.prefix(self._settings.group_id))
        topics = {state.topic(topic): "state.topic" for topic in self._settings.topics}
        self.require(topics)
        with said():
            require_right(self._cluster, "READ", topics)
        return state

    def lag(self) -> Mapping[Key, int]:
        """Return how many records behind the end each partition is."""
        return self._member.lag()

    def close(self) -> None:
        """Leave. May be called twice."""
        if self._state is not None:
            self._state.rest()
        self._cluster.close()
        self._transactions.close()
        self._member.close()

    def _mend(self, timeout: float) -> bool:
        """Try to get a producer; False if there is none yet. Takes a few seconds at most."""
        wait = self._retry_at - time.monotonic()
        if wait > 0:
            time.sleep(min(wait, timeout))
            return False
        try:
            self._transactions.rebuild()
        except KafkaProblem as error:
            self._failed(error)
            return False
        self._patience = PATIENCE_SECONDS
        self._member.unsettle()  # nobody knows what became of the last transaction, until the broker is asked
        return True

    def _commit(self, positions: Mapping[Key, int], messages: Sequence[Message]) -> bool:
        mark = f"{self._mark}-{next(self._marks)}{NOTE_END}"
        self._member.note(positions, mark)
        if not (self._member.stable and self._member.settled):
            # The group is about to give the partitions to somebody, maybe to this member again; or the last commit
            # failed, and what is in memory may be ahead of what is recorded.
            self._member.unsettle()
            return False
        try:
            self.commit_seconds = self._transactions.commit(messages, positions, self._member.membership, mark)
        except TransactionFailed as error:
            # Nobody knows whether it committed, or the group has another owner for the partitions. A new producer
            # settles the transaction; the member polls, so that it is in the group again, and only then looks up
            # where it is.
            self._member.unsettle()
            self._failed(KafkaProblem(f"transactions fail: {error}"))
            log.warning("transaction_failed", error=str(error), rejected=error.rejected)
            return False
        self._member.recorded(positions, mark)
        self._failures = 0
        return True

    def _failed(self, error: KafkaProblem) -> None:
        """Wait longer after each failure, and give up in the end."""
        now = time.monotonic()
        if self._failures == 0 or now - self._failed_at > _ROW_SECONDS:
            self._failing = self._failing if self._patience < PATIENCE_SECONDS else now
            self._failures = 0
        if error.status != EXIT_RETRY or now - self._failing > self._patience:
            raise error
        log.warning("brokers_do_not_answer", error=str(error), seconds=round(now - self._failing, 1))
        self._failed_at = now
        self._retry_at = now + min(_LONGEST_PAUSE, _BACKOFF_SECONDS * 2 ** min(self._failures, 6))
        self._failures += 1
