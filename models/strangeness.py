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

This is the rule on arrays; `monitor.strangeness` keeps its state in the columns of streams.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

QUANTILE = 0.99
FLOOR = 1.0
EVENT = 0.3
PROTECT = 0.2
_LONGEST = 300
_HALF_LIFE = 2000.0
LEAST_GAP = 0.05
_TAIL = 6.0
_THIRD = 3.0
_LEAST_SPREAD = FLOOR / 2.33
_LOG10 = float(np.log(10))
_NEWTON = 6
_ROOT = float(np.sqrt(2 * np.pi))
_A = 1 - 0.5 ** (1 / _HALF_LIFE)


class Strangeness:
    """The rule; a state is `(n, V, 4)`: q50, qt, m and v of each voice."""

    def __init__(self, weight: float, *, event: float = EVENT, protect: float = PROTECT) -> None:
        """Set up.

        Args:
            weight: windows that the calibration, which states begin with, counts for.
            event: S above it is an event.
            protect: how fast is learned in events, 1 = as ever.
        """
        from scipy.special import log_ndtr  # a quarter of a second, and only some configurations need it

        self._log_ndtr = log_ndtr
        self._weight, self._event, self._protect = weight, event, protect

    def say(self, state: NDArray[np.float64], recent: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return S `(n, V)` for means of the last log errors `(n, V)`."""
        q50, qt, mean, variance = state[:, :, 0], state[:, :, 1], state[:, :, 2], state[:, :, 3]
        gap = np.maximum(qt - q50, FLOOR)
        z = (recent - mean) / np.maximum(np.sqrt(variance), _LEAST_SPREAD)
        found: NDArray[np.float64] = 0.5 * (recent - q50) / gap / _THIRD - 0.5 * self._log_ndtr(-z) / _LOG10 / _TAIL
        return found

    def learn(
        self,
        state: NDArray[np.float64],
        said: NDArray[np.float64],
        recent: NDArray[np.float64],
        logs: NDArray[np.float64],
        run: NDArray[np.int32],
        count: NDArray[np.int64],
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return state and run after one more window of each stream.

        Args:
            state: before it.
            said: S of it, `(n, V)`.
            recent: means of the last log errors, `(n, V)`.
            logs: its log errors, `(n, V)`.
            run: `(n, V)` windows of the event so far.
            count: `(n,)` windows before it.
        """
        q50, qt, mean, variance = state[:, :, 0], state[:, :, 1], state[:, :, 2], state[:, :, 3]
        gap = np.maximum(qt - q50, FLOOR)
        run = np.where(said > self._event, run + 1, 0).astype(np.int32)
        slow = np.where((run >= 1) & (run <= _LONGEST), self._protect, 1.0)
        rate = slow * np.maximum(_A, 1 / (count + self._weight + 1))[:, None]
        learned = np.empty_like(state)
        learned[:, :, 0] = q50 + 5 * rate * gap * np.where(recent > q50, 0.5, -0.5)
        moved = qt + 10 * rate * gap * np.where(recent > qt, QUANTILE, QUANTILE - 1)
        learned[:, :, 1] = np.maximum(moved, learned[:, :, 0] + LEAST_GAP)
        d = logs - mean
        learned[:, :, 2] = mean + rate * d
        learned[:, :, 3] = (1 - rate) * (variance + rate * d * d)
        return learned, run

    def level(self, state: NDArray[np.float64], strange: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log error `(n,)` at which S of a voice of state `(n, 4)` would be `strange` `(n,)`, ≥ 0.

        S rises and is convex in e, so Newton's steps from above come down to it; their number is fixed, so that the
        bits do not depend on the other streams.
        """
        q50, qt, mean, variance = state[:, 0], state[:, 1], state[:, 2], state[:, 3]
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

    def quantile_level(self, state: NDArray[np.float64], strange: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log error `(n,)` at which A, the quantile half, would be `strange`."""
        q50, qt = state[:, 0], state[:, 1]
        found: NDArray[np.float64] = q50 + _THIRD * np.maximum(qt - q50, FLOOR) * strange
        return found
