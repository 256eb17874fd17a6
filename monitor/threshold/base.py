"""What every line is: its settings, its columns of state, and one step for one window of each of some streams."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from monitor.record import NEVER
from monitor.table import AnyColumn, Column, StreamTable
from monitor.window.rows import group_starts

DAY_MS = 86_400_000
DEFAULT_BUDGET = 0.1
_LEAST_WEIGHT = 1e-9
LEAST_SCORE = 1e-12
QUIET_BEFORE_EVENT = 20
"""Windows without one over the line before the next one over it is a new event."""


@dataclass(frozen=True, slots=True)
class Prior:
    """What the bundle's calibration says of scores on normal windows.

    Attributes:
        log_mean: mean of log score.
        log_variance: variance of log score.
        quantiles: pairs (q, score), rising in q.
        windows_per_stream: median number of windows of a stream that the model was trained on.
        windows_per_day: median number of windows of a stream in a day.
        calibrated: whether scores are on the scale of `monitor.strangeness` already: the bundle has a detector.
        heights: of the training windows' own events above the usual line, falling (`models.rehearsal`).
        days: how long these windows are, of all streams together.
    """

    log_mean: float
    log_variance: float
    quantiles: Sequence[tuple[float, float]]
    windows_per_stream: float
    windows_per_day: float
    calibrated: bool = False
    heights: Sequence[float] = ()
    days: float = 0.0

    def quantile(self, q: float) -> float:
        """Return the score at `q`: linear in −log(1 − q) between the table's entries, constant outside."""
        table = np.array(self.quantiles, np.float64)
        found = np.interp(-np.log1p(-q), -np.log1p(-np.minimum(table[:, 0], 1 - 1e-15)), table[:, 1])
        return max(float(found), LEAST_SCORE)


@dataclass(frozen=True, slots=True)
class Learned:
    """How much of what judges a stream is its own, and how much the bundle's prior: n ÷ (n + weight).

    Attributes:
        column: counts the windows that were learned from.
        weight: windows that the prior counts for.
    """

    column: str
    weight: float

    def share(self, table: StreamTable, slots: NDArray[np.int32], since: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the share `(n,)`, in [0, 1], as it was before the last `since` `(n,)` windows of these streams."""
        own = (table[self.column][slots] - since).astype(np.float64)
        return own / (own + max(self.weight, _LEAST_WEIGHT))


class ThresholdSettings(BaseModel):
    """What all thresholds share: how often a normal stream may cross its line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    q: Annotated[float, Field(ge=0.5, lt=1)] | None = Field(
        None, description="1 - q crossings a scored window (set this or alerts_per_stream_per_day)"
    )
    alerts_per_stream_per_day: Annotated[float, Field(gt=0, le=1000)] | None = Field(
        None, description="crossings that last open_after windows, a stream and day (0.1 where q is not set either)"
    )

    @model_validator(mode="after")
    def _one_promise(self) -> ThresholdSettings:
        if self.q is not None and self.alerts_per_stream_per_day is not None:
            message = "set q or alerts_per_stream_per_day, not both"
            raise ValueError(message)
        return self

    @property
    def budget(self) -> float | None:
        """Alerts a stream and day, or None where `q` is set."""
        if self.q is not None:
            return None
        return DEFAULT_BUDGET if self.alerts_per_stream_per_day is None else self.alerts_per_stream_per_day

    def rate(self, windows_per_day: float) -> float:
        """Return the promised rate of events a scored window."""
        if self.q is not None:
            return 1 - self.q
        return min(0.1, (self.budget or DEFAULT_BUDGET) / max(windows_per_day, 1e-9))


class Threshold(ABC):
    """A kind of line. Subclasses with a `Settings` class are found by the configuration.

    Attributes:
        columns: its state.
        learned: how much of a line is its stream's own; None = nothing ever is.
    """

    Settings: ClassVar[type[ThresholdSettings]]
    columns: tuple[AnyColumn, ...] = ()
    learned: Learned | None = None

    @abstractmethod
    def __init__(self, settings: Any, prior: Prior, open_after: int) -> None:  # noqa: ANN401 - each kind has its own
        """Set up with the calibration of the bundle."""

    @abstractmethod
    def step(
        self,
        table: StreamTable,
        slots: NDArray[np.int32],
        score: NDArray[np.float64],
        end: NDArray[np.int64],
        restarted: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Return the lines of distinct streams for one window of each, then learn from its score.

        Args:
            table: the partition's table.
            slots: `(n,)`, no slot twice.
            score: `(n,)`, finite, not below 0.
            end: `(n,)` ms, end of each window.
            restarted: `(n,)`, True where the window began anew: what must be in a row begins anew.
        """

    def restart(self, table: StreamTable, slot: int) -> None:  # noqa: B027 - most kinds count nothing in a row
        """A stream's window began anew and its first window could not be scored: runs begin anew."""


def lines(
    threshold: Threshold,
    table: StreamTable,
    slot: NDArray[np.int32],
    score: NDArray[np.float64],
    end: NDArray[np.int64],
    restarted: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the line of each scored window, and let each line learn from it.

    `slot` is sorted; windows of one stream go one after another, in rounds over all streams that have one more.
    """
    found = np.empty(len(slot))
    if len(slot) == 0:
        return found
    starts = group_starts(slot)
    counts = np.diff(np.append(starts, len(slot)))
    turn = 0
    while len(starts):
        at = starts + turn
        found[at] = threshold.step(table, slot[at], score[at], end[at], restarted[at])
        turn += 1
        more = counts > turn
        starts, counts = starts[more], counts[more]
    return found


class Rates:
    """The promised rate of events a window, of each stream: a budget a day needs the stream's own windows per day."""

    columns = (
        Column("line_n", np.int64),  # scored windows
        Column("line_last", np.int64, initial=NEVER),  # end of the last scored window
        Column("line_span", np.int64),  # ms from the first scored window's end to the last one's
    )

    def __init__(self, settings: ThresholdSettings, weight: float, windows_per_day: float) -> None:
        """Set up; the bundle's `windows_per_day` counts for `weight` windows."""
        self._settings, self._weight, self._per_day = settings, weight, windows_per_day

    def step(
        self, table: StreamTable, slots: NDArray[np.int32], end: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64] | float]:
        """Count one window of each of distinct streams; return windows before it, ms since the last one, and rates."""
        n, last = table["line_n"][slots], table["line_last"][slots]
        elapsed = np.where(last == NEVER, 0, np.maximum(end - last, 0))  # 0 where the clock was set back
        span = table["line_span"][slots] + elapsed
        table["line_n"][slots], table["line_last"][slots], table["line_span"][slots] = n + 1, end, span
        if self._settings.q is not None:
            return n, elapsed, 1 - self._settings.q
        own = n * DAY_MS / np.maximum(span, 1)
        weight = np.where(span > 0, n / (n + max(self._weight, 1e-9)), 0.0)
        per_day = weight * own + (1 - weight) * self._per_day
        return n, elapsed, np.minimum(0.1, (self._settings.budget or DEFAULT_BUDGET) / np.maximum(per_day, 1e-9))
