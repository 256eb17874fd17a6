"""The calibration of voices, its state in the columns of streams: the rule is `models.strangeness`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.strangeness import EVENT, LEAST_GAP, PROTECT, QUANTILE
from models.strangeness import Strangeness as Rule
from monitor.table import Column, StreamTable


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
        return VoicePrior(q50, max(qt, q50 + LEAST_GAP), float(logs.mean()), float(logs.var()))


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
        voices = len(priors)
        self._rule = Rule(weight, event=event, protect=protect)
        self._prior = np.array([[p.q50, p.qt, p.mean, p.variance] for p in priors])
        self._short = short
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
        found = self._rule.say(now, recent)
        learned, run = self._rule.learn(now, found, recent, logs, runs[slots], count)
        state[slots], seen[slots], runs[slots] = learned, count + 1, run
        return found

    def level(self, table: StreamTable, slots: NDArray[np.int32], strange: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log error `(n,)` of the first voice at which S would be `strange` `(n,)`, ≥ 0; learn nothing.

        For `short` = 1.
        """
        return self._rule.level(self._first(table, slots), strange)

    def quantile_level(
        self, table: StreamTable, slots: NDArray[np.int32], strange: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the log error `(n,)` of the first voice at which A, the quantile half, would be `strange`."""
        return self._rule.quantile_level(self._first(table, slots), strange)

    def _first(self, table: StreamTable, slots: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the state `(n, 4)` of the first voice."""
        state, seen = table[self._names[0]], table[self._names[1]]
        now: NDArray[np.float64] = np.where((seen[slots] == 0)[:, None], self._prior[0], state[slots, 0])
        return now

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
