"""A model without a network, for properties that hold for every model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.threshold import Prior


@dataclass
class LevelScores:
    """Scores, errors and reconstruction."""

    score: NDArray[np.float32]
    errors: NDArray[np.float32]
    reconstruction: NDArray[np.float32]


class LevelModel:
    """Expects zero everywhere: the score is the mean square of what is present."""

    def score(self, windows: NDArray[np.float32]) -> LevelScores:
        """Score `(n, L, F)` windows."""
        square = np.where(np.isnan(windows), 0, windows.astype(np.float64) ** 2)
        present = ~np.isnan(windows)
        errors = square.sum(axis=1) / np.maximum(present.sum(axis=1), 1)
        score = square.sum(axis=(1, 2)) / np.maximum(present.sum(axis=(1, 2)), 1)
        return LevelScores(score.astype(np.float32), errors.astype(np.float32), np.zeros_like(windows))


PRIOR = Prior(
    log_mean=0.0,
    log_variance=1.0,
    quantiles=[(0.5, 1.0), (0.9, 3.6), (0.99, 10.0), (0.999, 22.0)],
    windows_per_stream=40.0,
    windows_per_day=200.0,
)
