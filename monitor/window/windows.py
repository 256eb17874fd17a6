"""Windows: the columns that the window stage hands to the scorer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of one input partition, sorted by slot, within a slot in the order in which they became due.

    Attributes:
        slot: `(n,)` int32.
        values: `(n, L, F)` float32, raw units; NaN = missing.
        start: `(n,)` int64 ms, time of the first record, or start of the first cell.
        end: `(n,)` int64 ms, time of the last record, or end of the last cell.
        low: `(n,)` int64, smallest offset of a record in the window.
        high: `(n,)` int64, largest offset of a record in the window: the window's offset.
        due: `(n,)` int64, offset of the record that made the window due.
        missing: `(n,)` float64, share of missing and filled values in L × F.
        restarted: `(n,)` bool, True for the first window of its stream since the window began anew.
    """

    slot: NDArray[np.int32]
    values: NDArray[np.float32]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    due: NDArray[np.int64]
    missing: NDArray[np.float64]
    restarted: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.slot)

    @classmethod
    def none(cls, length: int, features: int) -> Windows:
        """Return no windows."""
        times = np.zeros(0, np.int64)
        return cls(
            np.zeros(0, np.int32),
            np.zeros((0, length, features), np.float32),
            times,
            times,
            times,
            times,
            times,
            np.zeros(0, np.float64),
            np.zeros(0, np.bool_),
        )
