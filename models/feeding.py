"""Batches of scaled windows, gathered by index when training asks for them: a recording is never held as windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from models.cells import Cells
    from models.scaling import Scaling

LEAST_STEPS = 50
"""An epoch has at least so many steps; few windows are gone through several times in it."""

MOST_STEPS = 2000
"""An epoch has at most so many steps; many windows are gone through in several epochs."""


class Feed:
    """Scaled windows of one part, by batch.

    A batch is a pair `(inputs, targets)` of float32 `(b, L, F)`: in the inputs a missing cell is the feature's
    training mean, in the targets it is NaN, which gives it no weight in the loss.
    """

    def __init__(self, cells: Cells, windows: NDArray[np.int64], length: int, scaling: Scaling, batch: int) -> None:
        """Feed the windows at the positions `windows` of `cells.starts`, `batch` at a time."""
        self.cells, self.windows, self.length, self.scaling, self.batch = cells, windows, length, scaling, batch
        self._missing = scaling.missing()

    def take(self, windows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the pair of the windows at these positions of `cells.starts`."""
        targets = self.scaling.apply(self.cells.gather(windows, self.length))
        return np.where(np.isnan(targets), self._missing, targets), targets

    def once(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Go through all windows once, in their order."""
        for start in range(0, len(self.windows), self.batch):
            yield self.take(self.windows[start : start + self.batch])

    def inputs(self) -> Iterator[NDArray[np.float32]]:
        """Go through the inputs of all windows once, in their order."""
        return (inputs for inputs, _ in self.once())

    def steps(self) -> int:
        """Return the steps of an epoch."""
        return min(MOST_STEPS, max(LEAST_STEPS, -(-len(self.windows) // self.batch)))

    def order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Return the windows of one epoch in a drawn order, the same for the same seed and epoch.

        Every window comes equally often, up to one, and never twice before all others came; where there are more
        windows than an epoch has room for, the next epochs go on with the rest.
        """
        count = len(self.windows)
        wanted = min(MOST_STEPS * self.batch, max(LEAST_STEPS * self.batch, count))
        first, last = epoch * wanted, (epoch + 1) * wanted
        drawn = [
            np.random.default_rng([seed, number]).permutation(count)[max(0, first - number * count) :][
                : last - max(first, number * count)
            ]
            for number in range(first // count, -(-last // count))
        ]
        ordered: NDArray[np.int64] = self.windows[np.concatenate(drawn)]
        return ordered

    def passes(self) -> Any:  # noqa: ANN401 - a dataset; TensorFlow has no types
        """Return a `tf.data` dataset that goes through all windows once, in their order."""

        def batch(step: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            return self.take(self.windows[int(step) * self.batch : (int(step) + 1) * self.batch])

        return self._dataset(batch, 0, -(-len(self.windows) // self.batch))

    def epochs(self, seed: int, first: int = 0) -> Any:  # noqa: ANN401 - a dataset; TensorFlow has no types
        """Return a `tf.data` dataset of epoch after epoch without end, from the epoch `first` (from 0) on.

        An epoch has `steps` batches, the last of which can be smaller.
        """
        steps, drawn = self.steps(), (-1, self.windows)

        def batch(step: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            nonlocal drawn
            epoch, place = divmod(int(step), steps)
            if drawn[0] != epoch:
                drawn = epoch, self.order(seed, epoch)
            return self.take(drawn[1][place * self.batch : (place + 1) * self.batch])

        return self._dataset(batch, first * steps, np.iinfo(np.int64).max)

    def _dataset(self, batch: Any, first: int, end: int) -> Any:  # noqa: ANN401 - TensorFlow has no types
        """Return the batches of the steps from `first` to before `end`; two are made ahead."""
        import tensorflow as tf

        shape = tf.TensorShape([None, self.length, self.cells.values.shape[1]])

        def made(step: Any) -> Any:  # noqa: ANN401 - tensors
            pair = tf.numpy_function(batch, [step], (tf.float32, tf.float32))
            return tuple(tf.ensure_shape(part, shape) for part in pair)

        return tf.data.Dataset.range(first, end).map(made).prefetch(2)
