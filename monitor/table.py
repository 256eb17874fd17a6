"""The stream table: which stream has which slot, and every stage's state as columns over the slots.

One table belongs to one input partition and goes with it. A stage declares the columns that it needs; the table
allocates them, grows them, and resets them, once and for all stages. A column is one contiguous array: stages work on
whole columns with `table["name"][slots]`.

Growth is in place: `ndarray.resize` asks the allocator to extend the block, which Linux does by moving page tables
(`mremap`), so the peak is the new size and not twice the old one. The array object stays the same, but a *view* of it
dies: nobody keeps a view of a column longer than one call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from monitor.ragged import Ragged

_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Column:
    """A column of state: `shape` values of `dtype` for each stream, `initial` in a new stream.

    A column with `every` above 1 is slow: it changes with each so-many-th window of a stream. Its stage says when, and
    the state's log has it only then.
    """

    name: str
    dtype: DTypeLike
    shape: tuple[int, ...] = ()
    initial: float = 0
    every: int = 1


@dataclass(frozen=True, slots=True)
class ObjectColumn:
    """A column of Python objects, for estimators of a library. Slower and larger than a `Column`; `check` says so.

    Attributes:
        name: name of the column.
        create: makes the object of a new stream.
        dump: object → bytes, without pickle.
        load: bytes → object.
    """

    name: str
    create: Callable[[], Any]
    dump: Callable[[Any], bytes]
    load: Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class RaggedColumn:
    """A column that holds a varying number of rows of the structured `dtype` for each stream."""

    name: str
    dtype: DTypeLike


AnyColumn = Column | ObjectColumn | RaggedColumn


class StreamTable:
    """Stream id ↔ slot, and the columns of all stages.

    Ids are UTF-8 bytes, as Kafka hands them over. A slot is *assigned* when the codec first sees an id and becomes
    *live* when the pipeline admits the stream; `settle` takes back the slots of streams that are not live.
    """

    def __init__(self, columns: Iterable[AnyColumn]) -> None:
        """Make an empty table with these columns.

        Raises:
            ValueError: if two stages declare a column of the same name.
        """
        self.slots: dict[bytes, int] = {}
        self.capacity = 0
        self.live_count = 0
        self._ids: list[bytes | None] = []
        self._free: list[int] = []
        self._assigned: list[int] = []
        self._columns: dict[str, Column] = {}
        self._object_columns: dict[str, ObjectColumn] = {}
        self._arrays: dict[str, NDArray[Any]] = {}
        self._objects: dict[str, list[Any]] = {}
        self._ragged: dict[str, Ragged] = {}
        names: set[str] = set()
        for column in (Column("live", np.bool_), *columns):
            if column.name in names:
                message = f"two stages declare a column named {column.name!r}"
                raise ValueError(message)
            names.add(column.name)
            if isinstance(column, Column):
                self._columns[column.name] = column
                self._arrays[column.name] = np.zeros((0, *column.shape), dtype=column.dtype)
            elif isinstance(column, RaggedColumn):
                self._ragged[column.name] = Ragged(column.dtype)
            else:
                self._object_columns[column.name] = column
                self._objects[column.name] = []

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the whole column, `(capacity, *shape)`."""
        return self._arrays[name]

    def objects(self, name: str) -> list[Any]:
        """Return the whole object column."""
        return self._objects[name]

    def ragged(self, name: str) -> Ragged:
        """Return the ragged column."""
        return self._ragged[name]

    def id_of(self, slot: int) -> str:
        """Return the stream id of a slot."""
        found = self._ids[slot]
        return "" if found is None else found.decode()

    def assign(self, stream: bytes) -> int:
        """Return the slot of a stream, a fresh one if it has none. A fresh slot has the initial values."""
        slot = self.slots.get(stream)
        if slot is None:
            if not self._free:
                self._grow()
            slot = self._free.pop()
            self.slots[stream] = slot
            self._ids[slot] = stream
            self._assigned.append(slot)
        return slot

    def raw_id(self, slot: int) -> bytes:
        """Return the stream id of a slot as the bytes that Kafka handed over."""
        return self._ids[slot] or b""

    def place(self, slots: Sequence[int], ids: Sequence[bytes]) -> None:
        """Put streams into given slots, live and with initial values; who was there is forgotten.

        For a restore: `reindex` must follow before a stream is assigned again.
        """
        if not slots:
            return
        while self.capacity <= max(slots):
            self._grow()
        self.clear(np.array(slots, np.intp))
        for slot, stream in zip(slots, ids, strict=True):
            if stream in self.slots:
                self.clear(np.array([self.slots[stream]], np.intp))
            self.slots[stream] = slot
            self._ids[slot] = stream
        self.admit(np.array(slots, np.intp))

    def clear(self, slots: NDArray[np.intp]) -> None:
        """Forget the streams of these slots, if there are any. For a restore, as `place`."""
        self.reset(slots)
        for slot in slots.tolist():
            stream = self._ids[slot]
            if stream is not None:
                del self.slots[stream]
                self._ids[slot] = None

    def reindex(self) -> None:
        """Find the free slots again, the lowest to be assigned first."""
        self._assigned.clear()
        self._free = [slot for slot in range(self.capacity - 1, -1, -1) if self._ids[slot] is None]

    def admit(self, slots: NDArray[np.intp]) -> None:
        """Make these slots live; none of them may be live already."""
        self._arrays["live"][slots] = True
        self.live_count += len(slots)

    def reset(self, slots: NDArray[np.intp]) -> None:
        """Set every column of these slots back to its initial value; the ids stay, and they are live no more."""
        if len(slots) == 0:
            return
        self.live_count -= int(np.count_nonzero(self._arrays["live"][slots]))
        for name, column in self._columns.items():
            self._arrays[name][slots] = column.initial
        for name, objects in self._objects.items():
            create = self._object_columns[name].create
            for slot in slots.tolist():
                objects[slot] = create()
        for ragged in self._ragged.values():
            ragged.clear(slots)

    def drop(self, slots: NDArray[np.intp]) -> None:
        """Forget the state of these streams. Their slots stay theirs until `settle`: a record may be on its way."""
        self.reset(slots)
        self._assigned.extend(slots.tolist())

    def _release(self, slots: NDArray[np.intp]) -> None:
        """Make these slots free for other ids."""
        held = [slot for slot in slots.tolist() if self._ids[slot] is not None]
        self.clear(slots)
        self._free.extend(held)

    def settle(self) -> None:
        """Take back the slots that were assigned or dropped since the last call and are not live now."""
        if self._assigned:
            assigned = np.unique(np.array(self._assigned, dtype=np.intp))
            self._assigned.clear()
            self._release(assigned[~self._arrays["live"][assigned]])

    def live(self) -> NDArray[np.intp]:
        """Return the slots of all live streams, rising."""
        return np.flatnonzero(self._arrays["live"])

    def bytes_per_stream(self) -> dict[str, int]:
        """Return the bytes that each column takes for one stream (object columns: not counted)."""
        return {
            name: int(np.dtype(column.dtype).itemsize * np.prod(column.shape, dtype=np.int64))
            for name, column in self._columns.items()
        }

    def _grow(self) -> None:
        """Add a block of slots to every column, a sixteenth of the table at least."""
        old = self.capacity
        new = old + max(_BLOCK, old // 16)
        for name, column in self._columns.items():
            array = self._arrays[name]
            array.resize((new, *column.shape), refcheck=False)  # new rows are zero
            if column.initial != 0:
                array[old:] = column.initial
        for name, objects in self._objects.items():
            create = self._object_columns[name].create
            objects.extend(create() for _ in range(new - old))
        self._ids.extend([None] * (new - old))
        self._free.extend(range(new - 1, old - 1, -1))
        self.capacity = new
