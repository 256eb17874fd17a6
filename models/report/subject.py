"""A bundle, and the scored windows of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.base import Networks
    from models.bundle import Bundle, Manifest
    from models.cells import Cells
    from models.serving import Model


@dataclass(frozen=True)
class Subject:
    """What a report looks at.

    Attributes:
        bundle: the bundle.
        model: its model.
        recording: what the recording is called.
        cells: rows, windows and labels of it.
        streams: ids by the index in `cells.stream`.
        windows: `(n,)` positions in `cells.starts` of the scored windows, rising, n ≥ 1.
        score: `(n,)` their scores, finite.
        line: the line that a new stream begins with.
        labels: whether the recording has labels.
    """

    bundle: Bundle
    model: Model
    recording: str
    cells: Cells
    streams: tuple[str, ...]
    windows: NDArray[np.int64]
    score: NDArray[np.float64]
    line: float
    labels: bool

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self.bundle.manifest

    @property
    def name(self) -> str:
        """What the bundle's folder is called."""
        return self.bundle.path.resolve().name

    @property
    def kind(self) -> str:
        """The kind of autoencoder, or `detector` for several members."""
        return self.manifest.members[0].kind if self.single else "detector"

    @property
    def single(self) -> bool:
        """Whether the bundle is one autoencoder: what it rebuilds and its codes can be shown."""
        return self.manifest.detector is None

    @property
    def length(self) -> int:
        """Rows of a window."""
        return self.manifest.window.length

    @cached_property
    def label(self) -> NDArray[np.bool_]:
        """`(n,)` whether a label touches each window."""
        return self.cells.touched(self.cells.label, self.length)[self.windows]

    @cached_property
    def owner(self) -> NDArray[np.int32]:
        """`(n,)` index of each window's stream."""
        return self.cells.stream[self.cells.starts[self.windows]]

    @cached_property
    def end(self) -> NDArray[np.int64]:
        """`(n,)` ms, time of each window's last row."""
        return self.cells.time[self.cells.starts[self.windows] + self.length - 1]

    @cached_property
    def networks(self) -> Networks:
        """The bundle's networks, with their weights.

        Raises:
            BundleError: if they are not as the manifest says.
        """
        from models import export

        return export.restore(self.bundle)

    def gather(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the windows `(k, L, F)` at these places of `windows`, raw units, NaN = missing."""
        return self.cells.gather(self.windows[places], self.length)

    def called(self, place: int) -> str:
        """Return stream and end of a window, for a title."""
        stream = self.streams[int(self.owner[place])]
        short = stream if len(stream) <= 40 else f"{stream[:39]}…"  # noqa: PLR2004 - a title's worth
        return f"{short}, until {moment(int(self.end[place]))}"


def moment(time: int) -> str:
    """Return a time in ms as text, to the second."""
    return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def picked(count: int, most: int) -> NDArray[np.int64]:
    """Return at most `most` of `count` positions, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
