"""What every source is: where batches of raw records come from, and where their positions are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from monitor.message import Message
from monitor.record import RecordSettings
from monitor.state import StateSettings, StateStore

Key = tuple[str, int]
"""A partition: topic and number."""

Output = tuple[str, str | None]
"""Where something goes, as people call it, and the file that it is appended to; None = it cannot be taken back."""


class SourceError(Exception):
    """A source cannot be read; the message names the file, topic or setting and what to do.

    Attributes:
        status: exit status of the command that meets it: 1 a retry may help, 75 fenced, 78 an operator must act.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        """Keep the message and the status."""
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Batch:
    """Raw records of one input partition, in the order of their offsets; the codec makes columns of them.

    Attributes:
        topic: name of the topic, or the base name of the first file.
        partition: 0 for files.
        offsets: position of each record.
        timestamps: Kafka's timestamp of each record in ms, -1 where there is none.
        keys: Kafka key of each record.
        values: raw value of each record; None = null.
    """

    topic: str
    partition: int
    offsets: Sequence[int]
    timestamps: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.offsets)


@dataclass(frozen=True, slots=True)
class Gained:
    """A partition that this reader has got, and where it begins to read it.

    Attributes:
        offset: next offset.
        recorded: whether that is a position that was committed; else it is the configured start, and must be committed
            before anything is done.
        identity: what tells the topic from another one of the same name; None where nothing does.
    """

    offset: int
    recorded: bool
    identity: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that a source itself could not read: it becomes a dead letter."""

    offset: int
    value: bytes
    reason: str  # one of monitor.record.DEAD_LETTER_REASONS
    detail: str


@dataclass(frozen=True, slots=True)
class Rows:
    """Records that a recording holds as columns already (CSV, Parquet): no codec is needed.

    Attributes:
        streams: the distinct stream ids of this batch.
        stream: `(n,)` int32, index into `streams`.
        time: `(n,)` int64 ms.
        values: `(n, F)` float32 in the order of the features asked for; NaN = missing.
        offset: `(n,)` int64, rising.
        label: `(n,)` bool, True where the row is labelled anomalous; None where the recording has no labels.
        refused: rows that could not be read, with offsets that are not in `offset`.
    """

    topic: str
    partition: int
    streams: Sequence[str]
    stream: NDArray[np.int32]
    time: NDArray[np.int64]
    values: NDArray[np.float32]
    offset: NDArray[np.int64]
    label: NDArray[np.bool_] | None = None
    refused: Sequence[Refused] = field(default_factory=tuple)

    def __len__(self) -> int:
        """Return the number of records, refused ones included."""
        return len(self.offset) + len(self.refused)


class SourceSettings(BaseModel):
    """What the settings of every source share. `type` is the name of the source's file.

    The module of a source may also have `suffixes` (ends of file names, or "-") and `schemes` (of URLs), both tuples
    of text: by them `monitor.sources.for_recording` finds the kind of a recording named on the command line.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str

    def build(self, record: RecordSettings, features: Sequence[str] | None) -> Source:
        """Open the source.

        Args:
            record: where the fields of a record lie.
            features: the columns that `Rows.values` shall have; None = what `peek` finds. A source of raw `Batch`es
                does not need them.

        Raises:
            SourceError: if it cannot be opened.
        """
        raise NotImplementedError

    def peek(self, record: RecordSettings, count: int = 1_000) -> tuple[str, ...]:
        """Return the names of the features in the first `count` records, in order of first appearance.

        Nothing is consumed: a source built afterwards begins at the first record.

        Raises:
            SourceError: if the source cannot be read twice, or not at all.
        """
        del record, count
        message = f"the features cannot be read off a source of type {self.type}: name them"
        raise SourceError(message)

    @classmethod
    def recording(cls, paths: Sequence[str], configured: SourceSettings | None = None) -> Self:
        """Return the settings that read `paths`, recordings named on the command line, once from start to end.

        Args:
            paths: files or URLs of this kind, at least one.
            configured: section `source` of the configuration, for what a URL does not say.

        Raises:
            SourceError: if this kind of source keeps no recordings, or a URL cannot be understood.
        """
        del configured
        message = f"{paths[0]}: a source of type {cls.__module__.rpartition('.')[2]} is no recording"
        raise SourceError(message)


