"""Several things of one stream in a batch: taken round by round, one of each stream at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monitor.window.rows import group_starts


def rounds(slots: NDArray[np.int32]) -> Sequence[NDArray[np.intp]]:
    """Return positions in sorted `slots`, one of each stream at a time, each stream's in order."""
    if len(slots) == 0:
        return []
    places = np.arange(len(slots))
    starts = group_starts(slots)
    rank = places - np.repeat(starts, np.diff(np.append(starts, len(slots))))
    return [np.flatnonzero(rank == turn) for turn in range(int(rank.max()) + 1)]
