"""Chunks: the few numbers of windows that a graph is run on, and the running of them in one thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

CHUNKS = (1, 2, 4, 8, 16, 32)
"""The chunk sizes that are tried. An LSTM was measured fastest with 32 windows; larger chunks leave the cache."""

PROBES = 37
"""Windows that the sizes are compared on; not a multiple of any, so that padding is compared too."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model says of n windows.

    Attributes:
        score: `(n,)` float32, mean error of the window's present cells; 0 if it has none.
        errors: `(n, F)` float32, mean error of each feature's present cells; 0 if it has none.
        reconstruction: `(n, L, F)` float32 in raw units, of every cell, also missing ones.
    """

    score: NDArray[np.float32]
    errors: NDArray[np.float32]
    reconstruction: NDArray[np.float32]

    def same(self, other: Scores) -> NDArray[np.bool_]:
        """Return for every window whether all figures are equal to the last bit."""
        equal: NDArray[np.bool_] = self.score == other.score
        equal &= (self.errors == other.errors).all(axis=1)
        equal &= (self.reconstruction == other.reconstruction).all(axis=(1, 2))
        return equal

    def repeated(self, count: int) -> Scores:
        """Return the figures of so many windows, these again and again."""
        return Scores(*(repeated(column, count) for column in (self.score, self.errors, self.reconstruction)))


def repeated(rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return so many rows, the same again and again."""
    return np.resize(rows, (count, *rows.shape[1:]))


Call = Callable[["NDArray[np.float32]", "Scores", int, int], None]
"""Runs the first windows of an array, contiguous `(n, L, F)`: their figures go into the scores, from a window on. The
last argument is how many. One thread at a time may call it."""


class Lane:
    """What one thread runs a graph with: the engine, and room for a chunk that is not full."""

    def __init__(self, call: Call, spare: Scores) -> None:
        """Have room for as many windows as `spare` has."""
        self._call, self._spare = call, spare
        self._padded = np.zeros_like(spare.reconstruction)

    def run(
        self,
        windows: NDArray[np.float32],
        scores: Scores,
        part: tuple[int, int],
        largest: int,
        covers: Sequence[Sequence[int]],
    ) -> None:
        """Run a part of the windows in chunks; results are written where they belong, without a copy.

        Args:
            windows: `(n, L, F)`, contiguous.
            scores: room for the figures of all n.
            part: the first of the windows that are meant, and the first that is not.
            largest: size of the chunks that are full.
            covers: for each number of windows below it, the chunks that they go through; only the last may be padded.
        """
        start, stop = part
        sizes = [largest] * ((stop - start) // largest)
        for size in (*sizes, *covers[(stop - start) % largest]):
            rest = stop - start
            if size <= rest:
                self._call(windows[start : start + size], scores, start, size)
            else:
                self._padded[:rest], self._padded[rest:size] = windows[start:stop], windows[stop - 1]
                self._call(self._padded, self._spare, 0, size)
                scores.score[start:stop] = self._spare.score[:rest]
                scores.errors[start:stop] = self._spare.errors[:rest]
                scores.reconstruction[start:stop] = self._spare.reconstruction[:rest]
            start += size


def covers(seconds: Mapping[int, float]) -> list[tuple[int, ...]]:
    """Return for each number of windows below the largest chunk the chunks that take them in the least time.

    Args:
        seconds: time of a call with a chunk of each size.

    Returns:
        Sizes, falling. All but the last are full: else the cover without the last would do, in less time.
    """
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for count in range(1, max(seconds)):
        ways = []
        for size, alone in seconds.items():
            rest, sizes = best[max(0, count - size)]
            ways.append((alone + rest, tuple(sorted((size, *sizes), reverse=True))))
        best.append(min(ways))
    return [sizes for _, sizes in best]
