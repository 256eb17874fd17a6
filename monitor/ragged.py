"""Ragged state: for each slot of a table, a list of rows of varying length, without a Python object a row.

Each slot owns a segment of one growing arena. Appending is O(1) amortised: a full segment moves to the end of the
arena with twice the room, and the arena is compacted when half of it is abandoned.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

_ROOM = 4


def ranges(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the concatenation of `arange(start, start + count)` over all pairs."""
    total = int(counts.sum())
    if total == 0:
        return np.zeros(0, np.int64)
    ends = np.cumsum(counts)
    found: NDArray[np.int64] = np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - counts), counts)
    return found


class Ragged:
    """Rows of a structured dtype for each slot, in the order in which they were appended."""

    def __init__(self, dtype: DTypeLike) -> None:
        """Make an empty store of rows of `dtype`."""
        self._arena = np.zeros(0, dtype)
        self._used = 0
        self._start = np.zeros(0, np.int64)
        self._count = np.zeros(0, np.int64)
        self._room = np.zeros(0, np.int64)

    @property
    def dtype(self) -> np.dtype[np.void]:
        """The dtype of a row."""
        return self._arena.dtype

    @property
    def total(self) -> int:
        """Number of rows of all slots."""
        return int(self._count.sum())

    def count(self, slots: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the number of rows of each of these slots."""
        self._fit(slots)
        return self._count[slots]

    def rows(self, slots: NDArray[np.intp]) -> tuple[NDArray[np.void], NDArray[np.int64]]:
        """Return the rows of these distinct slots, slot after slot, and how many each has."""
        self._fit(slots)
        counts = self._count[slots]
        return self._arena[ranges(self._start[slots], counts)], counts

    def clear(self, slots: NDArray[np.intp]) -> None:
        """Remove all rows of these slots; their room stays theirs."""
        self._fit(slots)
        self._count[slots] = 0

    def append(self, slots: NDArray[np.intp], counts: NDArray[np.int64], rows: NDArray[np.void]) -> None:
        """Append `counts[i]` rows to the distinct slot `slots[i]`; `rows` holds them slot after slot."""
        self._fit(slots)
        wanted = self._count[slots] + counts
        if (wanted > self._room[slots]).any():
            self._make_room(slots, wanted)
        self._arena[ranges(self._start[slots] + self._count[slots], counts)] = rows
        self._count[slots] = wanted

    def _fit(self, slots: NDArray[np.intp]) -> None:
        """Make room in the index for the largest slot."""
        needed = int(slots.max()) + 1 if len(slots) else 0
        if needed > len(self._start):
            more = max(needed, 2 * len(self._start)) - len(self._start)
            pad = np.zeros(more, np.int64)
            self._start = np.concatenate([self._start, pad])
            self._count = np.concatenate([self._count, pad])
            self._room = np.concatenate([self._room, pad])

    def _make_room(self, slots: NDArray[np.intp], wanted: NDArray[np.int64]) -> None:
        """Give those of these slots that have too little room a segment of twice the wanted size at the end."""
        moving = wanted > self._room[slots]
        total = int(np.maximum(2 * wanted[moving], _ROOM).sum())
        if self._used + total > len(self._arena):
            self._compact(total, slots)
        moved, room = slots[moving], np.maximum(2 * wanted[moving], _ROOM)
        counts = self._count[moved]
        starts = self._used + np.cumsum(room) - room
        self._arena[ranges(starts, counts)] = self._arena[ranges(self._start[moved], counts)]
        self._start[moved] = starts
        self._room[moved] = room
        self._used += total

    def _compact(self, extra: int, keep: NDArray[np.intp]) -> None:
        """Copy what is in use, and the room of the slots `keep`, into a new arena with `extra` rows and a half more."""
        used = self._count > 0
        used[keep] = True
        held = np.flatnonzero(used)
        room = self._room[held]
        starts = np.cumsum(room) - room
        kept = int(room.sum())
        arena = np.zeros((kept + extra) * 3 // 2, self._arena.dtype)
        counts = self._count[held]
        arena[ranges(starts, counts)] = self._arena[ranges(self._start[held], counts)]
        self._room[:] = 0
        self._start[held] = starts
        self._room[held] = room
        self._arena = arena
        self._used = kept
