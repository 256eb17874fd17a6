"""Offsets and state of a group that stands still, put in place as one: in one transaction, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import msgspec

from monitor.config import Config
from monitor.fleets import AnyEngine
from monitor.kafka.changelog import PartitionReader
from monitor.kafka.takeover import Place, Takeover, look
from monitor.kafka.topics import Cluster
from monitor.message import Message
from monitor.sources._kafka_state import KafkaState, said
from monitor.sources.base import Batch, Key, Rows, SourceError
from monitor.sources.kafka import Settings as KafkaSource
from monitor.state import META_KEY, StateError, read_meta
from monitor.state.entry import Entry, FleetEntry, Metas
from monitor.state.snapshot import Snapshot
from monitor.upkeep.reading import EXIT_OPERATOR, Reader, Stands, refused

_encode = msgspec.msgpack.Encoder().encode


class StateTopics:
    """The state topics of a configuration, and the input behind them.

    Attributes:
        source: section `source`.
        store: the logs.
    """

    def __init__(self, config: Config) -> None:
        """Set up; it connects when it is used.

        Raises:
            SourceError: if there is no state in Kafka.
        """
        if not isinstance(config.source, KafkaSource):
            message = "source: is not of type kafka: this verb is for the state of a consumer group"
            raise SourceError(message, EXIT_OPERATOR)
        self.source = config.source
        self.kept = config.state.type != "none"
        self.store = KafkaState(config.source, config.state.prefix(config.source.group_id), same_count=False)
        self.reader = PartitionReader(config.source)

    def __enter__(self) -> Self:
        """Use it for a block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        self.store.rest()
        self.reader.close()

    def topics(self, chosen: str | None) -> list[str]:
        """Return the input topics, or the chosen one of them.

        Raises:
            SourceError: if it is none of them.
        """
        if chosen is None:
            return list(self.source.topics)
        if chosen not in self.source.topics:
            message = f"--topic {chosen}: is none of source.topics ({', '.join(self.source.topics)})"
            raise SourceError(message, 2)
        return [chosen]

    def keys(self, topic: str) -> list[Key]:
        """Return the partitions of which there is a log.

        Raises:
            SourceError: if there is no state topic.
        """
        count = self.store.count(topic) if self.kept else 0
        if not count:
            why = f"the topic {self.store.topic(topic)!r} does not exist" if self.kept else "state.type is none"
            message = f"state.topic: there is no state of {topic!r}: {why}"
            raise SourceError(message, EXIT_OPERATOR)
        return [(topic, number) for number in range(count)]

    def again(self, key: Key, begin: int, end: int) -> Iterator[Sequence[Batch | Rows]]:
        """Yield input that was processed before."""
        yield from self.store.input(key, begin, end)

    def places(self, keys: Sequence[Key]) -> Mapping[Key, Place]:
        """Return where partitions of the input stand; not those that the input has not.

        Raises:
            SourceError: if the cluster cannot be asked.
        """
        with said():
            return look(self.source, self.source.group_id, keys)

    @property
    def told(self) -> dict[str, str]:
        """What it is the state of, for a program."""
        return {"group": self.source.group_id}

    def keys_of(self, topic: str | None = None) -> list[Key]:
        """Return the partitions of which there is a log; `topic` chooses those of one input.

        Raises:
            SourceError: if there is no such input, or no state of one.
        """
        return [key for each in self.topics(topic) for key in self.keys(each)]

    def stands(self, keys: Sequence[Key]) -> Mapping[Key, Stands]:
        """Return where partitions of the input stand; not those that the input has not.

        Raises:
            SourceError: if the cluster cannot be asked.
        """
        return {key: Stands(each.committed, (each.first, each.end)) for key, each in self.places(keys).items()}

    def reading(self, engine: AnyEngine) -> Reader:
        """Return what builds partitions from the logs, with the model and the settings of an engine.

        Raises:
            SourceError: if the cluster cannot be asked.
        """
        return Reader(engine, self.store, self.again, self.identities())

    def identities(self) -> Mapping[str, str | None]:
        """Return the input topics' own ids.

        Raises:
            SourceError: if the cluster cannot be asked.
        """
        with said():
            return {topic: self.reader.identity(topic) for topic in self.source.topics}

    def take_over(self, say: Callable[[str], None]) -> Takeover:
        """Wait for the group's members to be gone, and become the only one.

        Raises:
            SourceError: if they do not go, or the cluster cannot be reached.
        """
        source = self.source
        with said():
            return Takeover(source, source.group_id, source.topics, source.session_timeout_ms, say)

    def put(self, takeover: Takeover, messages: Sequence[Message], offsets: Mapping[Key, int]) -> None:
        """Write state and offsets.

        Raises:
            SourceError: if that did not work.
        """
        with said():
            takeover.commit(messages, offsets, self.source.compression_type)


