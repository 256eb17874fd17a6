"""`tracked`: mean and spread of the log score with forgetting, and a controller that keeps the promised rate of events.

An integral controller as in adaptive conformal inference (Gibbs and Candès 2021).
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from monitor.duration import Duration, PositiveDuration
from monitor.table import Column, StreamTable
from monitor.threshold.base import LEAST_SCORE, QUIET_BEFORE_EVENT, Learned, Prior, Rates, Threshold, ThresholdSettings

_CLIP = 4.0
_LEAST_VARIANCE = 1e-6  # a constant stream must not lower its line onto its own score
_C_RANGE = (1.5, 12.0)
_BEYOND = 2.0
"""Spreads above the calibration's quantile at which the line of a rare budget begins.

A calibration has not seen windows as rare as 1 in 10,000: held against its largest score, normal halves of SMD pass 2.5
times as often as promised; so, 1.4 times.
"""


class Tracked(Threshold):
    """Mean `m` and variance `v` of x = log score with forgetting, and a multiplier `c` that counts events.

    Line = exp(m + c√v), read before the update. x is clipped to m ± 4√v, so that an anomaly moves the line little and
    a lasting new normal is learned in the end. An event is, with `q`, the first window over the line with none over it
    in the 20 before; with a budget, the `open_after`-th window over the line in a row. At each window
    c += eta · (event − rate), held in [1.5, 12]: in the long run events come at the promised rate, whatever the data.

    c begins where the calibration's quantile at the promised rate lies; with a budget above it: no higher at 1 event in
    1,000 windows, two spreads at 1 in 10,000 and less, in between by the logarithm.
    """

    class Settings(ThresholdSettings):
        """Section `threshold` with `type: tracked`."""

        type: Literal["tracked"] = "tracked"
        half_life: Annotated[int, Field(ge=1)] | PositiveDuration | Literal["auto"] = Field(
            "auto",
            description="half-life of mean and spread: windows, event time such as 12h, or auto"
            " (the bundle's windows_per_stream, between 100 and 1000)",
        )
        prior_weight: Annotated[float, Field(ge=0)] = Field(
            200, description="windows that the bundle's calibration counts for"
        )
        eta: Annotated[float, Field(gt=0, le=10)] = Field(
            1.0, description="how far one event lifts the line, in spreads of the log score"
        )

    def __init__(self, settings: Settings, prior: Prior, open_after: int) -> None:
        """Set up with the calibration of the bundle."""
        self._settings = settings
        self._rates = Rates(settings, settings.prior_weight, prior.windows_per_day)
        self.learned = Learned("line_n", settings.prior_weight)
        self._open_after = open_after
        half_life = settings.half_life
        self._half_life_ms: int | None = None
        self._forget = 0.0
        if isinstance(half_life, Duration):
            self._half_life_ms = half_life.ms
        else:
            windows = half_life if isinstance(half_life, int) else round(min(max(prior.windows_per_stream, 100), 1000))
            self._forget = 1 - 0.5 ** (1 / windows)
        variance = max(prior.log_variance, _LEAST_VARIANCE)
        c = (np.log(prior.quantile(1 - settings.rate(prior.windows_per_day))) - prior.log_mean) / np.sqrt(variance)
        if settings.q is None:
            c += _BEYOND * np.clip(-np.log10(settings.rate(prior.windows_per_day)) - 3, 0, 1)
        self.columns = (
            Column("line_m", np.float64, initial=prior.log_mean),
            Column("line_v", np.float64, initial=variance),
            Column("line_c", np.float64, initial=float(np.clip(c, *_C_RANGE))),
            *Rates.columns,
            Column("line_quiet", np.int8, initial=QUIET_BEFORE_EVENT),  # windows since one was over the line
            Column("line_run", np.int32),  # windows over the line in a row
        )

    def step(  # noqa: D102 - see Threshold
        self,
        table: StreamTable,
        slots: NDArray[np.int32],
        score: NDArray[np.float64],
        end: NDArray[np.int64],
        restarted: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        m, v, c = table["line_m"][slots], table["line_v"][slots], table["line_c"][slots]
        spread = np.sqrt(v)
        line: NDArray[np.float64] = np.exp(m + c * spread)
        over = score > line
        run = np.where(over, np.where(restarted, 0, table["line_run"][slots]) + 1, 0)
        quiet = table["line_quiet"][slots]
        budget = self._settings.q is None
        event = run == self._open_after if budget else over & (quiet >= QUIET_BEFORE_EVENT)
        n, elapsed, rate = self._rates.step(table, slots, end)
        forget = np.maximum(self._weight(elapsed), 1 / (self._settings.prior_weight + n + 1))
        x = np.log(np.maximum(score, LEAST_SCORE))
        d = np.clip(x, m - _CLIP * spread, m + _CLIP * spread) - m
        table["line_m"][slots] = m + forget * d
        table["line_v"][slots] = np.maximum((1 - forget) * (v + forget * d * d), _LEAST_VARIANCE)
        table["line_c"][slots] = np.clip(c + self._settings.eta * (event - rate), *_C_RANGE)
        table["line_quiet"][slots] = np.where(over, 0, np.minimum(quiet + 1, QUIET_BEFORE_EVENT))
        table["line_run"][slots] = run
        return line

    def restart(self, table: StreamTable, slot: int) -> None:
        """Begin the run anew."""
        table["line_run"][slot] = 0

    def _weight(self, elapsed: NDArray[np.int64]) -> NDArray[np.float64] | float:
        """Return how much of the old is forgotten at this window."""
        if self._half_life_ms is None:
            return self._forget
        return 1 - np.exp2(-elapsed / self._half_life_ms)
