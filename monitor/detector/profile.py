"""`profile`: what a stream's hour of the day usually looks like, and its hour of a working day or of a weekend.

24 bins of the hour (UTC), each an exponentially weighted mean (half-life 7 days); what is expected is the straight line
between the middles of two bins. Beside these stand 24 bins of Mondays to Fridays and 24 of Saturdays and Sundays. They
are asked in place of the common ones once 14 days have passed, while they have lately (half-life 7 days) been nearer to
what came. The log of the squared deviation is one more voice, which counts only where the hour explained something
while the stream was new (R² > 0 in the second half of its first rows). Measured on NAB: the hour brings 4 points, the
kind of day another 0.8.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monitor.table import Column, StreamTable

BINS = 24
DAY_MS = 86_400_000
KNOWN_DAYS = 14
"""Days after which the kind of day may be asked: each has come twice."""

_DAYS = 7.0
_SHARE = np.array([1.0, 5 / 7, 2 / 7])  # of all days: all, working days, weekends
_EPOCH = 4  # 1970-01-01 was a Thursday; Sunday is 0
_SATURDAY = 6
_CLIP = 3.0
_SETTLED = 5
"""Rows after which a bin is no longer moved by all of an outlier."""

_LEAST = 1e-4


class Profile:
    """One level a stream (the first feature's, in the stream's units) over the hours of the day."""

    def __init__(self, learning: int, windows_per_day: float) -> None:
        """Set up.

        Args:
            learning: windows in which it is found out whether the profile explains anything.
            windows_per_day: of a stream; a bin's share of them is its half-life's measure.
        """
        self._learning = learning
        self._a = np.array([_rate(_DAYS * windows_per_day / BINS * share) for share in _SHARE])
        self._compared = _rate(_DAYS * windows_per_day)
        self.columns = (
            Column("profile_mean", np.float32, (3, BINS)),  # of all days, of working days, of weekends
            Column("profile_rows", np.uint16, (3, BINS)),
            Column("profile_off", np.float32, (2,)),  # deviations lately: by the hour alone, by the kind of day too
            Column("profile_since", np.int64),  # end of the first window
            Column("profile_seen", np.int64),
            Column("profile_left", np.float64),  # squares that the profile leaves
            Column("profile_all", np.float64),  # squares without it
        )

    def step(
        self, table: StreamTable, slots: NDArray[np.int32], level: NDArray[np.float64], end: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the log error of `level` `(n,)` at `end` `(n,)` ms of distinct streams, and where it counts; learn."""
        means = table["profile_mean"]
        at = (end % DAY_MS) * (BINS / DAY_MS)
        own = at.astype(np.int64)
        before = np.floor(at - 0.5).astype(np.int64)
        share = at - 0.5 - before
        weekday = (end // DAY_MS + _EPOCH) % 7
        kind = np.where((weekday == 0) | (weekday == _SATURDAY), 2, 1)
        left, right = before % BINS, (before + 1) % BINS
        error, kind_error = (
            level - ((1 - share) * means[slots, which, left] + share * means[slots, which, right])
            for which in (np.zeros_like(kind), kind)
        )
        seen = table["profile_seen"][slots]
        since = np.where(seen == 0, end, table["profile_since"][slots])
        off = table["profile_off"][slots]
        known = (end - since >= KNOWN_DAYS * DAY_MS) & (off[:, 1] < off[:, 0])
        told = np.where(known, kind_error, error)
        judged = (seen >= self._learning // 2) & (seen < self._learning)
        table["profile_left"][slots] += np.where(judged, error * error, 0.0)
        table["profile_all"][slots] += np.where(judged, level * level, 0.0)
        counts = (seen >= self._learning) & (table["profile_left"][slots] < table["profile_all"][slots])
        both = np.abs(np.stack([error, kind_error], axis=1))
        weekly = (end - since >= KNOWN_DAYS // 2 * DAY_MS)[:, None]
        table["profile_off"][slots] = np.where(weekly, off + self._compared * (both - off), off)
        for which in (np.zeros_like(kind), kind):
            self._learn(table, slots, which, own, level, seen >= self._learning)
        table["profile_since"][slots], table["profile_seen"][slots] = since, seen + 1
        return np.log(told * told + _LEAST), counts

    def _learn(
        self,
        table: StreamTable,
        slots: NDArray[np.int32],
        which: NDArray[np.int64],
        own: NDArray[np.int64],
        level: NDArray[np.float64],
        careful: NDArray[np.bool_],
    ) -> None:
        """Move one bin of each stream towards its level."""
        means, counts = table["profile_mean"], table["profile_rows"]
        rows = np.minimum(counts[slots, which, own], np.uint16(65_534)) + np.uint16(1)
        mean = means[slots, which, own].astype(np.float64)
        move = level - mean
        move = np.where(careful & ((which == 0) | (rows > _SETTLED)), np.clip(move, -_CLIP, _CLIP), move)
        means[slots, which, own] = mean + np.maximum(self._a[which], 1 / rows) * move
        counts[slots, which, own] = rows


def _rate(windows: float) -> float:
    """Return the weight of a new value with this half-life, 1 at least."""
    return float(1 - 0.5 ** (1 / max(1.0, windows)))
