"""`unified` and `quantile_scale`: rest, fatigue and alert budget as one rule.

    line = T + F        F is lifted by `step` with every event, and leaks by step × promised rate with every window

In the long run events come at the promised rate, or below where F lies on its bounds: promised rate × windows +
(F at the end − F at the start) ÷ step, whatever the data. The level T is on the scale of `monitor.strangeness`, where
0 is usual and about a third is the 0.99 quantile of normal windows.

What is promised decides how strictly:

* A budget (`alerts_per_stream_per_day`) is an upper bound on noise, not a quota: T = 0.36, step 0.05, 0 ≤ F ≤ 0.6. A
  quiet stream is not made to alarm so that the budget be spent (measured on NAB: that costs 6 points). An event is the
  `open_after`-th window over the line in a row, and none begins within the rest after one (a fifth of the bundle's
  windows a stream, at most 150), as for alerts.
  T is higher where the bundle's own training windows would have alarmed more often (`models.rehearsal`): it begins a
  quarter further above 0.36 than the highest of their events that the budget has no room for, by 0.9 at most (`_begun`;
  measured on 19 machines: alerts 1.6 times the budget in place of 3.9).
* A rate (`q`) is kept from both sides: T = ½ (z ÷ 7 − log10(1 − q) ÷ 6) + 0.34, z the normal quantile, lies above what
  a normal log error passes at that rate; step 0.3, −0.5 ≤ F ≤ 0.9: a strong burst passes even the highest line. An
  event is the first window over the line with none in the 20 before. What reaches 0.7 T is learned from a tenth as
  fast (measured at 1 in 5,000: events 2.6 times the promise in place of 3.4, and more of the bursts are found).

Scores of a bundle with a detector are on that scale already, calibrated voice by voice; the line is the level itself.
A plain score is calibrated here, one voice a stream, and the line is the score at which that level would be reached:
with both halves (`unified`) or the quantile half alone (`quantile_scale`, which learns a long anomaly; for comparison).
"""

from __future__ import annotations

from abc import abstractmethod
from statistics import NormalDist
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from monitor.strangeness import Strangeness, VoicePrior
from monitor.table import Column, StreamTable
from monitor.threshold.base import LEAST_SCORE, QUIET_BEFORE_EVENT, Learned, Prior, Rates, Threshold, ThresholdSettings

LEVEL = 0.36
MARGIN = 1.25
MOST_LIFTED = 0.9
"""How far T lies above 0.36, in what the highest event that the budget has no room for does; at most."""

LEAST_ALLOWED = 0.5
"""Of a training so short that the budget allows for fewer alerts, no rate can be told (5 days of 0.1 a day)."""

LONGEST_REST = 150
PROTECTED = 0.7
"""With `q`, a score that reaches this share of the level is learned from a tenth as fast."""


def _begun(budget: float | None, prior: Prior) -> float:
    """Return where the line of a budget begins: what the training windows' events leave room for.

    A stretch as long as the training will have k events as high as its k-th highest one, if nothing changes. The budget
    allows for b × days of them; between two heights the line lies between them.
    """
    allowed = (budget or 0.0) * prior.days
    if allowed < LEAST_ALLOWED:
        return LEVEL
    ranks = np.arange(1, len(prior.heights) + 2)
    highest = float(np.interp(allowed, ranks, [*prior.heights, LEVEL]))
    return LEVEL + min(MOST_LIFTED, MARGIN * (highest - LEVEL))


class FatigueSettings(ThresholdSettings):
    """What both kinds share."""

    level: Annotated[float, Field(gt=0, le=2)] | None = Field(
        None, description="where the line begins; left empty, 0.36 or higher for a budget, and with q the rate decides"
    )
    step: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="how far one event lifts the line (0.05 for a budget, 0.3 with q)"
    )
    prior_weight: Annotated[float, Field(ge=0)] = Field(
        200, description="windows that the bundle's calibration counts for"
    )


