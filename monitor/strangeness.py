"""How strange a log error is for its stream, whatever its units: half streaming quantiles, half normal tail.

For each voice (one error a window) of each stream, with s the mean of the last `short` log errors e:

    A = (s − q50) ÷ max(qt − q50, 1) ÷ 3               tracked quantiles 0.5 and 0.99: a third at the upper one
    B = −log10 Q((s − m) ÷ max(√v, 1/2.33)) ÷ 6        Q the upper tail of a normal distribution of e
    S = ½ A + ½ B

All of it is read before this window is learned. The quantiles move by Robbins and Monro's rule (1951), mean and
variance are exponentially weighted with a half-life of 2,000 windows, faster while little has been seen. The floor says
that a log error must rise by a factor e before it counts as a third: what is nearly perfectly predicted would otherwise
alarm on rounding. An event (S > 0.3) slows all learning to a fifth, but for 300 windows at most: what lasts longer is
the new normal. Learning that stops in events locks in (measured: 70 to 490 times the promised alarms); learning that
does not slow down learns the anomaly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.table import Column, StreamTable

QUANTILE = 0.99
FLOOR = 1.0
EVENT = 0.3
PROTECT = 0.2
LONGEST = 300
HALF_LIFE = 2000.0
_A = 1 - 0.5 ** (1 / HALF_LIFE)
_LEAST_GAP = 0.05
_LOG10 = float(np.log(10))
_TAIL = 6.0
_THIRD = 3.0
_LEAST_SPREAD = FLOOR / 2.33
_NEWTON = 6
_ROOT = float(np.sqrt(2 * np.pi))


@dataclass(frozen=True, slots=True)
class VoicePrior:
    """Log errors of one voice on normal windows: quantiles 0.5 and 0.99, mean and variance."""

    q50: float
    qt: float
    mean: float
    variance: float

    @staticmethod
    def of(logs: NDArray[np.float64]) -> VoicePrior:
        """Measure log errors `(n,)`."""
        q50, qt = np.quantile(logs, [0.5, QUANTILE]).tolist()
        return VoicePrior(q50, max(qt, q50 + _LEAST_GAP), float(logs.mean()), float(logs.var()))


class Strangeness:
    """The calibration of some voices, side by side."""

    def __init__(
        self,
        name: str,
        priors: Sequence[VoicePrior],
        short: int,
        weight: float,
        *,
        event: float = EVENT,
        protect: float = PROTECT,
    ) -> None:
        """Set up.

        Args:
            name: begins the names of the columns.
            priors: one a voice.
            short: log errors that are averaged.
            weight: windows that a prior counts for.
            event: S above it is an event.
            protect: how fast is learned in events, 1 = as ever.
        """
        from scipy.special import log_ndtr  # a quarter of a second, and only some configurations need it

        voices = len(priors)
        self._log_ndtr = log_ndtr
        self._prior = np.array([[p.q50, p.qt, p.mean, p.variance] for p in priors])
        self._short = short
        self._weight = weight
        self._event, self._protect = event, protect
        self._names = (f"{name}_state", f"{name}_seen", f"{name}_run", f"{name}_ring")
        self.columns = (
            Column(self._names[0], np.float64, (voices, 4)),  # q50, qt, mean, variance
            Column(self._names[1], np.int64),  # windows
            Column(self._names[2], np.int32, (voices,)),  # windows of the event so far
            Column(self._names[3], np.float32, (voices, short)),
        )

    def step(self, table: StreamTable, slots: NDArray[np.int32], logs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return S `(n, V)` of one window of each of distinct streams, then learn from its log errors `(n, V)`."""
        state, seen, runs, ring = (table[name] for name in self._names)
        count = seen[slots]
        now = np.where((count == 0)[:, None, None], self._prior, state[slots])
        recent = self._recent(ring, slots, count, logs)
        q50, qt, mean, variance = now[:, :, 0], now[:, :, 1], now[:, :, 2], now[:, :, 3]
        gap = np.maximum(qt - q50, FLOOR)
        z = (recent - mean) / np.maximum(np.sqrt(variance), _LEAST_SPREAD)
        found: NDArray[np.float64] = 0.5 * (recent - q50) / gap / _THIRD - 0.5 * self._log_ndtr(-z) / _LOG10 / _TAIL
        run = np.where(found > self._event, runs[slots] + 1, 0)
        slow = np.where((run >= 1) & (run <= LONGEST), self._protect, 1.0)
        rate = slow * np.maximum(_A, 1 / (count + self._weight + 1))[:, None]
        learned = np.empty_like(now)
        learned[:, :, 0] = q50 + 5 * rate * gap * np.where(recent > q50, 0.5, -0.5)
        moved = qt + 10 * rate * gap * np.where(recent > qt, QUANTILE, QUANTILE - 1)
        learned[:, :, 1] = np.maximum(moved, learned[:, :, 0] + _LEAST_GAP)
        d = logs - mean
        learned[:, :, 2] = mean + rate * d
        learned[:, :, 3] = (1 - rate) * (variance + rate * d * d)
        state[slots], seen[slots], runs[slots] = learned, count + 1, run
        return found

    def level(self, table: StreamTable, slots: NDArray[np.int32], strange: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log error `(n,)` of the first voice at which S would be `strange` `(n,)`, ≥ 0; learn nothing.

        For `short` = 1. S rises and is convex in e, so Newton's steps from above come down to it; their number is
        fixed, so that the bits do not depend on the other streams.
        """
        state, seen = table[self._names[0]], table[self._names[1]]
        now = np.where((seen[slots] == 0)[:, None], self._prior[0], state[slots, 0])
        q50, qt, mean, variance = now[:, 0], now[:, 1], now[:, 2], now[:, 3]
        gap, spread = np.maximum(qt - q50, FLOOR), np.maximum(np.sqrt(variance), _LEAST_SPREAD)
        # Each half alone would have to say twice as much: where the higher of the two does, S is above.
        found: NDArray[np.float64] = np.maximum(
            q50 + 2 * _THIRD * gap * strange, mean + spread * np.sqrt(4 * _TAIL * _LOG10 * strange)
        )
        for _ in range(_NEWTON):
            z = (found - mean) / spread
            tail = self._log_ndtr(-z)
            said = 0.5 * (found - q50) / gap / _THIRD - 0.5 * tail / _LOG10 / _TAIL
            hazard = np.exp(-0.5 * z * z - tail) / _ROOT
            slope = 0.5 / gap / _THIRD + 0.5 * hazard / spread / _LOG10 / _TAIL
            found = found - (said - strange) / slope
        return found

    def quantile_level(
        self, table: StreamTable, slots: NDArray[np.int32], strange: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the log error `(n,)` of the first voice at which A, the quantile half, would be `strange`."""
        state, seen = table[self._names[0]], table[self._names[1]]
        now = np.where((seen[slots] == 0)[:, None], self._prior[0], state[slots, 0])
        found: NDArray[np.float64] = now[:, 0] + _THIRD * np.maximum(now[:, 1] - now[:, 0], FLOOR) * strange
        return found

    def _recent(
        self,
        ring: NDArray[np.float32],
        slots: NDArray[np.int32],
        count: NDArray[np.int64],
        logs: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return the mean of the last log errors, this window's among them."""
        if self._short == 1:
            return logs
        ring[slots, :, count % self._short] = logs
        total = np.zeros_like(logs)
        for place in range(self._short):
            total += ring[slots, :, place]  # zero where nothing has come yet
        return total / np.minimum(count + 1, self._short)[:, None]
