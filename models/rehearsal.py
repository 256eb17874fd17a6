"""Rehearsal: how high the training windows' own events stand, when a detector meets them in their order.

Training windows are normal, so what stands out of them is what a line has to lie above if alerts are to keep a budget.
Quantiles do not say it: a budget of one alert in ten days, a window a minute, is one in 14,400 windows, far beyond the
0.99 quantile that voices are calibrated on. So stretches of the training windows are played through the voices as a
daemon will do it, learning as they go, and the heights of their events are kept: the score that two windows in a row
reach. `monitor.threshold` begins above those that the budget does not allow for.

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
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from models.detector import Fusion, Voice

LEAST = 0.36
"""Lower events are not kept: the line of a budget begins no lower."""

MOST_WINDOWS = 200_000
"""So many are played at most: rare events need many (one bundle for eight machines of SMD: alerts 1.7 times the budget
with its 94,000 windows, 2.4 times with 40,000 of them, 3.6 without)."""

LEAST_STRETCH = 5_000
"""Of recordings with more windows: so many of a stream, its newest, and of as many streams as that allows for."""

_AT_ONCE = 2_000
_IN_A_ROW = 2
_APART = 150


def stretches(stream: NDArray[np.int32]) -> list[NDArray[np.intp]]:
    """Return places in `stream` `(n,)`, the owners of windows in their order: unbroken stretches, one a stream."""
    order = np.argsort(stream, kind="stable")
    _, starts, counts = np.unique(stream[order], return_index=True, return_counts=True)
    most, chosen = len(stream), np.arange(len(starts))
    if len(stream) > MOST_WINDOWS:
        usual = min(LEAST_STRETCH, len(stream) // len(starts) + 1)
        chosen = np.unique(np.linspace(0, len(starts) - 1, min(len(starts), MOST_WINDOWS // usual)).round())
        most = MOST_WINDOWS // len(chosen)
    ends = starts + counts
    return [order[max(starts[one], ends[one] - most) : ends[one]] for one in chosen.astype(np.int64)]


def rehearse(
    parts: Sequence[NDArray[np.intp]],
    logs: Callable[[NDArray[np.intp]], NDArray[np.float64]],
    voices: Sequence[Voice],
    weight: float,
    fuse: Fusion,
    gain: float,
    windows_per_day: float,
) -> Rehearsal:
    """Play stretches of windows through the voices.

    Args:
        parts: places of the windows of each stretch, in their order.
        logs: returns the log errors `(k, V)` of windows at these places, finite.
        voices: `V` of them, calibrated; each judges a log error alone (`short` 1).
        weight: windows that their calibration counts for.
        fuse: how they are fused.
        gain: what that is multiplied by.
        windows_per_day: of one stream.
    """
    rule = Strangeness(weight)
    names = list(dict.fromkeys(voice.part for voice in voices))
    speakers = [names.index(voice.part) for voice in voices]
    heights: list[float] = []
    for part in parts:
        found = np.concatenate([logs(part[first : first + _AT_ONCE]) for first in range(0, len(part), _AT_ONCE)])
        heights += _events(gain * fused(_said(rule, found, voices), fuse, speakers))
    days = sum(map(len, parts)) / windows_per_day
    return Rehearsal(days=days, heights=tuple(round(height, 4) for height in sorted(heights, reverse=True)))


def _said(rule: Strangeness, logs: NDArray[np.float64], voices: Sequence[Voice]) -> NDArray[np.float64]:
    """Return what voices say `(k, V)` of one stream's windows, learning as they go."""
    state = np.array([[[voice.q50, voice.qt, voice.mean, voice.variance] for voice in voices]])
    run, found = np.zeros((1, len(voices)), np.int32), np.empty(logs.shape)
    for turn, now in enumerate(logs[:, None, :]):
        said = rule.say(state, now)
        state, run = rule.learn(state, said, now, now, run, np.array([turn]))
        found[turn] = said
    return found


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
