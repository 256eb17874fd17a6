"""Calibration: what scores and residuals look like on normal windows that training has not seen.

A line for streams begins here: the monitor reads the logarithm's mean and variance and the table of quantiles as its
prior.

Windows that overlap say little more than one of them: the 75 held-out windows of three days of hourly rows are about
four independent ones, and their own 0.98 quantile is no more than the worst of those days. So an entry of the table
is the quantile of the scores only where at least one independent window lies beyond it. Further out it is what a
normal distribution of log scores with the same mean and variance says, where that is higher than what was seen.
Measured on the pipe-flow recording of the demo, four seeds: the first line came without this in the midst of ordinary
fluctuation, and with it there was no false alarm.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS = (0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999, 0.99995, 0.99999)
"""The quantiles of a table of scores."""

RESIDUAL_LEVELS = (0.5, 0.9, 0.95, 0.99)
"""The quantiles of a feature's residual."""

FLOOR = 1e-12
"""A score below this counts as this, so that its logarithm is finite."""

_DAY = 86_400_000
_ROUNDING = 1e-9  # 1 - 0.9 is a little less than a tenth


class Calibration(BaseModel):
    """Scores of held-out normal windows, pooled over streams.

    Attributes:
        count: windows.
        streams: streams that they come from.
        windows_per_stream: windows a stream has in the recording, training part included; median over streams.
        windows_per_day: windows a stream makes in a day of event time; median over streams.
        log_mean: mean of log(max(score, 1e-12)).
        log_variance: variance of it, above 0.
        quantiles: pairs of quantile and score, both rising.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int = Field(ge=1)
    streams: int = Field(ge=1)
    windows_per_stream: float = Field(gt=0, allow_inf_nan=False)
    windows_per_day: float = Field(gt=0, allow_inf_nan=False)
    log_mean: float = Field(allow_inf_nan=False)
    log_variance: float = Field(gt=0, allow_inf_nan=False)
    quantiles: tuple[tuple[float, float], ...] = Field(min_length=1)


class Residual(BaseModel):
    """How far a normal value lies from its reconstruction, for one feature.

    Attributes:
        feature: its name.
        quantiles: pairs of quantile and |actual - expected| in raw units, both rising; ends with 0.99.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    feature: str
    quantiles: tuple[tuple[float, float], ...] = Field(min_length=1)


def table(scores: NDArray[np.float64], independent: float) -> tuple[tuple[float, float], ...]:
    """Return pairs of quantile and score, both rising.

    Args:
        scores: `(n,)` scores above 0.
        independent: how many windows without a common row would say as much.
    """
    logs = np.log(scores)
    normal = NormalDist(float(logs.mean()), float(logs.std()))
    entries: list[tuple[float, float]] = []
    for q in LEVELS:
        value = float(np.quantile(scores, q))
        if independent * (1 - q) < 1 - _ROUNDING:
            seen = value if len(scores) * (1 - q) >= 1 - _ROUNDING else 0.0
            expected = math.exp(normal.inv_cdf(q)) if normal.stdev > 0 else value
            value = max(seen, expected, entries[-1][1] if entries else value)
        entries.append((q, value))
    return tuple(entries)


def calibrate(
    scores: NDArray[np.float32], independent: float, streams: int, windows_per_stream: float, windows_per_day: float
) -> Calibration:
    """Make the calibration of scores `(n,)`, n ≥ 1, all finite.

    Args:
        scores: scores of held-out normal windows.
        independent: how many windows without a common row would say as much.
        streams: streams that they come from.
        windows_per_stream: see `rates`.
        windows_per_day: see `rates`.
    """
    floored = np.maximum(scores.astype(np.float64), FLOOR)
    logs = np.log(floored)
    return Calibration(
        count=len(scores),
        streams=streams,
        windows_per_stream=windows_per_stream,
        windows_per_day=windows_per_day,
        log_mean=float(logs.mean()),
        log_variance=max(float(logs.var()), FLOOR),
        quantiles=table(floored, independent),
    )


def residuals(
    features: tuple[str, ...], actual: NDArray[np.float32], expected: NDArray[np.float32]
) -> tuple[Residual, ...]:
    """Make each feature's table of |actual - expected|.

    Args:
        features: their names.
        actual: windows `(n, L, F)` in raw units; NaN = missing, left out. A feature without a value gets zeros.
        expected: their reconstructions.
    """
    distance = np.abs(actual.astype(np.float64) - expected).reshape(-1, len(features))
    tables = []
    for position, feature in enumerate(features):
        column = distance[:, position]
        present = column[~np.isnan(column)]
        values = np.quantile(present, RESIDUAL_LEVELS) if len(present) else np.zeros(len(RESIDUAL_LEVELS))
        tables.append(Residual(feature=feature, quantiles=tuple(zip(RESIDUAL_LEVELS, values.tolist(), strict=True))))
    return tuple(tables)


def rates(stream: NDArray[np.int32], end: NDArray[np.int64], span: NDArray[np.int64]) -> tuple[float, float]:
    """Return the median number of windows a stream has, and makes in a day; only streams with a window count.

    Args:
        stream: `(W,)` the stream of each window, windows of one stream in order of time.
        end: `(W,)` time of the last row of each window, in ms.
        span: `(W,)` ms from the first to the last row of each window: a stream with one window alone, or all of them
            at one time, is taken to make one window in that long (in a day, if it is 0).
    """
    _, first, count = np.unique(stream, return_index=True, return_counts=True)
    last = first + count - 1
    elapsed = end[last] - end[first]
    alone = elapsed <= 0
    made = np.where(alone, 1, count - 1)
    lasted = np.where(alone, np.where(span[first] > 0, span[first], _DAY), elapsed)
    return float(np.median(count)), float(np.median(made * (_DAY / lasted)))
