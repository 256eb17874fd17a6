"""The narrow port to a client of Kafka: what the daemon's hot way asks of one, and nothing else.

Two clients are behind it, `monitor.kafka.python` (kafka-python) and `monitor.kafka.confluent` (librdkafka); `clients`
chooses. Everything that decides (positions, marks, what is lost and gained, what an unknown outcome means) lies above
the port, in `consumer` and `transactions`, and is the same for both. The words for what went wrong are kafka-python's
exceptions, which every install has: an error of the brokers is the same class whichever client was told of it.

What runs beside the hot way has one client, kafka-python: topics and rights, logs of state, ranges of topics, relays,
and the verbs of operators.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from monitor.message import Message

Key = tuple[str, int]
"""A partition: topic and number."""


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


@dataclass(frozen=True, slots=True)
class Columns:
    """Records of one partition as columns of equal length, in the order of their offsets, at least one.

    Attributes:
        offsets: position of each.
        timestamps: Kafka's timestamp of each in ms, -1 where there is none.
        keys: key of each.
        values: value of each; None = null.
    """

    offsets: list[int]
    timestamps: list[int]
    keys: list[bytes | None]
    values: list[bytes | None]

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.offsets)

    def cut(self, most: int) -> tuple[Columns, Columns | None]:
        """Return the first records, `most` of them, and the rest, if there is one."""
        if len(self) <= most:
            return self, None
        return self._part(slice(most)), self._part(slice(most, None))

    def below(self, offset: int) -> Columns | None:
        """Return the records before an offset, None if there are none."""
        return self.cut(high)[0] if (high := bisect_left(self.offsets, offset)) else None

    def since(self, offset: int) -> Columns | None:
        """Return the records from an offset on, None if there are none."""
        low = bisect_left(self.offsets, offset)
        if low == len(self.offsets):
            return None
        return self._part(slice(low, None)) if low else self

    @classmethod
    def joined(cls, pieces: Sequence[Columns]) -> Columns:
        """Return the records of pieces that follow one another, at least one."""
        if len(pieces) == 1:
            return pieces[0]
        return cls(
            [each for piece in pieces for each in piece.offsets],
            [each for piece in pieces for each in piece.timestamps],
            [each for piece in pieces for each in piece.keys],
            [each for piece in pieces for each in piece.values],
        )

    def _part(self, which: slice) -> Columns:
        return Columns(self.offsets[which], self.timestamps[which], self.keys[which], self.values[which])


@dataclass(frozen=True, slots=True)
class Membership:
    """What a member is to its group at one moment.

    Attributes:
        settled: whether the group has dealt partitions, and is not dealing them anew.
        generation: of the group, below 0 for one that is in none.
        name: the member's own, empty for one that is in no group.
        handle: the same as the client wants it back, to store offsets under.
    """

    settled: bool
    generation: int
    name: str
    handle: Any

    @property
    def stable(self) -> bool:
        """Whether offsets may be committed under it.

        The broker takes offsets from a member without name and generation, which is what one becomes that was thrown
        out of the group: they would go over those of the new owner.
        """
        return self.settled and self.generation >= 0 and bool(self.name)


NOTE_END = "."
"""What a note beside an offset should end with: librdkafka hands on what lies in memory behind it, too."""


class GroupClient(Protocol):
    """One member of a consumer group. It commits nothing, and reads nothing before it is told from where.

    Every method may raise a `kafka.errors.KafkaError`; one that is `retriable` says that the brokers do not answer now.

    Attributes:
        changed: whether partitions were given or taken since somebody last set this to False.
    """

    changed: bool

    def exists(self, topic: str) -> bool:
        """Return whether a topic is there, and may be seen."""

    def subscribe(self) -> None:
        """Begin to join the group, which goes on within `poll`."""

    def poll(self, seconds: float, most: int) -> Mapping[Key, Columns]:
        """Return new records, after at most about so many seconds; the group's affairs are done meanwhile.

        There are `most` of them at most.

        Records that come in the same call in which partitions were dealt anew may be of the old position.

        Raises:
            KafkaProblem: for what cannot be read; no record behind it is ever returned.
        """

    def membership(self) -> Membership:
        """Return what this member is to its group right now."""

    def superseded(self) -> bool:
        """Return whether another process has taken a static member's name, if only this tells of it."""

    def assignment(self) -> set[Key]:
        """Return the partitions that the group has given."""

    def bounds(self, keys: Collection[Key]) -> Mapping[Key, tuple[int, int]]:
        """Return the offset of the first record of each partition, and that behind the last one that is committed."""

    def committed(self, keys: Collection[Key]) -> Mapping[Key, tuple[int, str | None] | None]:
        """Return the group's offset of each partition and the note beside it; None where there is none.

        An offset that an open transaction may still change is waited for.
        """

    def at(self, key: Key, time_ms: int) -> int | None:
        """Return the offset of a partition's first record with this Kafka timestamp or a later one."""

    def go(self, positions: Mapping[Key, int], held: Collection[Key]) -> None:
        """Read these partitions, which are all that were given, from these offsets on, but not those held."""

    def release(self, keys: Collection[Key], positions: Mapping[Key, int]) -> None:
        """Read partitions that were held; `positions` are those of all that are read from now on."""

    def ends(self, keys: Iterable[Key]) -> Mapping[Key, int]:
        """Return the end of partitions as far as the last answers of the brokers tell; asks nobody."""

    def identity(self, topic: str) -> str | None:
        """Return a topic's own id, None where the brokers do not say it."""

    def close(self, seconds: float) -> None:
        """Leave the group and disconnect."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes a transactional producer.

    Attributes:
        transactional_id: a newer producer with the same one fences this one.
        timeout_ms: after so long the broker aborts a transaction by itself.
        compression: codec of the messages, None for none.
    """

    transactional_id: str
    timeout_ms: int
    compression: str | None

    @property
    def commit_seconds(self) -> float:
        """So long a commit may take: each wait gives up before the next one must."""
        return self.timeout_ms * 0.65 / 1000


class TransactionalClient(Protocol):
    """A producer that has taken its identity over: nothing of a predecessor is open."""

    @property
    def age(self) -> float:
        """Seconds since a transaction was opened ahead, 0 if none is."""

    def rest(self) -> None:
        """Do what was put off while there is nothing to commit; returns at once."""

    def prepare(self) -> None:
        """Open the transaction that is about to come, if that makes it quicker; returns at once."""

    def commit(
        self, messages: Sequence[Message], offsets: Mapping[Key, int], membership: Membership | None, mark: str
    ) -> None:
        """Publish messages and store offsets with a note beside them, all or nothing, within the time of `Identity`.

        Raises:
            KafkaError: if it did not commit, or nobody knows: this producer must not be used again.
        """

    def close(self, seconds: float = 0) -> None:
        """Let go of everything, without waiting for what is open."""


def payload(message: Message) -> bytes | None:
    """Return a message's value; one with neither key nor value gets an empty one, for not every client can send it."""
    return b"" if message.key is None and message.value is None else message.value
