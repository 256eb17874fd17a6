"""Thresholds: the line that a stream's scores are held against, and how it adapts.

Each kind is one class with its settings, its columns of state, and one step for one window of each of some distinct
streams. A line is always read before the window that it judges changes it. With the bundle's calibration as prior
there is a line from the first window on.

* `static`: one line for all streams, for ever.
* `p2`, `rolling_quantile`: the plain streaming quantile of the stream's own scores (river), blended with the prior.
  Kept for comparison: P² never forgets, and both follow an anomaly that lasts.
* `tracked`: mean and spread of the log score with exponential forgetting, and a controller that keeps the promised
  rate of events (an integral controller as in adaptive conformal inference, Gibbs and Candès 2021). The default.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from river import stats

from monitor.duration import Duration, PositiveDuration
from monitor.record import NEVER
from monitor.table import AnyColumn, Column, ObjectColumn, StreamTable

DAY_MS = 86_400_000
DEFAULT_BUDGET = 0.1
_LEAST_SCORE = 1e-12
_QUIET_BEFORE_EVENT = 20
_CLIP = 4.0
_LEAST_VARIANCE = 1e-6  # a constant stream must not lower its line onto its own score
_C_RANGE = (1.5, 12.0)


@dataclass(frozen=True, slots=True)
class Prior:
    """What the bundle's calibration says of scores on normal windows.

    Attributes:
        log_mean: mean of log score.
        log_variance: variance of log score.
        quantiles: pairs (q, score), rising in q.
        windows_per_stream: median number of windows of a stream that the model was trained on.
        windows_per_day: median number of windows of a stream in a day.
    """

    log_mean: float
    log_variance: float
    quantiles: Sequence[tuple[float, float]]
    windows_per_stream: float
    windows_per_day: float

    def quantile(self, q: float) -> float:
        """Return the score at `q`: linear in −log(1 − q) between the table's entries, constant outside."""
        table = np.array(self.quantiles, np.float64)
        found = np.interp(-np.log1p(-q), -np.log1p(-np.minimum(table[:, 0], 1 - 1e-15)), table[:, 1])
        return max(float(found), _LEAST_SCORE)


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
    """A kind of line. Subclasses with a `Settings` class are found by the configuration."""

    Settings: ClassVar[type[ThresholdSettings]]
    columns: tuple[AnyColumn, ...] = ()

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
    starts = np.flatnonzero(np.concatenate([[True], slot[1:] != slot[:-1]])) if len(slot) else np.zeros(0, np.intp)
    counts = np.diff(np.append(starts, len(slot)))
    turn = 0
    while len(starts):
        at = starts + turn
        found[at] = threshold.step(table, slot[at], score[at], end[at], restarted[at])
        turn += 1
        more = counts > turn
        starts, counts = starts[more], counts[more]
    return found


class Static(Threshold):
    """One line for all streams: `value`, or the calibration's quantile at the promised rate. It never learns."""

    class Settings(ThresholdSettings):
        """Section `threshold` with `type: static`."""

        type: Literal["static"] = "static"
        value: Annotated[float, Field(gt=0)] | None = Field(None, description="the score that is the line")

        @model_validator(mode="after")
        def _one_line(self) -> Static.Settings:
            if self.value is not None and (self.q is not None or self.alerts_per_stream_per_day is not None):
                message = "set value, or q or alerts_per_stream_per_day, not both"
                raise ValueError(message)
            return self

    def __init__(self, settings: Settings, prior: Prior, open_after: int) -> None:  # noqa: ARG002 - the same for all kinds
        """Set up with the calibration of the bundle."""
        value = settings.value
        self._line = value if value is not None else prior.quantile(1 - settings.rate(prior.windows_per_day))

    def step(  # noqa: D102 - see Threshold
        self,
        table: StreamTable,  # noqa: ARG002
        slots: NDArray[np.int32],  # noqa: ARG002
        score: NDArray[np.float64],
        end: NDArray[np.int64],  # noqa: ARG002
        restarted: NDArray[np.bool_],  # noqa: ARG002
    ) -> NDArray[np.float64]:
        return np.full(len(score), self._line)


