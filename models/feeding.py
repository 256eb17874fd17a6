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

    def steps(self) -> int:
        """Return the steps of an epoch."""
        return max(LEAST_STEPS, -(-len(self.windows) // self.batch))

    def order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Return the windows of one epoch in a drawn order, the same for the same seed and epoch.

        Every window comes equally often, up to one, and never twice before all others came.
        """
        random = np.random.default_rng([seed, epoch])
        wanted = max(LEAST_STEPS * self.batch, len(self.windows))
        rounds = -(-wanted // len(self.windows))
        drawn = np.concatenate([random.permutation(len(self.windows)) for _ in range(rounds)])[:wanted]
        ordered: NDArray[np.int64] = self.windows[drawn]
        return ordered

    def passes(self) -> Any:  # noqa: ANN401 - a Keras dataset; Keras has no types
        """Return a Keras dataset that goes through all windows once, in their order."""
        import keras

        feed = self

        class Pass(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
            """All windows once."""

            def __len__(self) -> int:
                return (len(feed.windows) + feed.batch - 1) // feed.batch

            def __getitem__(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
                return feed.take(feed.windows[step * feed.batch : (step + 1) * feed.batch])

        return Pass()

    def dataset(self, seed: int) -> Any:  # noqa: ANN401 - a Keras dataset; Keras has no types
        """Return the epochs as a Keras dataset."""
        import keras

        feed = self

        class Epochs(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
            """One epoch after the other, each in its own order."""

            def __init__(self) -> None:
                super().__init__(workers=1, use_multiprocessing=False)
                self.epoch = 0
                self.windows = feed.order(seed, 0)

            def __len__(self) -> int:
                return feed.steps()

            def __getitem__(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
                return feed.take(self.windows[step * feed.batch : (step + 1) * feed.batch])

            def on_epoch_end(self) -> None:
                self.epoch += 1
                self.windows = feed.order(seed, self.epoch)

        return Epochs()
