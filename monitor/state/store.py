"""Where the logs of partitions lie: what every place for state must be able to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence

Key = tuple[str, int]
"""An input partition: topic and number."""

META_KEY = b"M"
"""The key of META; each transaction writes one for each partition, after everything else."""


class StateStore(ABC):
    """The logs of input partitions, as they are committed. They are written by the source's `commit`."""

    @abstractmethod
    def topic(self, topic: str) -> str:
        """Return the topic that the messages of an input topic's state carry."""

    @abstractmethod
    def ends(self, keys: Iterable[Key]) -> Mapping[Key, int]:
        """Return for each partition the position in its log at or behind which the next entry comes; 0: an empty log.

        Raises:
            SourceError: if a log cannot be read, or does not fit its input.
        """

    @abstractmethod
    def newest(self, key: Key, end: int) -> bytes | None:
        """Return the value of the newest META below a position, None if there is none.

        Raises:
            SourceError: if the log cannot be read.
        """

    @abstractmethod
    def read(self, key: Key, begin: int, end: int) -> Iterator[Sequence[bytes]]:
        """Yield the committed entries' values from one position to another, in slices that take a moment each.

        Raises:
            SourceError: if the log cannot be read.
        """

    def rest(self) -> None:  # noqa: B027 - not every store holds something open
        """Let go of what only reading needs; it may be read again."""