class _River(Threshold):
    """A streaming quantile of river: log line = w · log own + (1 − w) · log prior, w = n ÷ (n + prior_weight)."""

    def __init__(self, settings: P2.Settings | RollingQuantile.Settings, prior: Prior, open_after: int) -> None:  # noqa: ARG002 - the same for all kinds
        """Set up with the calibration of the bundle."""
        self._q = 1 - settings.rate(prior.windows_per_day)
        self._weight = settings.prior_weight
        self._log_prior = float(np.log(prior.quantile(self._q)))
        self.columns = (
            ObjectColumn("quantile", self._create, self._dump, self._load),
            Column("quantile_count", np.int64),
        )

    @abstractmethod
    def _create(self) -> Any:  # noqa: ANN401 - an estimator of river
        """Return the estimator of a new stream."""

    @abstractmethod
    def _inner(self, estimator: Any) -> Any:  # noqa: ANN401
        """Return the part of an estimator that holds its state."""

    def _dump(self, estimator: Any) -> bytes:  # noqa: ANN401
        # Without its flag of having been updated, an estimator has no value, whatever its state.
        return bytes([estimator._is_updated]) + bytes(self._inner(estimator).__getstate__())  # noqa: SLF001 - as in P2

    def _load(self, state: bytes) -> Any:  # noqa: ANN401
        estimator = self._create()
        estimator._is_updated = bool(state[0])  # noqa: SLF001 - as in P2
        self._inner(estimator).__setstate__(state[1:])
        return estimator

    def step(
        self,
        table: StreamTable,
        slots: NDArray[np.int32],
        score: NDArray[np.float64],
        end: NDArray[np.int64],  # noqa: ARG002
        restarted: NDArray[np.bool_],  # noqa: ARG002
    ) -> NDArray[np.float64]:
        estimators = table.objects("quantile")
        count = table["quantile_count"][slots]
        own = np.ones(len(slots))
        for i, (slot, value) in enumerate(zip(slots.tolist(), score.tolist(), strict=True)):
            if count[i]:
                own[i] = estimators[slot].get()
            # Only finite scores come here: river's RollingQuantile panics on NaN with a BaseException.
            estimators[slot].update(value)
        table["quantile_count"][slots] = count + 1
        weight = np.where(count > 0, count / (count + max(self._weight, 1e-9)), 0.0)
        return np.exp(weight * np.log(np.maximum(own, _LEAST_SCORE)) + (1 - weight) * self._log_prior)


class P2(_River):
    """The P² estimator (Jain and Chlamtac 1985). It never forgets: after a level shift it lags for very long."""

    class Settings(ThresholdSettings):
        """Section `threshold` with `type: p2`."""

        type: Literal["p2"] = "p2"
        prior_weight: Annotated[float, Field(ge=0)] = Field(
            200, description="windows that the bundle's calibration counts for"
        )

    def _create(self) -> Any:  # noqa: ANN401
        return stats.Quantile(self._q)

    def _inner(self, estimator: Any) -> Any:  # noqa: ANN401
        return estimator._quantile  # noqa: SLF001 - river has no public way to its 170 bytes of state but pickle


class RollingQuantile(_River):
    """The quantile of the last `size` scores. It forgets, and learns a long anomaly within `size` windows."""

    class Settings(ThresholdSettings):
        """Section `threshold` with `type: rolling_quantile`."""

        type: Literal["rolling_quantile"] = "rolling_quantile"
        prior_weight: Annotated[float, Field(ge=0)] = Field(
            200, description="windows that the bundle's calibration counts for"
        )
        size: Annotated[int, Field(ge=2, le=100_000)] = Field(1000, description="scored windows that are remembered")

    def __init__(self, settings: Settings, prior: Prior, open_after: int) -> None:
        """Set up with the calibration of the bundle."""
        self._size = settings.size
        super().__init__(settings, prior, open_after)

    def _create(self) -> Any:  # noqa: ANN401
        return stats.RollingQuantile(self._q, self._size)

    def _inner(self, estimator: Any) -> Any:  # noqa: ANN401
        return estimator._rolling_quantile  # noqa: SLF001 - as above


