"""What every source is: where batches of raw records come from, and where their positions are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from monitor.codec import Message


class SourceError(Exception):
    """A source cannot be read; the message names the file, topic or setting and what to do."""


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
    """What the settings of every source share. `type` is the name of the source's file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str


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

    def commit(self, positions: Mapping[tuple[str, int], int], messages: Sequence[Message] = ()) -> None:  # noqa: B027 - a source without positions has nothing to do here
        """Record that everything below `positions` (topic, partition → next offset) is done.

        A transactional source publishes `messages` in the same transaction.
        """

    def close(self) -> None:  # noqa: B027 - not every source holds something open
        """Let go of what is open. May be called twice."""