class _Fatigued(Threshold):
    """Level and fatigue; the kinds differ in what a level means for a plain score.

    Attributes:
        begins: the level T, where the line of a new stream begins.
    """

    def __init__(self, settings: FatigueSettings, prior: Prior, open_after: int) -> None:
        """Set up with the calibration of the bundle."""
        self._settings, self._open_after = settings, open_after
        self._calibrated = prior.calibrated
        self.learned = Learned("line_n", settings.prior_weight)
        self._budget = settings.q is None
        self._rates = Rates(settings, settings.prior_weight, prior.windows_per_day)
        self._rest = min(round(0.2 * prior.windows_per_stream), LONGEST_REST) if self._budget else QUIET_BEFORE_EVENT
        level = _begun(settings.budget, prior) if self._budget else self._level_of(1 - (settings.q or 0.0))
        self.begins = level if settings.level is None else settings.level
        self._step = (0.05 if self._budget else 0.3) if settings.step is None else settings.step
        self._least, self._most = (0.0, 0.6) if self._budget else (-0.5, 0.9)
        own: tuple[Column, ...] = ()
        if not self._calibrated:
            tops = [np.log(prior.quantile(q)) for q in (0.5, 0.99)]
            voice = VoicePrior(tops[0], max(tops[1], tops[0] + 0.05), prior.log_mean, prior.log_variance)
            slow = {} if self._budget else {"event": PROTECTED * self.begins, "protect": 0.1}
            self._voice = Strangeness("usual", [voice], 1, settings.prior_weight, **slow)
            own = self._voice.columns
        self.columns = (
            *own,
            Column("line_fatigue", np.float64),
            Column("line_run", np.int32),  # windows over the line in a row
            Column("line_quiet", np.int32, initial=LONGEST_REST + 1),  # since the last event, or window over the line
            *self._rates.columns,
        )

    @staticmethod
    def _level_of(rate: float) -> float:
        """Return what a normal log error passes at this rate."""
        return 0.5 * (NormalDist().inv_cdf(1 - rate) / 7 - float(np.log10(rate)) / 6) + 0.34

    def _line(self, table: StreamTable, slots: NDArray[np.int32], level: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the score at which a level is reached."""
        return level if self._calibrated else np.exp(self._log_score(table, slots, level))

    @abstractmethod
    def _log_score(
        self, table: StreamTable, slots: NDArray[np.int32], level: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the log of the plain score at which a level is reached."""

    def step(
        self,
        table: StreamTable,
        slots: NDArray[np.int32],
        score: NDArray[np.float64],
        end: NDArray[np.int64],
        restarted: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        fatigue, quiet = table["line_fatigue"][slots], table["line_quiet"][slots]
        line = self._line(table, slots, self.begins + fatigue)
        over = score > line
        run = np.where(over, np.where(restarted, 0, table["line_run"][slots]) + 1, 0)
        if self._budget:
            resting = quiet <= self._rest
            run = np.where(resting, 0, run)
            event = run == self._open_after
            table["line_quiet"][slots] = np.where(event, 1, np.minimum(quiet + 1, LONGEST_REST + 1))
        else:
            event = over & (quiet > self._rest)
            table["line_quiet"][slots] = np.where(over, 1, np.minimum(quiet + 1, LONGEST_REST + 1))
        _, _, rate = self._rates.step(table, slots, end)
        moved = fatigue + np.where(event, self._step, 0.0) - self._step * rate
        table["line_fatigue"][slots] = np.clip(moved, self._least, self._most)
        table["line_run"][slots] = run
        if not self._calibrated:
            self._voice.step(table, slots, np.log(np.maximum(score, LEAST_SCORE))[:, None])
        return line

    def restart(self, table: StreamTable, slot: int) -> None:
        """Begin the run anew."""
        table["line_run"][slot] = 0


class Unified(_Fatigued):
    """Half streaming quantiles, half normal tail; see the module."""

    class Settings(FatigueSettings):
        """Section `threshold` with `type: unified`."""

        type: Literal["unified"] = "unified"

    def _log_score(
        self, table: StreamTable, slots: NDArray[np.int32], level: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return self._voice.level(table, slots, level)


class QuantileScale(_Fatigued):
    """The quantile half alone: T on the scale where a third is the 0.99 quantile. It learns a long anomaly."""

    class Settings(FatigueSettings):
        """Section `threshold` with `type: quantile_scale`."""

        type: Literal["quantile_scale"] = "quantile_scale"

    def _log_score(
        self, table: StreamTable, slots: NDArray[np.int32], level: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return self._voice.quantile_level(table, slots, level)
