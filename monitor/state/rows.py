"""Columns of some slots as bytes, and back.

A packed row set is MessagePack: the slots, and for each column its values one after another, little-endian, in the
dtype and shape that the column declares, under its name with both: what is declared otherwise now is not found. Nothing
in it is ever executed or unpickled; every length is checked against the declaration before a byte is used.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor.ragged import Ragged
from monitor.state.stages import layout
from monitor.table import AnyColumn, Column, ObjectColumn, StreamTable

ROWS_LIMIT = 900_000
"""Largest packed row set, in bytes, as far as single rows allow: a message of the log stays below 1 MB."""

_GUESS = 256  # bytes of a row whose size is not declared; what is larger is found out and divided


_SHOWN = 300  # characters of a reason


class StateError(Exception):
    """State cannot be read: it is damaged, or of another version or layout; the message says which and what to do."""


class DamagedError(StateError):
    """State cannot be read, and no other version will read it."""

    def __init__(self, what: str) -> None:
        """Say what is wrong, and what to do."""
        shown = what if len(what) <= _SHOWN else f"{what[:_SHOWN]}…"  # it may quote what was read
        super().__init__(
            f"the state is damaged ({shown}): to begin anew, stop all members and delete the state topic and the"
            " group's offsets"
        )


class Packed(msgspec.Struct, array_like=True, gc=False):
    """Rows of some columns.

    Attributes:
        slots: int32, little-endian.
        columns: values by column (name, dtype, shape).
        objects: dumped objects by column.
        ragged: (counts, rows) by column.
        generations: of each stage, in the order of `stages.NAMES`.
    """

    slots: bytes
    columns: dict[str, bytes] = {}
    objects: dict[str, list[bytes]] = {}
    ragged: dict[str, tuple[bytes, bytes]] = {}
    generations: Sequence[int] = ()

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        size = len(self.slots) + sum(map(len, self.columns.values()))
        size += sum(5 * len(dumped) + sum(map(len, dumped)) for dumped in self.objects.values())
        return size + sum(len(counts) + len(rows) for counts, rows in self.ragged.values())


def pack(
    table: StreamTable, slots: NDArray[np.intp], columns: Sequence[AnyColumn], generations: Sequence[int] = ()
) -> Packed:
    """Return the rows of `slots` in `columns`."""
    packed = Packed(slots.astype("<i4").tobytes(), {}, {}, {}, generations)
    for column in columns:
        name = layout(column)
        if isinstance(column, Column):
            packed.columns[name] = _little(table[column.name][slots]).tobytes()
        elif isinstance(column, ObjectColumn):
            objects = table.objects(column.name)
            packed.objects[name] = [column.dump(objects[slot]) for slot in slots.tolist()]
        else:
            rows, counts = table.ragged(column.name).rows(slots)
            packed.ragged[name] = (counts.astype("<i8").tobytes(), rows.tobytes())
    return packed


def packs(
    table: StreamTable, slots: NDArray[np.intp], columns: Sequence[AnyColumn], generations: Sequence[int] = ()
) -> Iterator[Packed]:
    """Yield the rows of `slots` in parts that are messages of the log, each of `ROWS_LIMIT` bytes or of one row."""
    step = max(1, ROWS_LIMIT // (4 + sum(row_bytes(column) for column in columns)))
    for begin in range(0, len(slots), step):
        part = slots[begin : begin + step]
        packed = pack(table, part, columns, generations)
        if packed.size <= ROWS_LIMIT or len(part) == 1:
            yield packed
        else:  # objects or ragged rows that are larger than was guessed
            half = len(part) // 2
            yield from packs(table, part[:half], columns, generations)
            yield from packs(table, part[half:], columns, generations)


def slots_of(packed: Packed) -> NDArray[np.intp]:
    """Return the slots of packed rows.

    Raises:
        StateError: if they are damaged.
    """
    if len(packed.slots) % 4:
        message = "slots of a broken length"
        raise DamagedError(message)
    return np.frombuffer(packed.slots, "<i4").astype(np.intp)


def unpack(table: StreamTable, packed: Packed, columns: Sequence[AnyColumn], *, live_only: bool = False) -> None:
    """Write packed rows into the table; columns that are not packed so, or not declared, are left alone.

    Args:
        table: where they go.
        packed: the rows.
        columns: the columns to write.
        live_only: leave out rows of slots that have no live stream.

    Raises:
        StateError: if a column has another length than its declaration says.
    """
    slots = slots_of(packed)
    kept = (slots >= 0) & (slots < table.capacity)
    if live_only:
        kept[kept] = table["live"][slots[kept]]
    elif not kept.all():
        message = "rows of streams that it does not name"
        raise DamagedError(message)
    whole, here = bool(kept.all()), slots[kept]
    for column in columns:
        name = layout(column)
        if isinstance(column, Column) and name in packed.columns:
            values = _values(column, packed.columns[name], len(slots))
            table[column.name][here] = values if whole else values[kept]
        elif isinstance(column, ObjectColumn) and name in packed.objects:
            dumped = packed.objects[name]
            if len(dumped) != len(slots):
                raise _other(column.name)
            objects = table.objects(column.name)
            for slot, state, wanted in zip(slots.tolist(), dumped, kept.tolist(), strict=True):
                if wanted:
                    objects[slot] = _loaded(column, state)
        elif name in packed.ragged:
            _unpack_ragged(table.ragged(column.name), column.name, packed.ragged[name], slots, kept)


def _loaded(column: ObjectColumn, state: bytes) -> Any:  # noqa: ANN401 - an estimator of a library
    """Return the object of a state; a library may raise anything at bytes that it has not written."""
    try:
        return column.load(state)
    except Exception as error:  # noqa: BLE001 - as said above
        message = f"an object of column {column.name!r} cannot be read ({type(error).__name__})"
        raise DamagedError(message) from None


def _unpack_ragged(
    ragged: Ragged, name: str, packed: tuple[bytes, bytes], slots: NDArray[np.intp], kept: NDArray[np.bool_]
) -> None:
    """Write the packed rows of a ragged column."""
    counts_bytes, rows_bytes = packed
    if len(counts_bytes) != 8 * len(slots):
        raise _other(name)
    counts = np.frombuffer(counts_bytes, "<i8").astype(np.int64)
    if (counts < 0).any() or len(rows_bytes) != int(counts.sum()) * ragged.dtype.itemsize:
        raise _other(name)
    rows = np.frombuffer(rows_bytes, ragged.dtype)
    ragged.clear(slots[kept])
    ragged.append(slots[kept], counts[kept], rows[np.repeat(kept, counts)])


@functools.lru_cache(maxsize=1_024)
def row_bytes(column: AnyColumn) -> int:
    """Return the bytes that a column takes in a packed row; objects and ragged rows: a guess."""
    if isinstance(column, Column):
        return int(np.dtype(column.dtype).itemsize * math.prod(column.shape))
    return _GUESS


def _values(column: Column, data: bytes, count: int) -> NDArray[Any]:
    dtype = np.dtype(column.dtype).newbyteorder("<")
    shape = (count, *column.shape)
    if len(data) != dtype.itemsize * math.prod(shape):
        raise _other(column.name)
    return np.frombuffer(data, dtype).reshape(shape)


def _little(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(values.dtype.newbyteorder("<"), copy=False)


def _other(name: str) -> StateError:
    return DamagedError(f"column {name!r} has another length than it says")
