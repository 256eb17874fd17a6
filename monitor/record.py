"""Records: the columns that a poll becomes, and the classes that every record ends in.

A record is one sample of one stream: a time, one value a feature, and the offset that it has in its input partition.
The core never holds a record as an object; a batch of them is four arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from monitor.duration import Duration, PositiveDuration

NEVER = np.iinfo(np.int64).min
"""The time of something that has not happened yet, in every int64 column of times."""

CLASSES = ("processed", "late", "repeated", "filtered", "dead_lettered")
"""What a record can end as. A record that has not ended yet is `pending`."""

DEAD_LETTER_REASONS = (
    "crash",  # the process died of it, again and again
    "encoding",  # not UTF-8
    "syntax",  # not JSON, not MessagePack, or nested too deeply
    "shape",  # valid syntax, but not a record: a value of another type than a number or null
    "range",  # a number that is not finite as float32
    "features",  # none of the features that the model knows
    "stream",  # the stream id is missing, empty, too long, or has control characters
    "size",  # the value is longer than 64 KiB
    "null",  # no value at all
    "time",  # no time, one that cannot be read, or one outside 1970-2100
    "skew",  # farther from Kafka's own timestamp than record.max_skew
    "cardinality",  # a new stream, with record.max_streams live ones in its partition
    "late",  # late, and dead_letter.late is on
    "repeated",  # repeated, and dead_letter.late is on
    "skipped",  # passed over by `tidegauge skip`
)


@dataclass(frozen=True, slots=True)
class Records:
    """A batch of one input partition, in the order of its offsets.

    Attributes:
        slot: `(n,)` int32, the row of the record's stream in the partition's `StreamTable`.
        time: `(n,)` int64, event time in ms since 1970 (UTC).
        values: `(n, F)` float32, one column a feature; NaN = missing, never infinite.
        offset: `(n,)` int64, rising; positions in the input partition.
        stamp: `(n,)` int64 ms, Kafka's timestamps, -1 where there is none; None where nobody asks for them.
    """

    slot: NDArray[np.int32]
    time: NDArray[np.int64]
    values: NDArray[np.float32]
    offset: NDArray[np.int64]
    stamp: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.slot)

    def take(self, part: slice | NDArray[np.intp]) -> Records:
        """Return the records at the positions `part`."""
        stamp = None if self.stamp is None else self.stamp[part]
        return Records(self.slot[part], self.time[part], self.values[part], self.offset[part], stamp)

    @classmethod
    def joined(cls, parts: Sequence[Records], features: int) -> Records:
        """Return the records of parts that follow each other; of none, no records of so many features.

        They have no stamps: what is joined is read again, and judged by nobody.
        """
        nothing = np.zeros(0, np.int64)
        every = [cls(nothing.astype(np.int32), nothing, np.zeros((0, features), np.float32), nothing), *parts]
        return cls(
            np.concatenate([each.slot for each in every]),
            np.concatenate([each.time for each in every]),
            np.concatenate([each.values for each in every]),
            np.concatenate([each.offset for each in every]),
        )


class Select(BaseModel):
    """Which streams are watched, by glob; the others are `filtered`. An empty list includes all, or excludes none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    include: tuple[str, ...] = Field((), description="globs; a stream must match one of them (empty: all do)")
    exclude: tuple[str, ...] = Field((), description="globs; a stream that matches one of them is filtered")


class RecordSettings(BaseModel):
    """Section `record`: where the fields of a record lie, and what is believed of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    codec: Literal["json", "msgpack"] = Field("json", description="how values are encoded")
    layout: Literal["wide", "long"] = Field(
        "wide", description="wide: all features in one record; long: one record a sensor, joined on window.interval"
    )
    stream: str = Field("stream", description="dotted path of the stream id; where absent, the Kafka key is the id")
    time: str = Field(
        "time", description="dotted path of the event time; where absent, the Kafka timestamp is the time"
    )
    values: str = Field(
        "values", description="dotted path of the features' object; '' = the record itself (wide layout)"
    )
    sensor: str = Field("sensor", description="dotted path of the sensor's name (long layout)")
    value: str = Field("value", description="dotted path of the sensor's value (long layout)")
    time_unit: Literal["s", "ms", "us", "ns"] = Field("ms", description="unit of times that are numbers")
    select: Select = Field(Select(), description="which streams are watched, by glob")
    max_step: PositiveDuration = Field(
        Duration("1d"), description="a longer jump ahead waits for the stream's next record"
    )
    max_skew: PositiveDuration | None = Field(
        None, description="farther from the Kafka timestamp = dead letter (null: off)"
    )
    max_streams: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        100_000, description="live streams in one partition; the records of a new one above it are dead letters"
    )
    expire: PositiveDuration = Field(
        Duration("30d"), description="a stream that sent nothing for so long (partition time) is forgotten"
    )