class Source(ABC):
    """A stream of batches.

    `poll` is called again and again by one thread. What it returned is not offered again in this process; after a
    restart, everything behind the last `commit` is. A source that ends says so by `exhausted`.
    """

    transactional: ClassVar[bool] = False
    """Whether `commit` publishes messages together with the positions, or not at all."""

    @abstractmethod
    def poll(self, timeout: float) -> list[Batch | Rows]:
        """Wait at most `timeout` seconds for records; at most one batch a partition, empty when none came.

        Raises:
            SourceError: if the input cannot be read; polling on is useless.
        """

    @property
    def exhausted(self) -> bool:
        """True when no further record will ever come."""
        return False

    @property
    def ready(self) -> bool:
        """True when the source knows what it reads: for a consumer group, when partitions are assigned."""
        return True

    @property
    def settled(self) -> bool:
        """True while a commit is possible; what can wait had better wait, or it has to be done again."""
        return True

    def require(self, topics: Mapping[str, str]) -> None:  # noqa: B027 - only a transactional source publishes
        """Make sure that the topics that `commit` is to publish to exist, each with the setting that names it.

        Raises:
            SourceError: for the first one that does not.
        """

    def prepare(self) -> None:  # noqa: B027 - only a source with transactions has something to prepare
        """Begin what the next `commit` needs, because it is certain to come: returns at once, and never raises."""

    def cap(self, records: int) -> None:  # noqa: B027 - only a source that chooses how many it returns
        """Return no more records than so many in one poll, were the configuration to allow more."""

    def worked(self, records: int, seconds: float) -> None:  # noqa: B027 - only a source that chooses how many it returns
        """Learn how long the work on the records of the last poll took, without its commit."""

    def commit(self, positions: Mapping[Key, int], messages: Sequence[Message] = ()) -> bool:  # noqa: ARG002 - for sources with positions
        """Record that everything below `positions` (topic, partition → next offset) is done.

        A transactional source publishes `messages` in the same transaction.

        Returns:
            False if nobody knows whether anything was recorded: `take_lost` then names the partitions for which it was
            not, and `take_gained` those of them that are still this reader's.
        """
        return True

    def take_lost(self) -> set[Key]:
        """Return the partitions that are no longer this reader's, or that it reads from elsewhere, since last asked.

        What is known of them must be dropped.
        """
        return set()

    def take_gained(self) -> Mapping[Key, Gained]:
        """Return the partitions that this reader has got, or reads from elsewhere, since last asked.

        Their records are held back until `release`, so that what is known of them can be restored first. One that is
        in `take_lost` at the same time was lost before. A source without positions never names one.
        """
        return {}

    def release(self, keys: Iterable[Key]) -> None:  # noqa: B027 - only sources that name gained partitions hold back
        """Let the records of partitions come that `take_gained` has named."""

    def again(self, key: Key, begin: int, end: int) -> Iterator[list[Batch | Rows]]:
        """Yield records that were processed before, from one position to another, in slices that take a moment each.

        Raises:
            SourceError: if they are gone, or cannot be read twice.
        """
        message = f"{key[0]}-{key[1]}: a source of this type cannot read {begin} to {end} again"
        raise SourceError(message)

    def store(self, settings: StateSettings) -> StateStore | None:  # noqa: ARG002 - for sources with positions
        """Return where the state of this source's partitions is kept; None = in memory alone.

        Raises:
            SourceError: if there is no such place.
        """
        return None

    def lag(self) -> Mapping[Key, int]:
        """Return how many records each partition is behind its end, as far as is known."""
        return {}

    def close(self) -> None:  # noqa: B027 - not every source holds something open
        """Let go of what is open. May be called twice."""
