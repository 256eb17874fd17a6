"""The rows and windows of a recording as arrays, and what is wrong with them in one readable line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.bundle import WindowShape


class TrainingError(Exception):
    """Nothing can be trained from this; the message is one line that says what to change."""


@dataclass(frozen=True)
class Cells:
    """The used rows of all streams, stream after stream, each in order of time.

    Attributes:
        values: `(N, F)` float32 in raw units, NaN = missing.
        stream: `(N,)` int32, index of the row's stream in order of first appearance.
        time: `(N,)` int64, event time in ms since 1970.
        starts: `(W,)` int64, the first row of every window; window i is the rows `starts[i]` to `starts[i] + length -
            1`, all of one stream. Windows of a stream are in order of time.
        label: `(N,)` bool, True where the row is labelled anomalous.
    """

    values: NDArray[np.float32]
    stream: NDArray[np.int32]
    time: NDArray[np.int64]
    starts: NDArray[np.int64]
    label: NDArray[np.bool_]

    def gather(self, windows: NDArray[np.int64], length: int) -> NDArray[np.float32]:
        """Return the windows of the positions `windows` in `starts`: `(n, length, F)` float32, raw units, a copy."""
        gathered: NDArray[np.float32] = self.values[self.starts[windows, None] + np.arange(length)]
        return gathered

    def touched(self, rows: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
        """Return for every window whether one of its rows is among `rows` `(N,)`."""
        return self.counted(rows, length) > 0

    def covered(self, windows: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
        """Return for every row `(N,)` whether one of the windows at these positions of `starts` has it."""
        steps = np.zeros(len(self.values) + 1, np.int64)
        np.add.at(steps, self.starts[windows], 1)
        np.add.at(steps, self.starts[windows] + length, -1)
        inside: NDArray[np.bool_] = np.cumsum(steps[:-1]) > 0
        return inside

    def counted(self, numbers: NDArray[np.bool_] | NDArray[np.integer], length: int) -> NDArray[np.int64]:
        """Return for every window the sum of `numbers` `(N,)` over its rows."""
        total = np.concatenate([np.zeros(1, np.int64), np.cumsum(numbers, dtype=np.int64)])
        counts: NDArray[np.int64] = total[self.starts + length] - total[self.starts]
        return counts


def check(cells: Cells, window: WindowShape, features: tuple[str, ...]) -> None:
    """Refuse cells that are not what `Cells` says, with these features and windows.

    Raises:
        TrainingError: on a wrong shape or order, an infinite value, a window that leaves its stream, or no window.
    """
    rows = len(cells.values)
    if cells.values.ndim != 2 or cells.values.shape[1] != len(features):  # noqa: PLR2004 - rows and features
        message = (
            f"the rows have the shape {cells.values.shape}, (rows, {len(features)}) is needed: one column a feature"
        )
        raise TrainingError(message)
    for name, column in (("stream", cells.stream), ("time", cells.time), ("label", cells.label)):
        if column.shape != (rows,):
            message = f"{name} has the shape {column.shape}, ({rows},) is needed: one entry a row"
            raise TrainingError(message)
    if cells.starts.ndim != 1 or len(cells.starts) == 0:
        message = (
            f"{rows} rows make no window of {window.length} rows: record more, or set window.length lower"
            " (gaps restart a window; window.max_gap fills short ones)"
        )
        raise TrainingError(message)
    last = cells.starts + window.length - 1
    if cells.starts.min() < 0 or last.max() >= rows or np.any(cells.stream[cells.starts] != cells.stream[last]):
        message = f"a window of {window.length} rows leaves its stream: its start is wrong, or window.length is"
        raise TrainingError(message)
    if np.any(np.diff(cells.starts) <= 0) or np.any(np.diff(cells.stream) < 0):
        message = "rows must come stream after stream, and windows in the order of their first rows"
        raise TrainingError(message)
    infinite = np.isinf(cells.values).any(axis=0)
    if infinite.any():
        message = f"feature {features[int(infinite.argmax())]!r} has infinite values: leave them out (null) instead"
        raise TrainingError(message)


def scorable(cells: Cells, window: WindowShape, columns: int) -> NDArray[np.bool_]:
    """Return for every window whether it can be scored: no more than `max_missing` is missing, and not all."""
    missing = cells.counted(np.isnan(cells.values).sum(axis=1), window.length)
    cells_each = window.length * columns
    return (missing <= window.max_missing * cells_each) & (missing < cells_each)
