"""Codes of windows, and windows of codes: which windows stand for a recording, and what of it comes back.

A model knows the windows that production cuts, at their stride and place, and no others: so codes are only ever made
of those. Where windows overlap, a row has several reconstructions; the row that comes back is their mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models import export
from models.bundle import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from models.bundle import Bundle
    from models.cells import Cells
    from models.scaling import Scaling
    from models.serving import Model

_CELLS = 4_000_000  # cells of the windows held at a time: 16 MB
_GREATEST = float(np.finfo(np.float32).max)


def single(bundle: Bundle, what: str) -> None:
    """Refuse a bundle of several members: `what` needs one encoder and one decoder.

    Raises:
        BundleError: if the bundle has a detector.
    """
    if bundle.manifest.detector is not None:
        message = (
            f"bundle {bundle.path} is a detector of several members (train.preset quality), which have no code in"
            f" common: {what} needs a bundle of one autoencoder"
        )
        raise BundleError(message)


def fewest(starts: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return positions in `starts` of windows that cover every row that any of them covers, as few as there can be.

    Args:
        starts: `(W,)` first rows, strictly rising.
        length: rows of a window.
    """
    chosen: list[int] = []
    place, covered = 0, -1  # the last row that is covered
    while place < len(starts):
        # of the windows that leave no row out, the last one
        first = max(covered + 1, int(starts[place]))
        last = int(np.searchsorted(starts, first, side="right")) - 1
        chosen.append(max(last, place))
        covered = int(starts[chosen[-1]]) + length - 1
        place = max(chosen[-1] + 1, int(np.searchsorted(starts, covered - length + 1, side="right")))
    return np.array(chosen, np.int64)


def batches(windows: NDArray[np.int64], cells: int) -> Iterator[NDArray[np.int64]]:
    """Yield the positions in parts of bounded memory; a window has so many `cells`."""
    size = max(1, _CELLS // cells)
    for at in range(0, len(windows), size):
        yield windows[at : at + size]


class Overlap:
    """The mean of what windows say of each row.

    Attributes:
        count: `(N,)` int32, windows that cover the row.
    """

    def __init__(self, rows: int, features: int) -> None:
        """Begin without windows."""
        self.count = np.zeros(rows, np.int32)
        self._total = np.zeros((rows, features))

    def add(self, starts: NDArray[np.int64], windows: NDArray[np.float32]) -> None:
        """Take windows `(n, L, F)`, finite, that begin at these rows, each at another."""
        for row in range(windows.shape[1]):
            self._total[starts + row] += windows[:, row]
            self.count[starts + row] += 1

    def mean(self) -> NDArray[np.float32]:
        """Return `(N, F)`; NaN where no window covers the row."""
        with np.errstate(invalid="ignore"):
            return (self._total / np.where(self.count, self.count, np.nan)[:, None]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Loss:
    """What a recording lost on the way, over its present values; NaN where there is none.

    Attributes:
        error: mean squared difference in scaled units.
        baseline: the same with each feature's training mean in place of what came back.
        deviations: root mean squared difference of each feature in its own units.
    """

    error: float
    baseline: float
    deviations: tuple[float, ...]


def loss(actual: NDArray[np.float32], rebuilt: NDArray[np.float32], scaling: Scaling) -> Loss:
    """Compare rows `(N, F)` in raw units with what came back of them; where one of the two is NaN nothing counts."""
    known = ~(np.isnan(actual) | np.isnan(rebuilt))
    scale, mean = np.asarray(scaling.scale), np.asarray(scaling.mean)
    squares = np.where(known, np.square(actual.astype(np.float64) - rebuilt), 0)
    means = np.where(known, np.square(actual.astype(np.float64) - mean), 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        deviations = np.sqrt(squares.sum(axis=0) / known.sum(axis=0))
        error, baseline = (float((part / scale**2).sum() / np.float64(known.sum())) for part in (squares, means))
    return Loss(error, baseline, tuple(deviations.tolist()))


@dataclass(frozen=True, slots=True)
class Encoded:
    """Codes of windows, and the rows that come back of them.

    Attributes:
        codes: `(n, Z)` float32.
        rebuilt: `(N, F)` float32, raw units, a row for each of the recording; NaN where no window covers it.
    """

    codes: NDArray[np.float32]
    rebuilt: NDArray[np.float32]


def encode(model: Model, cells: Cells, windows: NDArray[np.int64]) -> Encoded:
    """Return the codes of the windows at these positions of `cells.starts`; a missing value counts as its mean."""
    length, features = model.bundle.manifest.window.length, cells.values.shape[1]
    size = model.bundle.manifest.members[0].hyperparameters.code_size
    back, codes = Overlap(len(cells.values), features), [np.zeros((0, size), np.float32)]
    for part in batches(windows, length * features):
        raw = cells.gather(part, length)
        codes.append(model.encode(raw))
        back.add(cells.starts[part], model.score(raw).reconstruction)
    return Encoded(np.concatenate(codes), back.mean())


class Decoder:
    """The decoder of a bundle, in raw units; it needs TensorFlow."""

    def __init__(self, bundle: Bundle) -> None:
        """Rebuild it from the manifest, and load its weights.

        Raises:
            BundleError: if the bundle has several members, or its weights are not as the manifest says.
            TrainingError: if TensorFlow is not installed.
        """
        single(bundle, "a decoder")
        self._manifest = bundle.manifest
        self._network = export.restore(bundle).decoder

    def decode(self, codes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return windows `(n, L, F)` float32 in raw units, finite, of codes `(n, Z)`, finite."""
        length, features = self._manifest.window.length, len(self._manifest.features)
        found = np.empty((len(codes), length, features), np.float32)
        scaling = self._manifest.scaling
        for part in batches(np.arange(len(codes)), length * features):
            scaled = np.asarray(self._network.predict(codes[part], batch_size=256, verbose=0), np.float64)
            found[part] = np.clip(scaled * scaling.scale + scaling.offset, -_GREATEST, _GREATEST)
        return found
