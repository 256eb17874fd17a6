"""Views: what one member of a detector sees of a window.

The window stage hands out windows of one length. A member may look at their last rows only, at means of several rows
(a coarser time scale with a longer reach), and without the window's own level:

* `level`: values as they are.
* `centred`: each feature without its mean over the view: shapes of each sensor, whatever its level.
* `joint`: all entries of the view (rows × features) without their common mean, divided by their common deviation.
  Measured on spacecraft telemetry this finds most; dividing each feature by its own deviation finds least, because
  what never moves in training then outshouts everything else.

Sums go row after row and feature after feature, so that no bit depends on how many windows come in one call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from numpy.typing import NDArray

Form = Literal["level", "centred", "joint"]

LEAST_DEVIATION = 0.01
"""Added to the deviation of a joint view, in the units of the values: a flat window is not blown up."""


class View(BaseModel):
    """What a member sees.

    Attributes:
        rows: rows of the view.
        step: rows of the window that are averaged into one row of the view.
        form: how the view is normalised.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int = Field(ge=1)
    step: int = Field(default=1, ge=1)
    form: Form = "level"

    @property
    def reach(self) -> int:
        """Rows of the window that the view is made from, the last ones."""
        return self.rows * self.step

    def apply(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the views `(n, rows, F)` of windows `(n, L, F)`, L ≥ `reach`, without NaN."""
        return self._normal(self._seen(windows))[0]

    def restore(self, windows: NDArray[np.float32], rebuilt: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return reconstructions `(n, rows, F)` of the views of these windows in the windows' own units."""
        _, centre, spread = self._normal(self._seen(windows))
        return rebuilt * spread + centre

    def _seen(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the rows of the view, in the windows' units."""
        if windows.shape[1] < self.reach:
            message = f"a view of {self.reach} rows needs windows of as many, these have {windows.shape[1]}"
            raise ValueError(message)
        last = windows[:, windows.shape[1] - self.reach :]
        if self.step == 1:
            return np.ascontiguousarray(last)
        seen = last[:, :: self.step].copy()
        for row in range(1, self.step):
            seen += last[:, row :: self.step]
        seen /= np.float32(self.step)
        return seen

    def _normal(
        self, seen: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return the view, and the centre and spread that it was freed of, to be broadcast."""
        one = np.ones((1, 1, 1), np.float32)
        if self.form == "level":
            return seen, 0 * one, one
        centre = (_rows(seen) / np.float32(self.rows))[:, None, :]
        if self.form == "centred":
            return seen - centre, centre, one
        middle = (_features(centre[:, 0]) / np.float32(seen.shape[2]))[:, None, None]
        moved = seen - middle
        variance = _features(_rows(moved * moved)) / np.float32(self.rows * seen.shape[2])
        spread = (np.sqrt(variance) + np.float32(LEAST_DEVIATION))[:, None, None]
        return moved / spread, middle, spread


def _rows(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sum of `(n, V, F)` over the rows, `(n, F)`, one row after the other."""
    total = values[:, 0].copy()
    for row in range(1, values.shape[1]):
        total += values[:, row]
    return total


def _features(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sum of `(n, F)` over the features, `(n,)`, one after the other."""
    total = values[:, 0].copy()
    for feature in range(1, values.shape[1]):
        total += values[:, feature]
    return total
