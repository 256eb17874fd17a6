"""Raw records → columns.

Each record is parsed by msgspec into a struct of its few fields; everything else is done for the whole batch. A record
that cannot be used becomes a `Reject` with a reason, costs no other record, and stops nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor import times
from monitor.codec.layout import MOST_EXTRAS, Layout, unknown_field
from monitor.identity import wrong_id
from monitor.record import NEVER, Records, RecordSettings
from monitor.table import StreamTable

VALUE_LIMIT = 1 << 16
"""Longest value of a record, in bytes."""

_MOST_FILTERED = 1_000_000


class Raw(Protocol):
    """What is decoded: raw records of one partition, in the order of their offsets."""

    @property
    def offsets(self) -> Sequence[int]:
        """Positions."""

    @property
    def timestamps(self) -> Sequence[int]:
        """Kafka's timestamps in ms, -1 where there is none."""

    @property
    def keys(self) -> Sequence[bytes | None]:
        """Keys."""

    @property
    def values(self) -> Sequence[bytes | None]:
        """Values."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that becomes a dead letter: its index in the batch, why, and what exactly."""

    index: int
    reason: str
    detail: str


@dataclass(slots=True)
class Decoded:
    """What a batch was decoded into.

    Attributes:
        records: the usable records.
        rejects: the unusable ones.
        filtered: number of records of streams that are not selected.
        unknown: number of values of features that the model does not know.
    """

    records: Records
    rejects: list[Reject] = field(default_factory=list)
    filtered: int = 0
    unknown: int = 0


