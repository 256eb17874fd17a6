"""How many records a poll may bring: as many as are worked off within about a second.

While the records of a poll are worked on, nothing is committed, no signal is heeded and no watchdog is told: with a
model that takes a millisecond a window, a poll of the size that is best for a fast one would take half a minute.
"""

from __future__ import annotations

SECONDS = 1.0
"""What the work on a poll may take."""

_FIRST = 4_000
_LEAST = 100
_GROWTH = 2


class Pace:
    """Finds the size of a poll from what the last ones took.

    Only the work counts, not the commit: that costs the same for few records, and more of them would be needed.

    Attributes:
        most: how many records the next poll may bring; begins low, since nothing is known of the work yet.
    """

    def __init__(self, limit: int) -> None:
        """Never let a poll bring more than `limit` records."""
        self._limit = limit
        self.most = min(_FIRST, limit)

    def cap(self, records: int) -> None:
        """Never let a poll bring more than so many, either: the first windows may come all at once."""
        self._limit = max(1, min(self._limit, records))
        self.most = min(self.most, self._limit)

    def worked(self, records: int, seconds: float) -> None:
        """Learn what the work on a poll took; one that was not nearly full says nothing about larger ones."""
        if seconds > SECONDS:
            self.most = min(self._limit, max(_LEAST, int(records * SECONDS / seconds)))
        elif 2 * records >= self.most:
            self.most = min(self._limit, int(self.most * min(_GROWTH, SECONDS / max(seconds, 1e-6))))
