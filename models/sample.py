"""The training windows of a detector, as its members see them: scaled, no NaN, none with a labelled row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.cells import Cells, TrainingError, scorable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.bundle import WindowShape
    from models.roster import Scale
    from models.scaling import Scaling

MOST_WINDOWS = 40_000
"""Windows that members are trained and calibrated on at most, evenly spread."""

LEAST_WINDOWS = 40
"""Fewer tell nothing of the spread of an error."""

HELD_OUT = 0.3
"""Share of each stream's windows, the newest, that a linear member is not fitted to while it is calibrated."""

_CLIP = {"stream": 20.0, "standard": 10.0, "raw": np.inf}


@dataclass(frozen=True)
class Sample:
    """Training windows as members see them.

    Attributes:
        windows: `(n, L, F)` float32, scaled, no NaN.
        stream: `(n,)` int32.
        late: `(n,)` bool, the newest of each stream.
        units: `(n, 1, F)`, how many raw units a scaled one is.
        usable: `(m,)` places in `Cells.starts` of all windows that these were drawn from.
    """

    windows: NDArray[np.float32]
    stream: NDArray[np.int32]
    late: NDArray[np.bool_]
    units: NDArray[np.float32]
    usable: NDArray[np.int64]


def draw(cells: Cells, window: WindowShape, scale: Scale, standard: Scaling) -> Sample:
    """Return windows without labelled rows, scaled as the detector will scale them.

    Raises:
        TrainingError: if there are too few.
    """
    length = window.length
    usable = np.flatnonzero(~cells.touched(cells.label, length) & scorable(cells, window, cells.values.shape[1]))
    if len(usable) < LEAST_WINDOWS:
        message = (
            f"{len(usable)} usable windows of {length} rows are too few for the preset quality, {LEAST_WINDOWS} are"
            " needed (labelled ones and those above window.max_missing do not count)"
        )
        raise TrainingError(message)
    drawn = usable[np.unique(np.linspace(0, len(usable) - 1, min(len(usable), MOST_WINDOWS)).round().astype(np.int64))]
    owner = cells.stream[cells.starts[drawn]]
    windows = cells.gather(drawn, length)
    units = np.broadcast_to(np.asarray(standard.scale, np.float32), (len(windows), 1, windows.shape[2])).copy()
    if scale == "stream":
        for stream in np.unique(owner):
            own = cells.values[(cells.stream == stream) & ~cells.label].astype(np.float64)
            mean, deviation = np.nanmean(own, axis=0), np.nanstd(own, axis=0)
            rows = owner == stream
            windows[rows] = (windows[rows] - mean) / (deviation + 1e-9)
            units[rows] = deviation + 1e-9
        windows = np.where(np.isnan(windows), 0.0, windows)
        windows = np.clip(windows, -_CLIP[scale], _CLIP[scale]).astype(np.float32)
    else:
        windows = scaled(windows, scale, standard)
    _, first, count = np.unique(owner, return_index=True, return_counts=True)
    place = np.arange(len(owner)) - np.repeat(first, count)
    late = place >= (1 - HELD_OUT) * np.repeat(count, count)
    return Sample(windows, owner, late, units, usable)


def scaled(windows: NDArray[np.float32], scale: Scale, standard: Scaling) -> NDArray[np.float32]:
    """Return windows `(n, L, F)` in units that are the same for all streams; what is missing is usual."""
    found = standard.apply(windows)
    found = np.where(np.isnan(found), standard.missing(), found)
    return np.clip(found, -_CLIP[scale], _CLIP[scale]).astype(np.float32)
