"""The score of the Numenta Anomaly Benchmark (NAB), written from its published rules.

A row is a detection where its score reaches the threshold. The first min(⌊0.15 n⌋, 750) of n rows do not count. Of each
labelled window only the earliest detection counts: σ(x) = 2/(1+e^5x) − 1 at x = −(right − i + 1)/width, divided by
σ(−1); a window without one costs `fn`. A detection outside all windows costs `fp` · |σ(rows past the window before it
÷ (its width − 1))|, and `fp` itself far behind a window or with none before. 100 is perfect, 0 a detector that says
nothing. One threshold holds for the whole corpus; the leaderboard takes the best one in hindsight, so does `best`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import eq, ne

import numpy as np
from numpy.typing import NDArray

FAR = 3.0
"""So many widths behind a window a false detection costs its full weight."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a missed window and a false detection cost."""

    fn: float
    fp: float


PROFILES = {"standard": Profile(1.0, 0.11), "low_fp": Profile(1.0, 0.22), "low_fn": Profile(2.0, 0.11)}


@dataclass(frozen=True)
class Labelled:
    """A series: its group, its number of rows, and its windows as (first, last) row, both included."""

    group: str
    rows: int
    windows: tuple[tuple[int, int], ...]

    @property
    def probation(self) -> int:
        """Rows at the beginning that do not count."""
        return min(int(0.15 * self.rows), 750)


@dataclass(frozen=True)
class Steps:
    """What happens to the raw score of a corpus when the threshold falls to `level`, highest level first.

    Attributes:
        level: `(n,)` scores of rows.
        gain: `(n,)` part of a window's credit that this row adds, 0 to 1 in all for a window.
        found: `(n,)` 1 where the row is the first of its window to be detected, else 0.
        loss: `(n,)` what a false detection there costs, in units of `fp`, not above 0.
        windows: windows of the corpus that count.
    """

    level: NDArray[np.float64]
    gain: NDArray[np.float64]
    found: NDArray[np.int64]
    loss: NDArray[np.float64]
    windows: int

    def curve(self, profile: Profile) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the distinct levels, falling, and the final score (of 100) with each as the threshold."""
        if len(self.level) == 0:
            return np.array([np.inf]), np.zeros(1)
        raw = np.cumsum(self.gain + profile.fn * self.found + profile.fp * self.loss)
        last = np.append(self.level[1:] != self.level[:-1], True)
        levels = np.concatenate([[np.inf], self.level[last]])
        perfect = self.windows * (1 + profile.fn)
        return levels, 100 * np.concatenate([[0.0], raw[last]]) / perfect

    def best(self, profile: Profile) -> tuple[float, float]:
        """Return the best threshold in hindsight, and its score."""
        levels, scores = self.curve(profile)
        place = int(np.argmax(scores))
        return float(levels[place]), float(scores[place])

    def at(self, threshold: float, profile: Profile) -> float:
        """Return the score with this threshold."""
        levels, scores = self.curve(profile)
        return float(scores[np.count_nonzero(levels >= threshold) - 1])


@dataclass(frozen=True)
class Tally:
    """Detections at one threshold.

    Attributes:
        hit: windows with a detection.
        false: rows detected outside all windows.
    """

    hit: int
    false: int


def sigma(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return NAB's weight of a row at `x` widths behind the end of a window, 1 to −1."""
    bent = 2 / (1 + np.exp(5 * np.minimum(x, FAR))) - 1
    return np.where(x > FAR, -1.0, bent)


def steps(series: Iterable[tuple[Labelled, NDArray[np.float64]]]) -> Steps:
    """Return what a falling threshold does to the score of a corpus; row scores of −inf are never detected."""
    levels, gains, founds, losses = ([np.zeros(0)] for _ in range(4))
    windows = 0
    unit = float(sigma(np.array([-1.0]))[0])
    for labelled, score in series:
        outside = np.ones(labelled.rows, np.bool_)
        outside[: labelled.probation] = False
        past = np.full(labelled.rows, np.inf)
        rows = np.arange(labelled.rows)
        for left, right in labelled.windows:
            first = max(left, labelled.probation)
            if right < first:
                continue
            windows += 1
            outside[first : right + 1] = False
            width = right - left + 1
            past[right + 1 :] = (rows[right + 1 :] - right) / max(width - 1, 1)
            inside = np.arange(first, right + 1)
            order = inside[np.argsort(-score[inside], kind="stable")]
            credit = sigma(-(right - order + 1) / width) / unit
            reached = np.maximum.accumulate(credit)
            levels.append(score[order])
            gains.append(np.diff(reached, prepend=0.0))
            founds.append((np.arange(len(order)) == 0).astype(np.float64))
            losses.append(np.zeros(len(order)))
        false = np.flatnonzero(outside)
        levels.append(score[false])
        gains.append(np.zeros(len(false)))
        founds.append(np.zeros(len(false)))
        losses.append(sigma(past[false]))
    level, gain, found, loss = (np.concatenate(part) for part in (levels, gains, founds, losses))
    order = np.argsort(-level, kind="stable")
    order = order[level[order] > -np.inf]
    return Steps(level[order], gain[order], found[order].astype(np.int64), loss[order], windows)


def tally(series: Iterable[tuple[Labelled, NDArray[np.float64]]], threshold: float) -> Tally:
    """Count windows hit and rows falsely detected."""
    hit = false = 0
    for labelled, score in series:
        over = score >= threshold
        over[: labelled.probation] = False
        for left, right in labelled.windows:
            hit += bool(over[left : right + 1].any())
            over[left : right + 1] = False
        false += int(np.count_nonzero(over))
    return Tally(hit, false)


def left_out(groups: Sequence[str], steps_of: Callable[[Callable[[str], bool]], Steps], profile: Profile) -> float:
    """Return the score where each group's threshold is the best one of the other groups.

    Args:
        groups: names of the groups.
        steps_of: the steps of the series whose group passes a test.
        profile: the costs.
    """
    total, perfect = 0.0, 0.0
    for group in groups:
        threshold, _ = steps_of(partial(ne, group)).best(profile)
        own = steps_of(partial(eq, group))
        share = own.windows * (1 + profile.fn)
        raw = np.sum((own.gain + profile.fn * own.found + profile.fp * own.loss)[own.level >= threshold])
        total += float(raw)
        perfect += share
    return 100 * total / perfect
