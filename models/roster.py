"""Which members a detector gets: a rule that looks at the training rows alone.

* One feature: the stream's own level and spread, windows of 16 rows at two time scales, the hour of the day, new
  extremes. With a model for every single stream the network takes the place of the plain Gaussian.
* Several features within ±2 (telemetry that somebody has scaled): raw units, shapes: windows that are centred or
  normalised jointly.
* Several features in units of their own (process data): each feature's own scale, levels, residuals measured against
  their covariance.

Measured beside each other in tests/quality/RESULTS.md. What could not be found is a rule for data that are both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from models.errors import Form
from models.view import View

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALED = 2.0
"""Values of several features that all lie within ± this have been scaled by somebody."""

Scale = Literal["stream", "standard", "raw"]


@dataclass(frozen=True)
class Recruit:
    """A member to be.

    Attributes:
        name: its name.
        kind: `network` (the kind that `train.kind` names), `linear` or `gaussian`.
        view: what it sees.
        forms: its voices.
        variance: share of the variance that a linear member keeps.
    """

    name: str
    kind: Literal["network", "linear", "gaussian"]
    view: View
    forms: tuple[Form, ...]
    variance: float = 0.95


@dataclass(frozen=True)
class Roster:
    """Members to be, and what goes with them."""

    scale: Scale
    short: int
    profile: bool
    extreme: bool
    members: tuple[Recruit, ...]

    def within(self, length: int) -> Roster:
        """Return the members whose views fit into windows of this length.

        Raises:
            ValueError: if none does.
        """
        fitting = tuple(member for member in self.members if member.view.reach <= length)
        if not fitting:
            least = min(member.view.reach for member in self.members)
            message = f"window.length is {length}: the preset quality needs {least} rows at least"
            raise ValueError(message)
        return Roster(self.scale, self.short, self.profile, self.extreme, fitting)


_COARSE = View(rows=16, step=4)
_FINE = View(rows=16)

ONE = Roster(
    "stream",
    8,
    profile=True,
    extreme=True,
    members=(
        Recruit("fine", "network", _FINE, ("distance", "last_rows")),
        Recruit("coarse", "network", _COARSE, ("distance",)),
        Recruit("gauss", "gaussian", _FINE, ("distance",)),
        Recruit("gauss_coarse", "gaussian", _COARSE, ("distance",)),
    ),
)
TELEMETRY = Roster(
    "raw",
    1,
    profile=False,
    extreme=False,
    members=(
        Recruit("level", "linear", View(rows=30), ("summary",)),
        Recruit("joint", "network", View(rows=40, form="joint"), ("mean_square",)),
        Recruit("centred", "linear", View(rows=40, form="centred"), ("mean_square",)),
        Recruit("centred_long", "linear", View(rows=64, form="centred"), ("mean_square",)),
    ),
)
PROCESS = Roster(
    "standard",
    1,
    profile=False,
    extreme=False,
    members=(
        Recruit("level", "linear", View(rows=30), ("summary",), variance=0.9),
        Recruit("short", "network", View(rows=10), ("summary",)),
    ),
)


def choose(values: NDArray[np.float32]) -> Roster:
    """Return the members for training rows `(N, F)`, raw units."""
    if values.shape[1] == 1:
        return ONE
    return TELEMETRY if float(np.nanmax(np.abs(values))) <= SCALED else PROCESS
