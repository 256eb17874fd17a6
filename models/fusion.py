"""Fusion: one number for what several voices say of a window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.detector import Fusion


def fused(said: NDArray[np.float64], how: Fusion, speakers: Sequence[int]) -> NDArray[np.float64]:
    """Return one number `(n,)` for what voices say `(n, V)`; voices one after the other, whatever n is.

    `speakers` has the member of each voice.
    """
    if how == "max":
        loudest: NDArray[np.float64] = said.max(axis=1)
        return loudest
    total = np.zeros(len(said))
    if how == "mean_of_members":
        for number, speaker in enumerate(speakers):
            total += said[:, number] / (speakers.count(speaker) * len(set(speakers)))
        return total
    squares = how == "root_mean_square"
    for number in range(said.shape[1]):
        voice = said[:, number]
        total += np.square(np.maximum(voice, 0.0)) if squares else voice
    total /= said.shape[1]
    return np.sqrt(total) if squares else total
