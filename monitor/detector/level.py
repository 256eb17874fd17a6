"""Each stream's own level and spread, so that one model serves streams of different units.

Mean and deviation of a stream's first `rows` rows; then they stay. Re-standardising for ever costs 1 to 2 NAB points: a
drift would be learned away. Until then they move with each window, and what is scored so early is scored roughly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monitor.table import Column, StreamTable

CLIP = 20.0
_TINY = 1e-9


class Level:
    """The level of `features` features of each stream."""

    columns: tuple[Column, ...]

    def __init__(self, features: int, rows: int) -> None:
        """Set up; after `rows` rows a stream's level stays."""
        self._rows = rows
        self.columns = (
            Column("level_rows", np.int32),
            Column("level_mean", np.float64, (features,)),
            Column("level_squares", np.float64, (features,)),
            Column("level_count", np.int32, (features,)),
        )

    def settled(self, table: StreamTable, slots: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which streams' levels stay as they are."""
        found: NDArray[np.bool_] = table["level_rows"][slots] >= self._rows
        return found

    def learn(self, table: StreamTable, slots: NDArray[np.int32], values: NDArray[np.float32], fresh: int) -> None:
        """Take the last `fresh` rows of one window `(n, L, F)` of each of distinct streams; all of a stream's first."""
        length = values.shape[1]
        rows = table["level_rows"]
        begin = np.where(rows[slots] == 0, 0, length - fresh)
        for row in range(int(begin.min(initial=length)), length):
            at = slots[begin <= row]
            self._row(table, at, values[begin <= row, row].astype(np.float64))
        rows[slots] += (length - begin).astype(np.int32)

    @staticmethod
    def _row(table: StreamTable, slots: NDArray[np.int32], values: NDArray[np.float64]) -> None:
        """Take one row of each stream (Welford's way)."""
        present = ~np.isnan(values)
        count = table["level_count"][slots] + present
        d = np.where(present, values - table["level_mean"][slots], 0.0)
        mean = table["level_mean"][slots] + d / np.maximum(count, 1)
        table["level_squares"][slots] += d * np.where(present, values - mean, 0.0)
        table["level_mean"][slots] = mean
        table["level_count"][slots] = count

    def units(self, table: StreamTable, slots: NDArray[np.int32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return scale and offset `(n, F)` that lead back to raw units."""
        spread = np.sqrt(table["level_squares"][slots] / np.maximum(table["level_count"][slots], 1))
        return (spread + _TINY).astype(np.float32), table["level_mean"][slots].astype(np.float32)

    def apply(self, table: StreamTable, slots: NDArray[np.int32], values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return windows `(n, L, F)` in units of their streams; a missing value becomes 0, the stream's mean."""
        mean = table["level_mean"][slots][:, None, :]
        spread = np.sqrt(table["level_squares"][slots] / np.maximum(table["level_count"][slots], 1))
        scaled = np.clip((values - mean) / (spread + _TINY)[:, None, :], -CLIP, CLIP)
        return np.where(np.isnan(scaled), 0.0, scaled).astype(np.float32)