class Decoder:
    """Decodes records as section `record` describes them, for a model with these features."""

    def __init__(self, settings: RecordSettings, features: Sequence[str]) -> None:
        """Build the layout.

        Raises:
            ValueError: if two settings name the same field.
        """
        self._settings = settings
        self._features = tuple(features)
        self._sensors = {name: number for number, name in enumerate(features)}
        self._layout = Layout(settings, features)
        self._filtered: set[bytes] = set()
        self._skew = 0 if settings.max_skew is None else settings.max_skew.ms

    def decode(self, raw: Raw, table: StreamTable) -> Decoded:
        """Decode a batch; new streams get a slot in `table`, which the pipeline makes live or takes back."""
        rejects: list[Reject] = []
        layout = self._layout
        values = raw.values
        try:
            # The whole batch in one go, as nearly every batch can be.
            longest = max(map(len, values), default=0)  # type: ignore[arg-type] - None raises, and is dealt with
            if longest > VALUE_LIMIT or layout.extras or self._settings.codec == "msgpack":
                raise ValueError  # noqa: TRY301 - to the careful way
            if not b"".join(values).isascii():  # type: ignore[arg-type] - as above
                for value in values:
                    value.decode()  # type: ignore[union-attr] - as above
            structs: list[Any] = list(map(layout.decode, values))  # type: ignore[arg-type] - as above
            where: Sequence[int] = range(len(values))
            unknown = 0
        except (TypeError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
            structs, where, unknown = self._carefully(values, rejects)
            layout = self._layout
        slots, stamps, where, structs, filtered = self._place(raw, layout, structs, where, rejects, table)
        columns = self._values(layout, structs, where, rejects)
        records = self._checked(raw, slots, stamps, columns, where, rejects)
        rejects.sort(key=lambda reject: reject.index)
        return Decoded(records, rejects, filtered, unknown)

    def place(self, streams: Sequence[str], stream: NDArray[np.int32], table: StreamTable) -> NDArray[np.int32]:
        """Return the slot of each row of a recording in columns, -1 where its stream is not selected."""
        slots = [self._slot(name.encode(), table) for name in streams]
        return np.array(slots, np.int32)[stream] if len(slots) else np.zeros(0, np.int32)

    def _carefully(
        self, values: Sequence[bytes | None], rejects: list[Reject]
    ) -> tuple[list[Any], list[int], int]:
        """Parse record by record; return structs, their indices, and how many unknown features they have."""
        structs: list[Any] = []
        where: list[int] = []
        unknown = 0
        for index, value in enumerate(values):
            parsed = self._parse(index, value)
            if isinstance(parsed, Reject):
                rejects.append(parsed)
            else:
                structs.append(parsed[0])
                where.append(index)
                unknown += parsed[1].unknown(parsed[0])
        # Structs that were parsed before a field was met for the first time are of an older type: all to the newest.
        if any(type(struct) is not type(structs[-1]) for struct in structs):
            structs = [self._layout.decode(values[index]) for index in where]  # type: ignore[arg-type] - not None
        return structs, where, unknown

    def _parse(self, index: int, value: bytes | None) -> Reject | tuple[Any, Layout]:
        """Parse one record."""
        if value is None:
            return Reject(index, "null", "the record has no value")
        if len(value) > VALUE_LIMIT:
            return Reject(index, "size", f"the value is longer than {VALUE_LIMIT} bytes")
        if self._settings.codec == "json" and not value.isascii():
            try:
                value.decode()
            except UnicodeDecodeError as error:
                return Reject(index, "encoding", str(error))
        while True:
            try:
                return self._layout.decode(value), self._layout
            except msgspec.ValidationError as error:
                name = unknown_field(error)
                if name is None or name in self._layout.extras or len(self._layout.extras) >= MOST_EXTRAS:
                    reason = "range" if "out of range" in str(error) else "shape"
                    return Reject(index, reason, str(error))
                self._layout = Layout(self._settings, self._features, (*self._layout.extras, name))
            except msgspec.DecodeError as error:
                return Reject(index, "syntax", str(error))
            except UnicodeDecodeError as error:
                return Reject(index, "encoding", str(error))
            except RecursionError:
                return Reject(index, "syntax", "nested too deeply")

    def _slot(self, stream: bytes, table: StreamTable) -> int:
        """Return the slot of a stream with a good id, -1 if it is not selected."""
        slot = table.slots.get(stream)
        if slot is not None:
            return slot
        if stream in self._filtered:
            return -1
        select, name = self._settings.select, stream.decode()
        chosen = not select.include or any(fnmatchcase(name, glob) for glob in select.include)
        if chosen and not any(fnmatchcase(name, glob) for glob in select.exclude):
            return table.assign(stream)
        if len(self._filtered) >= _MOST_FILTERED:
            self._filtered.clear()
        self._filtered.add(stream)
        return -1

    def _place(  # noqa: PLR0913 - the columns of a batch
        self,
        raw: Raw,
        layout: Layout,
        structs: list[Any],
        where: Sequence[int],
        rejects: list[Reject],
        table: StreamTable,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], Sequence[int], list[Any], int]:
        """Find slot and time of each record; return them with what is left of the batch."""
        everything = len(structs) == len(raw.values)
        keys = raw.keys if everything else [raw.keys[index] for index in where]
        names = list(map(layout.stream, structs))
        if names.count(None) != len(names):
            keys = [
                key if name is None else str(name).encode("utf-8", "surrogatepass")
                for key, name in zip(keys, names, strict=True)
            ]
        found: list[int | None] = list(map(table.slots.get, keys))  # type: ignore[arg-type] - None is no key of it
        refused = 0
        if None in found:
            for place, slot in enumerate(found):
                if slot is None:
                    new = self._new(where[place], keys[place], table)
                    if isinstance(new, Reject):
                        rejects.append(new)
                        refused += 1
                    found[place] = -1 if isinstance(new, Reject) else new
        slots = np.array(found, np.int32)
        stamps = self._times(list(map(layout.time, structs)), raw.timestamps, where, everything=everything)
        kept = slots >= 0
        if kept.all():
            return slots, stamps, where, structs, 0
        left = np.flatnonzero(kept).tolist()
        filtered = len(slots) - len(left) - refused
        return slots[kept], stamps[kept], [where[i] for i in left], [structs[i] for i in left], filtered

    def _times(
        self, found: list[Any], timestamps: Sequence[int], where: Sequence[int], *, everything: bool
    ) -> NDArray[np.int64]:
        """Return the times of records, in ms; `NEVER` where one cannot be read."""
        absent = found.count(None)
        if absent == len(found):
            return np.asarray(timestamps if everything else [timestamps[index] for index in where], np.int64)
        if absent == 0 and set(map(type, found)) == {int} and max(found) < 1 << 62 and min(found) > -(1 << 62):
            numbers = np.array(found, np.int64)
            return numbers if self._settings.time_unit == "ms" else times.from_integers(numbers, self._settings.time_unit)
        return np.array(
            [timestamps[where[i]] if time is None else self._time(time) for i, time in enumerate(found)], np.int64
        )

    def _new(self, index: int, stream: bytes | None, table: StreamTable) -> int | Reject:
        """Return the slot of an id that has none yet, -1 if it is not selected."""
        if stream is None:
            return Reject(index, "stream", f"the record has neither a Kafka key nor {self._settings.stream}")
        try:
            wrong = wrong_id(stream.decode())
        except UnicodeDecodeError:
            wrong = "the stream id is not UTF-8"
        return Reject(index, "stream", wrong) if wrong else self._slot(stream, table)

    def _time(self, time: float | str) -> int:
        """Return a record's time in ms, `NEVER` if it cannot be read."""
        unit = self._settings.time_unit
        if isinstance(time, str):
            try:
                return times.from_iso(time)
            except (ValueError, OverflowError):
                return NEVER
        if isinstance(time, int):
            if abs(time) >= 1 << 62:
                return NEVER
            return time if unit == "ms" else int(times.from_integers(np.array([time], np.int64), unit)[0])
        return int(times.from_floats(np.array([time], np.float64), unit)[0])

    def _values(
        self, layout: Layout, structs: list[Any], where: Sequence[int], rejects: list[Reject]
    ) -> NDArray[np.float64]:
        """Return the features' values, `(n, F)` float64, NaN = missing."""
        count = len(self._features)
        if layout.sensor is not None:
            columns = np.full((len(structs), count), np.nan)
            for row, struct in enumerate(structs):
                number = self._sensors.get(layout.sensor(struct))
                value = layout.values(struct)
                if number is not None and value is not None:
                    columns[row, number] = value
            return columns
        flat: list[float | None] = []
        for row in layout.rows(structs):
            flat.extend(row)
        columns = np.array(flat, np.float64).reshape(len(structs), count)
        if self._settings.codec == "msgpack" and np.isnan(columns).any():
            # MessagePack can say NaN, which is no value; only nil means missing.
            for row, struct in enumerate(structs):
                if any(value is not None and value != value for value in layout.values(struct)):  # noqa: PLR0124 - NaN
                    columns[row] = np.inf
        return columns

    def _checked(  # noqa: PLR0913 - the columns of a batch
        self,
        raw: Raw,
        slots: NDArray[np.int32],
        stamps: NDArray[np.int64],
        columns: NDArray[np.float64],
        where: Sequence[int],
        rejects: list[Reject],
    ) -> Records:
        """Reject what is out of range, and return the rest."""
        with np.errstate(over="ignore"):
            values = columns.astype(np.float32)
        everything = len(where) == len(raw.offsets)
        index = np.arange(len(where)) if everything else np.asarray(where, np.int64)
        offsets = np.asarray(raw.offsets, np.int64)
        offsets = offsets if everything else offsets[index]
        tests = [
            (np.isinf(values).any(axis=1), "range", "a number is not finite as float32"),
            (np.isnan(values).all(axis=1), "features", "the record has a value for none of the model's features"),
            (
                (stamps < times.FIRST) | (stamps > times.LAST),
                "time",
                "the record has no time, or one that cannot be read or lies outside 1970-2100",
            ),
        ]
        if self._skew:
            kafka = np.asarray(raw.timestamps, np.int64)[index]
            far = (kafka >= 0) & (np.abs(np.clip(stamps, -(2**61), 2**61) - kafka) > self._skew)
            tests.append((far, "skew", f"the time is farther than {self._settings.max_skew} from Kafka's timestamp"))
        wrong = np.zeros(len(values), np.bool_)
        for found, reason, detail in tests:
            rejects.extend(Reject(int(index[row]), reason, detail) for row in np.flatnonzero(found & ~wrong))
            wrong |= found
        records = Records(slots, stamps, values, offsets)
        return records.take(np.flatnonzero(~wrong)) if wrong.any() else records