class Tracked(Threshold):
    """Mean `m` and variance `v` of x = log score with forgetting, and a multiplier `c` that counts events.

    Line = exp(m + c√v), read before the update. x is clipped to m ± 4√v, so that an anomaly moves the line little and
    a lasting new normal is learned in the end. An event is, with `q`, the first window over the line with none over it
    in the 20 before; with a budget, the `open_after`-th window over the line in a row. At each window
    c += eta · (event − rate), held in [1.5, 12]: in the long run events come at the promised rate, whatever the data.
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
        self._per_day = prior.windows_per_day
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
        c = (np.log(prior.quantile(1 - settings.rate(self._per_day))) - prior.log_mean) / np.sqrt(variance)
        self.columns = (
            Column("line_m", np.float64, initial=prior.log_mean),
            Column("line_v", np.float64, initial=variance),
            Column("line_c", np.float64, initial=float(np.clip(c, *_C_RANGE))),
            Column("line_n", np.int64),
            Column("line_last", np.int64, initial=NEVER),  # end of the last scored window
            Column("line_span", np.int64),  # ms from the first scored window's end to the last one's
            Column("line_quiet", np.int8, initial=_QUIET_BEFORE_EVENT),  # windows since one was over the line
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
        n, last = table["line_n"][slots], table["line_last"][slots]
        spread = np.sqrt(v)
        line: NDArray[np.float64] = np.exp(m + c * spread)
        over = score > line
        elapsed = np.where(last == NEVER, 0, np.maximum(end - last, 0))  # 0 where the clock was set back
        span = table["line_span"][slots] + elapsed
        run = np.where(over, np.where(restarted, 0, table["line_run"][slots]) + 1, 0)
        quiet = table["line_quiet"][slots]
        budget = self._settings.q is None
        event = run == self._open_after if budget else over & (quiet >= _QUIET_BEFORE_EVENT)
        rate = self._rate(n, span)
        forget = np.maximum(self._weight(elapsed), 1 / (self._settings.prior_weight + n + 1))
        x = np.log(np.maximum(score, _LEAST_SCORE))
        d = np.clip(x, m - _CLIP * spread, m + _CLIP * spread) - m
        table["line_m"][slots] = m + forget * d
        table["line_v"][slots] = np.maximum((1 - forget) * (v + forget * d * d), _LEAST_VARIANCE)
        table["line_c"][slots] = np.clip(c + self._settings.eta * (event - rate), *_C_RANGE)
        table["line_n"][slots] = n + 1
        table["line_last"][slots] = end
        table["line_span"][slots] = span
        table["line_quiet"][slots] = np.where(over, 0, np.minimum(quiet + 1, _QUIET_BEFORE_EVENT))
        table["line_run"][slots] = run
        return line

    def restart(self, table: StreamTable, slot: int) -> None:
        """Begin the run anew."""
        table["line_run"][slot] = 0

    def _rate(self, n: NDArray[np.int64], span: NDArray[np.int64]) -> NDArray[np.float64] | float:
        """Return the promised rate of events a window; a budget a day needs the stream's own windows per day."""
        if self._settings.q is not None:
            return 1 - self._settings.q
        own = n * DAY_MS / np.maximum(span, 1)
        weight = np.where(span > 0, n / (n + max(self._settings.prior_weight, 1e-9)), 0.0)
        per_day = weight * own + (1 - weight) * self._per_day
        return np.minimum(0.1, (self._settings.budget or DEFAULT_BUDGET) / np.maximum(per_day, 1e-9))

    def _weight(self, elapsed: NDArray[np.int64]) -> NDArray[np.float64] | float:
        """Return how much of the old is forgotten at this window."""
        if self._half_life_ms is None:
            return self._forget
        return 1 - np.exp2(-elapsed / self._half_life_ms)


KINDS: tuple[type[Threshold], ...] = (Tracked, Static, P2, RollingQuantile)
"""Every kind; the configuration tells them apart by `type`."""

AnyThresholdSettings = Annotated[
    Tracked.Settings | Static.Settings | P2.Settings | RollingQuantile.Settings, Field(discriminator="type")
]


def build(settings: ThresholdSettings, prior: Prior, open_after: int) -> Threshold:
    """Return the threshold that the settings name."""
    kind = next(kind for kind in KINDS if isinstance(settings, kind.Settings))
    return kind(settings, prior, open_after)
