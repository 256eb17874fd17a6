"""Raw records → columns.

Each record is parsed by msgspec into a struct of its few fields; everything else is done for the whole batch. A record
that cannot be used becomes a `Reject` with a reason, costs no other record, and stops nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Protocol, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor import times
from monitor.codec.layout import Layout, unknown_field
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


class _Unusable(Exception):  # noqa: N818 - it says what a record is
    """A record that cannot be used, and why."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


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

    def __init__(self, settings: RecordSettings, features: Sequence[str], *, stamped: bool = False) -> None:
        """Build the layout; `stamped`: records carry Kafka's timestamps.

        Raises:
            ValueError: if two settings name the same field.
        """
        self._settings, self._stamped = settings, stamped
        self._features = tuple(features)
        self._sensors = {name: number for number, name in enumerate(features)}
        self._layout = Layout(settings, features)
        self._filtered: set[bytes] = set()
        self._skew = 0 if settings.max_skew is None else settings.max_skew.ms

    def decode(self, raw: Raw, table: StreamTable) -> Decoded:
        """Decode a batch; new streams get a slot in `table`, which the pipeline makes live or takes back."""
        rejects: list[Reject] = []
        structs = self._whole(raw.values)
        where: Sequence[int] = range(len(raw.values))
        if structs is None:
            structs, where = self._carefully(raw.values, rejects)
        layout = self._layout
        unknown = sum(map(layout.unknown, structs)) if layout.extras else 0
        slots, stamps, where, structs, filtered = self._place(raw, layout, structs, where, rejects, table)
        columns = self._values(layout, structs)
        records = self._checked(raw, slots, stamps, columns, where, rejects)
        rejects.sort(key=lambda reject: reject.index)
        return Decoded(records, rejects, filtered, unknown)

    def place(self, streams: Sequence[str], stream: NDArray[np.int32], table: StreamTable) -> NDArray[np.int32]:
        """Return the slot of each row of a recording in columns, -1 where its stream is not selected."""
        slots = [self._slot(name.encode(), table) for name in streams]
        return np.array(slots, np.int32)[stream] if slots else np.zeros(0, np.int32)

    def _whole(self, values: Sequence[bytes | None]) -> list[Any] | None:
        """Parse a whole batch in one go, as nearly every batch can be; None if a record needs a closer look."""
        if self._settings.codec != "json":
            return None
        try:
            whole = cast("Sequence[bytes]", values)  # a null among them is a TypeError
            if max(map(len, whole), default=0) > VALUE_LIMIT:
                return None
            if not b"".join(whole).isascii():
                for value in whole:
                    value.decode()
            return list(map(self._layout.decode, whole))
        except (TypeError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
            return None

    def _carefully(self, values: Sequence[bytes | None], rejects: list[Reject]) -> tuple[list[Any], list[int]]:
        """Parse record by record; return structs and their indices."""
        structs: list[Any] = []
        where: list[int] = []
        good: list[bytes] = []
        for index, value in enumerate(values):
            try:
                struct = self._parse(self._readable(value))
            except _Unusable as wrong:
                rejects.append(Reject(index, wrong.reason, wrong.detail))
                continue
            structs.append(struct)
            where.append(index)
            good.append(value or b"")
        # Structs that were parsed before a field was met for the first time, if only in a record that was then refused,
        # are of an older type: all to the newest.
        if any(type(struct) is not self._layout.struct for struct in structs):
            structs = list(map(self._layout.decode, good))
        return structs, where

    def _readable(self, value: bytes | None) -> bytes:
        """Return a value that can be parsed."""
        if value is None:
            raise _Unusable(reason="null", detail="the record has no value")
        if len(value) > VALUE_LIMIT:
            raise _Unusable(reason="size", detail=f"the value is longer than {VALUE_LIMIT} bytes")
        if self._settings.codec == "json" and not value.isascii():
            try:
                value.decode()
            except UnicodeDecodeError as error:
                raise _Unusable(reason="encoding", detail=str(error)) from None
        return value

    def _parse(self, value: bytes) -> Any:  # noqa: ANN401 - a struct of a type that is made at run time
        """Parse one record; a field that was never met before is learned, so that the next ones pass."""
        while True:
            try:
                return self._layout.decode(value)
            except msgspec.ValidationError as error:
                name = unknown_field(error)
                if name is None:
                    reason = "range" if "out of range" in str(error) else "shape"
                    raise _Unusable(reason=reason, detail=str(error)) from None
                self._layout = self._layout.learn(name)
            except UnicodeDecodeError as error:
                raise _Unusable(reason="encoding", detail=str(error)) from None
            except msgspec.DecodeError as error:
                raise _Unusable(reason="syntax", detail=str(error)) from None
            except RecursionError:
                raise _Unusable(reason="syntax", detail="nested too deeply") from None

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

    def _place(
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
        found: list[int | None] = list(map(table.slots.get, cast("Sequence[bytes]", keys)))  # None is no key of it
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
            return (
                numbers if self._settings.time_unit == "ms" else times.from_integers(numbers, self._settings.time_unit)
            )
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

    def _values(self, layout: Layout, structs: list[Any]) -> NDArray[np.float64]:
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
        for numbers in layout.rows(structs):
            flat.extend(numbers)
        columns = np.array(flat, np.float64).reshape(len(structs), count)
        if self._settings.codec == "msgpack" and np.isnan(columns).any():
            # MessagePack can say NaN, which is no value; only nil means missing.
            for row, struct in enumerate(structs):
                if any(value is not None and value != value for value in layout.values(struct)):  # noqa: PLR0124 - NaN
                    columns[row] = np.inf
        return columns

    def _checked(
        self,
        raw: Raw,
        slots: NDArray[np.int32],
        stamps: NDArray[np.int64],
        columns: NDArray[np.float64],
        where: Sequence[int],
        rejects: list[Reject],
    ) -> Records:
        """Reject what is out of range, and return the rest."""
        with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is refused below
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
        kafka = np.asarray(raw.timestamps, np.int64)[index] if self._skew or self._stamped else None
        if self._skew and kafka is not None:
            far = (kafka >= 0) & (np.abs(np.clip(stamps, -(2**61), 2**61) - kafka) > self._skew)
            tests.append((far, "skew", f"the time is farther than {self._settings.max_skew} from Kafka's timestamp"))
        wrong = np.zeros(len(values), np.bool_)
        for found, reason, detail in tests:
            rejects.extend(Reject(int(index[row]), reason, detail) for row in np.flatnonzero(found & ~wrong))
            wrong |= found
        records = Records(slots, stamps, values, offsets, kafka)
        return records.take(np.flatnonzero(~wrong)) if wrong.any() else records