def grow(state: StateTopics, topic: str, partitions: int) -> None:
    """Give a state topic as many partitions as its input has.

    Raises:
        SourceError: if it has more, which Kafka does not take away, or the cluster refuses.
    """
    name, have = state.store.topic(topic), len(state.keys(topic))
    if have > partitions:
        message = (
            f"state.topic: {name!r} has {have} partitions, and Kafka takes none away: `tidegauge state export CONFIG"
            " --out DIR`, delete that topic, `tidegauge topics CONFIG --create`, and then `tidegauge state migrate"
            f" CONFIG --topic {topic} --partitions {partitions} --from DIR`"
        )
        raise SourceError(message, EXIT_OPERATOR)
    if have < partitions:
        with said():
            cluster = Cluster(state.source)
            try:
                cluster.grow(name, partitions)
            finally:
                cluster.close()
        state.reader.close()
        state.store.rest()  # it looks again how many there are


def imported(snapshot: Snapshot, key: Key, topic: str, position: int, identity: str | None) -> list[Message]:
    """Return the log of a partition of a snapshot as messages of a state topic.

    Args:
        snapshot: the snapshot.
        key: the partition.
        topic: the state topic.
        position: where in its log the first message comes, or before.
        identity: the input topic's own id.

    Raises:
        SourceError: if it cannot be read, or is no whole log.
    """
    try:
        newest = snapshot.newest(key, snapshot.ends([key])[key])
        if newest is None:
            message = "has no META"
            raise StateError(message)  # noqa: TRY301 - it is told as what is wrong with the rest
        meta = read_meta(newest)
        if meta.needed < meta.next_offset:
            message = f"it needs the input from {meta.needed} on: export it again from where that is at hand"
            raise StateError(message)  # noqa: TRY301 - as above
        entries = [(name, value) for name, value in snapshot.entries(key) if name != META_KEY]
    except StateError as error:
        raise refused(key, error) from None
    place = {"log": position, "turn": position, "cycle": 0, "swept": 0, "deltas": 0, "input": identity}
    if isinstance(meta, Metas):
        fleets = {name: msgspec.structs.replace(each, **place) for name, each in meta.fleets.items()}
        newest_entry: Entry = FleetEntry(meta=msgspec.structs.replace(meta, **place, fleets=fleets))
    else:
        newest_entry = Entry(meta=msgspec.structs.replace(meta, **place))
    entries.append((META_KEY, _encode(newest_entry)))
    return [Message(topic, name, value, (), key[1]) for name, value in entries]


def fits(key: Key, offset: int, place: Place) -> None:
    """Make sure that a partition has the records behind an offset.

    Raises:
        SourceError: if it has not.
    """
    if not place.first <= offset <= place.end:
        message = (
            f"{key[0]}-{key[1]}: the snapshot stands at {offset}, and the topic holds {place.first} to {place.end}:"
            " it is another topic, or records are gone"
        )
        raise SourceError(message, EXIT_OPERATOR)
