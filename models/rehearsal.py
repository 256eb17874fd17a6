"""Rehearsal: how high the training windows' own events stand, when a detector meets them in their order.

Training windows are normal, so what stands out of them is what a line has to lie above if alerts are to keep a budget.
Quantiles do not say it: a budget of one alert in ten days, a window a minute, is one in 14,400 windows, far beyond the
0.99 quantile that voices are calibrated on. So the calibration windows are played through the voices as a daemon will
do it, learning as they go, and the heights of their events are kept: the score that two windows in a row reach.
`monitor.threshold` begins above those that the budget does not allow for.

Only where the windows' units do not depend on the stream (`raw`, `standard`): of one feature, a stream's own level,
covariance, hours of the day and extremes are learned as it goes, and a bundle has only the first few hundred windows of
each. There the line begins where it did (measured on NAB: 1.19 times the budget).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.detector import Rehearsal
from models.fusion import fused
from models.strangeness import Strangeness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from models.detector import Fusion, Voice

LEAST = 0.36
"""Lower events are not kept: the line of a budget begins no lower."""

MOST = 1000
"""The highest events that are kept."""

_IN_A_ROW = 2
_APART = 150


def rehearse(
    logs: NDArray[np.float64],
    stream: NDArray[np.int32],
    voices: Sequence[Voice],
    weight: float,
    fuse: Fusion,
    gain: float,
    days: float,
) -> Rehearsal:
    """Play calibration windows through the voices.

    Args:
        logs: `(n, V)` log errors, finite; the windows of a stream in their order.
        stream: `(n,)` whose they are.
        voices: `V` of them, calibrated; each judges a log error alone (`short` 1).
        weight: windows that their calibration counts for.
        fuse: how they are fused.
        gain: what that is multiplied by.
        days: of all streams together, from which these windows are.
    """
    rule = Strangeness(weight)
    prior = np.array([[voice.q50, voice.qt, voice.mean, voice.variance] for voice in voices])
    names = list(dict.fromkeys(voice.part for voice in voices))
    speakers = [names.index(voice.part) for voice in voices]
    order = np.argsort(stream, kind="stable")
    _, starts, counts = np.unique(stream[order], return_index=True, return_counts=True)
    state, run = np.tile(prior, (len(starts), 1, 1)), np.zeros((len(starts), len(voices)), np.int32)
    score = np.empty(len(stream))
    for turn in range(counts.max(initial=0)):
        live = counts > turn
        at = order[starts[live] + turn]
        said = rule.say(state[live], logs[at])
        seen = np.full(len(at), turn, np.int64)
        state[live], run[live] = rule.learn(state[live], said, logs[at], logs[at], run[live], seen)
        score[at] = gain * fused(said, fuse, speakers)
    heights = [
        height
        for start, count in zip(starts, counts, strict=True)
        for height in _events(score[order[start : start + count]])
    ]
    return Rehearsal(days=days, heights=tuple(round(height, 4) for height in sorted(heights, reverse=True)[:MOST]))


def _events(score: NDArray[np.float64]) -> list[float]:
    """Return the heights of one stream's events: the highest first, the next one at least a rest away from it."""
    if len(score) < _IN_A_ROW:
        return []
    row = np.minimum(score[1:], score[:-1])
    found = []
    while (height := float(row.max())) > LEAST:
        top = int(row.argmax())
        found.append(height)
        row[max(0, top - _APART) : top + _APART + 1] = 0.0
    return found
