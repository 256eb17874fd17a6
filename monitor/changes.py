"""What has changed since the last commit: which slots the state's log must write."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Slots = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Changed:
    """Distinct slots, rising.

    Attributes:
        came_or_gone: streams that were admitted or dropped; the table says which of them are live now.
        touched: streams that used a record.
        decided: streams whose line or alert may have changed.
        refreshed: streams whose slow columns have changed.
    """

    came_or_gone: Slots
    touched: Slots
    decided: Slots
    refreshed: Slots


@dataclass(slots=True)
class Changes:
    """Collects slots from batch to batch, until they are taken."""

    _came_or_gone: list[NDArray[np.integer]] = field(default_factory=list)
    _touched: list[NDArray[np.integer]] = field(default_factory=list)
    _decided: list[NDArray[np.integer]] = field(default_factory=list)
    _refreshed: list[NDArray[np.integer]] = field(default_factory=list)
    kept: bool = False
    """Whether anybody takes them; off, nothing is collected."""

    @property
    def decided_anything(self) -> bool:
        """Whether something was noted that is not done again from the input alone: streams, lines, alerts."""
        return bool(self._came_or_gone or self._decided)

    def came_or_gone(self, slots: NDArray[np.integer]) -> None:
        """Note streams that were admitted or dropped."""
        if self.kept and len(slots):
            self._came_or_gone.append(slots)

    def touched(self, slots: NDArray[np.integer]) -> None:
        """Note streams that used a record."""
        if self.kept and len(slots):
            self._touched.append(slots)

    def decided(self, slots: NDArray[np.integer]) -> None:
        """Note streams whose line or alert may have changed."""
        if self.kept and len(slots):
            self._decided.append(slots)

    def refreshed(self, slots: NDArray[np.integer]) -> None:
        """Note streams whose slow columns (`Column.every`) have changed; their line has changed, too."""
        if self.kept and len(slots):
            self._refreshed.append(slots)

    def take(self) -> Changed:
        """Return what was collected, and begin anew."""
        every = (self._came_or_gone, self._touched, self._decided, self._refreshed)
        found = Changed(*(_distinct(collected) for collected in every))
        for collected in every:
            collected.clear()
        return found


def _distinct(parts: list[NDArray[np.integer]]) -> Slots:
    return np.unique(np.concatenate(parts)).astype(np.intp) if parts else np.zeros(0, np.intp)
