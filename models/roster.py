"""Which members a detector gets: a rule that looks at the training rows alone.

* One feature: the stream's own level and spread, windows of 16 rows at two time scales, the hour of the day, new
  extremes. A fleet's networks have the plain Gaussian beside them; a model for one single stream does not (on NAB the
  Gaussian adds 1.4 points to the fleet's and costs a single stream's 2). One stream's first rows are too few to decide
  when to stop: its own network takes the same steps whatever the newest tenth of them says. That network
  has two voices, and the fleet's coarse one beside it, which saw far more windows, counts as much as both.
* Several features within ±2 (telemetry that somebody has scaled): raw units, shapes: windows that are centred or
  normalised jointly.
* Several features in units of their own (process data): each feature's own scale, levels, residuals measured against
  their covariance.

Measured beside each other in tests/quality/RESULTS.md. What could not be found is a rule for data that are both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from models.detector import Fusion
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
        defaults: settings of `train` that suit this network where the user leaves them open.
        shared: whether a single stream's bundle is better off with the fleet's one than with its own.
    """

    name: str
    kind: Literal["network", "linear", "gaussian"]
    view: View
    forms: tuple[Form, ...]
    variance: float = 0.95
    defaults: Mapping[str, Any] = field(default_factory=dict)
    shared: bool = False


@dataclass(frozen=True)
class Roster:
    """Members to be, and what goes with them; the fields are those of `models.detector.Detector`."""

    scale: Scale
    short: int
    profile: bool
    extreme: bool
    members: tuple[Recruit, ...]
    gain: float = 1.0
    fuse: Fusion = "mean"

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
        return replace(self, members=fitting)


_COARSE = View(rows=16, step=4)
_FINE = View(rows=16)

_QUICK: Mapping[str, Any] = {"learning_rate": 0.005, "batch_size": 64, "epochs": 30, "nodes": 16, "code_size": 4}
_STEADY: Mapping[str, Any] = {**_QUICK, "schedule": "cosine"}
_SHARED: Mapping[str, Any] = {**_QUICK, "learning_rate": 0.003, "batch_size": 128, "nodes": 32}

SINGLE = Roster(
    "stream",
    8,
    profile=True,
    extreme=True,
    members=(
        Recruit("fine", "network", _FINE, ("distance", "last_rows"), defaults=_STEADY),
        Recruit("coarse", "network", _COARSE, ("distance",), defaults=_SHARED, shared=True),
    ),
    gain=1.2,
    fuse="mean_of_members",
)
FLEET = Roster(
    "stream",
    8,
    profile=True,
    extreme=True,
    members=(
        Recruit("fine", "network", _FINE, ("distance", "last_rows"), defaults=_SHARED),
        Recruit("coarse", "network", _COARSE, ("distance",), defaults=_SHARED),
        Recruit("gauss", "gaussian", _FINE, ("distance", "innovation")),
        Recruit("gauss_coarse", "gaussian", _COARSE, ("distance",)),
    ),
    gain=1.3,
    fuse="root_mean_square",
)
TELEMETRY = Roster(
    "raw",
    1,
    profile=False,
    extreme=False,
    members=(
        Recruit("level", "linear", View(rows=30), ("summary",)),
        Recruit(
            "joint",
            "network",
            View(rows=40, form="joint"),
            ("mean_square",),
            defaults={**_QUICK, "nodes": 32, "code_size": 12, "epochs": 12},
        ),
        Recruit("centred", "linear", View(rows=40, form="centred"), ("mean_square",)),
        Recruit("centred_long", "linear", View(rows=64, form="centred"), ("mean_square",)),
    ),
    gain=0.9,
    fuse="root_mean_square",
)
PROCESS = Roster(
    "standard",
    1,
    profile=False,
    extreme=False,
    members=(
        Recruit("level", "linear", View(rows=30), ("summary",), variance=0.9),
        Recruit("short", "network", View(rows=10), ("summary",), defaults=_SHARED, shared=True),
    ),
    gain=0.97,
)


def choose(values: NDArray[np.float32], streams: int) -> Roster:
    """Return the members for training rows `(N, F)`, raw units, of so many streams."""
    if values.shape[1] == 1:
        return SINGLE if streams == 1 else FLEET
    return TELEMETRY if float(np.nanmax(np.abs(values))) <= SCALED else PROCESS
