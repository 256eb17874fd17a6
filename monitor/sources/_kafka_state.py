"""Logs of state in Kafka: a compacted topic for each input topic, with as many partitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from monitor.kafka.changelog import PartitionReader
from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.errors import EXIT_OPERATOR, KafkaProblem
from monitor.kafka.port import Columns
from monitor.sources.base import Batch, Key, Rows, SourceError
from monitor.state import META_KEY, StateStore

_LOOKS = (50, 5_000)
"""So many places before the end of a log META is looked for, before all of it is read."""


@contextmanager
def said() -> Iterator[None]:
    """Turn a problem with Kafka into an error of the source."""
    try:
        yield
    except KafkaProblem as error:
        raise SourceError(str(error), error.status) from None


def batch_of(key: Key, found: Columns) -> Batch:
    """Return what a client has read of a partition."""
    return Batch(*key, found.offsets, found.timestamps, found.keys, found.values)


class KafkaState(StateStore):
    """The logs of the partitions of some input topics."""

    def __init__(self, connection: ConnectionSettings, prefix: str, *, same_count: bool = True) -> None:
        """Set up; it connects when it is used.

        Args:
            connection: how to reach the cluster.
            prefix: the log of topic X is in the topic `prefix`-X.
            same_count: whether a topic of logs must have as many partitions as its input.
        """
        self._prefix, self._strict = prefix, same_count
        self._reader = PartitionReader(connection)

    def topic(self, topic: str) -> str:
        """Return the topic of an input topic's logs."""
        return f"{self._prefix}-{topic}"

    def count(self, topic: str) -> int:
        """Return how many logs there are for an input topic; 0: there is no place for them.

        Raises:
            SourceError: if the cluster cannot be asked.
        """
        with said():
            return self._reader.count(self.topic(topic))

    def ends(self, keys: Iterable[Key]) -> Mapping[Key, int]:
        """Return the end of each log; 0 for one that has nothing in it."""
        names = {(self.topic(topic), number): (topic, number) for topic, number in keys}
        with said():
            for topic in {key[0] for key in names.values()} if self._strict else ():
                self._same_count(topic)
            bounds = self._reader.bounds(list(names))
        return {key: bounds[name][1] if bounds[name][1] > bounds[name][0] else 0 for name, key in names.items()}

    def newest(self, key: Key, end: int) -> bytes | None:
        """Return the value of the newest META below `end`."""
        first = self._first(key)
        for look in _LOOKS:
            begin = max(first, end - look)
            found = self._metas(key, begin, end)
            if found or begin == first:
                return found[-1] if found else None
        found = self._metas(key, first, end)
        return found[-1] if found else None

    def read(self, key: Key, begin: int, end: int) -> Iterator[Sequence[bytes]]:
        """Yield the entries' values."""
        for found in self._records(key, max(begin, self._first(key)), end):
            yield [value for value in found.values if value is not None] if found else []

    def input(self, key: Key, begin: int, end: int) -> Iterator[list[Batch | Rows]]:
        """Yield records of the input that were processed before.

        Raises:
            SourceError: if they are gone.
        """
        if begin >= end:
            return
        with said():
            first, last = self._reader.bounds([key])[key]
        if first > begin or last < end:
            lost = f"the topic begins at {first}" if first > begin else f"the topic ends at {last}"
            command = f"tidegauge skip CONFIG --topic {key[0]} --partition {key[1]} --offset {min(end, last) - 1}"
            message = (
                f"lost offsets: the state of {key[0]}-{key[1]} needs the input from {begin} on, but {lost}:"
                f" records are gone. To go on with windows begun anew, stop all members and run `{command}`; and keep"
                " the input longer (retention.ms) than state.sweep_interval and the longest stop of the daemon"
            )
            raise SourceError(message, EXIT_OPERATOR)
        for found in self._read(key, begin, end):
            yield [batch_of(key, found)] if found else []

    def rest(self) -> None:
        """Disconnect until it is used again."""
        self._reader.close()

    def _metas(self, key: Key, begin: int, end: int) -> list[bytes]:
        return [
            value
            for found in self._records(key, begin, end)
            if found
            for name, value in zip(found.keys, found.values, strict=True)
            if name == META_KEY and value
        ]

    def _first(self, key: Key) -> int:
        with said():
            return self._reader.bounds([(self.topic(key[0]), key[1])])[self.topic(key[0]), key[1]][0]

    def _records(self, key: Key, begin: int, end: int) -> Iterator[Columns | None]:
        return self._read((self.topic(key[0]), key[1]), begin, end)

    def _read(self, place: tuple[str, int], begin: int, end: int) -> Iterator[Columns | None]:
        """Yield records of a partition of any topic."""
        slices = self._reader.read(place, begin, end)
        while True:
            with said():
                try:
                    found = next(slices)
                except StopIteration:
                    return
            yield found

    def _same_count(self, topic: str) -> None:
        """Raise if an input and its state have not the same number of partitions."""
        mine, theirs = self._reader.count(self.topic(topic)), self._reader.count(topic)
        if mine != theirs:
            message = (
                f"the topic {topic!r} has {theirs} partitions, and its state {self.topic(topic)!r} has {mine}: the"
                " number of partitions was changed, and streams have moved between them. Stop all members, and let"
                f" their state move, too: `tidegauge state migrate CONFIG --topic {topic} --partitions {theirs}`"
            )
            raise KafkaProblem(message, EXIT_OPERATOR)
