"""What is wrong with the data of a window, by kind: each measure is held against a limit as a score is against a line.

* `flat_line`: ms for which a feature has had one value, window after window. Its limit is `after`, or twice the longest
  time that it stayed the same before and varied again, but `accept` at most: a valve that stands for hours is learned,
  a dead sensor is found. After twice its limit, and twice `accept`, what is flat is usual: it neither alarms for ever,
  nor never again.
* `missing_feature`: ms for which a feature that the stream has had is in none of its rows.
* `out_of_range`: 1 + how far beyond its range a value is, as a share of the range (or of its one end), where it is.

All is a function of each stream's windows in their order. What is flat or out of range is no value for the model: it
is taken out of the window, as if it were missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monitor.quality.rounds import rounds
from monitor.quality.settings import QualitySettings
from monitor.record import NEVER
from monitor.table import Column, StreamTable
from monitor.window import Windows

MEASURED = ("flat_line", "missing_feature", "out_of_range")
"""Kinds that are found window by window."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One kind's measure of `n` windows.

    Attributes:
        score: `(n,)` float64, of the worst feature: seconds, or for `out_of_range` a ratio.
        line: `(n,)` float64, that feature's limit.
        ratio: `(n, F)` float32, score ÷ limit of each feature where it is above 1, else 0.
        expected: `(n, L, F)` float32, the last value that was there, or the nearest that can be.
    """

    score: NDArray[np.float64]
    line: NDArray[np.float64]
    ratio: NDArray[np.float32]
    expected: NDArray[np.float32]

    @property
    def over(self) -> NDArray[np.bool_]:
        """`(n,)`, whether something is wrong."""
        found: NDArray[np.bool_] = np.asarray((self.ratio > 0).any(axis=1))
        return found


class Quality:
    """The measures of streams of one set of features.

    Attributes:
        settings: section `alert.quality`.
        columns: its state.
    """

    def __init__(self, settings: QualitySettings, features: Sequence[str]) -> None:
        """Set up.

        Raises:
            ValueError: if a range names a feature that the model does not have.
        """
        self.settings = settings
        count = len(features)
        self._low, self._high = np.full(count, -np.inf, np.float32), np.full(count, np.inf, np.float32)
        for name, (low, high) in settings.out_of_range.items():
            if name not in features:
                message = (
                    f"alert.quality.out_of_range: {name!r} is no feature of the model: it has {', '.join(features)}"
                )
                raise ValueError(message)
            place = list(features).index(name)
            self._low[place] = -np.inf if low is None else low
            self._high[place] = np.inf if high is None else high
        self.columns = (
            Column("quality_value", np.float32, (count,), float("nan")),  # the last one that was there
            Column("quality_since", np.int64, (count,), NEVER),  # since when it is the same
            Column("quality_span", np.int64, (count,)),  # ms that it has been, at the last window
            Column("quality_usual", np.int64, (count,)),  # ms that it once was, and varied again
            Column("quality_gone", np.int64, (count,), NEVER),  # since when it is missing
        )

    def measure(self, table: StreamTable, windows: Windows) -> tuple[Mapping[str, Measured], Windows]:
        """Judge windows sorted by slot, in order within a slot, and learn from them.

        Returns:
            What was found, by kind, and the windows without what no model should see.
        """
        count, length, features = windows.values.shape
        low, high = (reduce(windows.values, axis=1) for reduce in (np.fmin.reduce, np.fmax.reduce))
        last = windows.values[:, 0].copy()
        for row in range(1, length):
            here = windows.values[:, row]
            np.copyto(last, here, where=~np.isnan(here))
        flat, limit, gone = (np.zeros((count, features)) for _ in range(3))
        known = np.empty((count, features), np.float32)
        for turn in rounds(windows.slot):
            flat[turn], limit[turn], gone[turn], known[turn] = self._step(
                table, windows.slot[turn], (low[turn], high[turn], last[turn]), windows, turn
            )
        shown = np.broadcast_to(np.nan_to_num(known)[:, None, :], windows.values.shape)
        missing = self.settings.missing_feature
        beyond, bounds = self._beyond(windows.values, low, high)
        found = {
            "flat_line": _worst(flat / 1000, limit / 1000, shown),
            "missing_feature": _worst(gone / 1000, np.full(gone.shape, missing.seconds if missing else 1.0), shown),
            "out_of_range": _worst(beyond, np.ones(beyond.shape), bounds),
        }
        return found, self._without(windows, found)

    def _step(
        self,
        table: StreamTable,
        slots: NDArray[np.int32],
        seen: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]],
        windows: Windows,
        turn: NDArray[np.intp],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
        """Take one window of each of distinct streams.

        Returns:
            `(n, F)` ms flat (0 where that is usual) and their limit, ms missing, and the last known value.
        """
        low, high, last = seen
        start, end = windows.start[turn, None], windows.end[turn, None]
        value, since = table["quality_value"][slots], table["quality_since"][slots]
        span, usual = table["quality_span"][slots], table["quality_usual"][slots]
        gone = table["quality_gone"][slots]
        absent = np.isnan(high)
        constant = ~absent & (low == high)
        same = constant & (since != NEVER) & (low == value) & ~windows.restarted[turn, None]
        usual = np.where(same, usual, np.maximum(usual, span))
        since = np.where(same, since, np.where(constant, start, NEVER))
        span = np.where(constant, np.maximum(end - since, 0), 0)
        gone = np.where(absent & ~np.isnan(value), np.where(gone == NEVER, start, gone), NEVER)
        value = np.where(absent, value, last)
        names = ("value", "since", "span", "usual", "gone")
        for name, column in zip(names, (value, since, span, usual, gone), strict=True):
            table[f"quality_{name}"][slots] = column
        away = np.where((gone == NEVER) | (self.settings.missing_feature is None), 0, np.maximum(end - gone, 0))
        setting = self.settings.flat_line
        if setting is None:
            return np.zeros(span.shape), np.ones(span.shape), away.astype(np.float64), value
        limit = np.clip(2 * usual, setting.after.ms, setting.accept.ms)
        judged = np.where(span > 2 * setting.accept.ms, 0, span)
        return judged.astype(np.float64), limit.astype(np.float64), away.astype(np.float64), value

    def _beyond(
        self, values: NDArray[np.float32], low: NDArray[np.float32], high: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Return 1 + how far values are outside, 0 where they are not, and the nearest ones inside."""
        if not self.settings.out_of_range:
            return np.zeros(low.shape), values
        least, most = self._low.astype(np.float64), self._high.astype(np.float64)
        one = np.where(np.isfinite(least), np.abs(least), np.abs(most))
        width = np.where(np.isfinite(most) & np.isfinite(least), most - least, one)
        width = np.where(np.isfinite(width) & (width > 0), width, 1.0)
        with np.errstate(invalid="ignore"):
            far = np.fmax(least - low, high - most)
        return np.where(far > 0, 1 + far / width, 0.0), np.clip(values, self._low, self._high)

    def _without(self, windows: Windows, found: Mapping[str, Measured]) -> Windows:
        """Return the windows without values that are flat or out of range; the same ones, where there is none."""
        flat = found["flat_line"].ratio > 0
        if not flat.any() and not found["out_of_range"].over.any():
            return windows
        with np.errstate(invalid="ignore"):
            wrong = flat[:, None, :] | (windows.values < self._low) | (windows.values > self._high)
        wrong &= ~np.isnan(windows.values)
        values = np.where(wrong, np.float32(np.nan), windows.values)
        cells = values.shape[1] * values.shape[2]
        return replace(windows, values=values, missing=windows.missing + wrong.sum(axis=(1, 2)) / cells)


def _worst(amount: NDArray[np.float64], limit: NDArray[np.float64], expected: NDArray[np.float32]) -> Measured:
    """Return the measure of windows by their worst features."""
    ratio = amount / limit
    worst = np.argmax(ratio, axis=1)[:, None]
    score, line = (np.take_along_axis(part, worst, axis=1)[:, 0] for part in (amount, limit))
    return Measured(score, line, np.where(ratio > 1, ratio, 0).astype(np.float32), expected)
