"""Scaling: a network sees (value - offset) / scale, with offset and scale of each feature from the training rows.

Missing values (NaN) count for nothing here and stay NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from models.base import ScalingMethod

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONSTANT = 1e-5
"""A feature whose spread is below this share of its magnitude is constant: float32 cannot tell more."""

CONSTANT_SCALE = 0.01
"""A constant feature's scale as a share of its value: a departure by one percent counts as one training spread."""

_ROWS = 1_000_000  # rows summed at a time, so that a long recording needs no float64 copy of itself
_LARGEST = float(np.finfo(np.float32).max) / 4


class Scaling(BaseModel):
    """How raw units become scaled ones; F numbers each, in raw units.

    Attributes:
        method: `standard` (offset is the mean, scale the standard deviation), `minmax` (offset is the smallest value,
            scale the range, so that training rows lie in [0, 1]) or `none` (0 and 1).
        mean: mean of the feature's present values in the training rows; what a missing value becomes.
        offset: what is subtracted.
        scale: what is divided by; above 0, also for a constant feature.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: ScalingMethod
    mean: tuple[float, ...]
    offset: tuple[float, ...]
    scale: tuple[float, ...]

    def apply(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale raw values `(…, F)`; NaN stays NaN."""
        scaled: NDArray[np.float32] = values - np.asarray(self.offset, np.float32)
        scaled /= np.asarray(self.scale, np.float32)
        return scaled

    def missing(self) -> NDArray[np.float32]:
        """Return what a missing value is in scaled units: the mean, `(F,)`."""
        return self.apply(np.asarray(self.mean, np.float32))


class Spread(BaseModel):
    """What the training rows hold of each feature, F entries each; NaN where a feature has no value at all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: tuple[int, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    least: tuple[float, ...]
    greatest: tuple[float, ...]

    def constant(self) -> list[int]:
        """Return the features (by position) that do not change."""
        return [
            feature
            for feature, (deviation, least, greatest) in enumerate(
                zip(self.deviation, self.least, self.greatest, strict=True)
            )
            if deviation <= CONSTANT * max(abs(least), abs(greatest))
        ]

    def empty(self) -> list[int]:
        """Return the features (by position) that have no value."""
        return [feature for feature, count in enumerate(self.count) if count == 0]


def measure(values: NDArray[np.float32], used: NDArray[np.bool_]) -> Spread:
    """Measure those raw rows `(N, F)` that are `used` `(N,)`, in float64; NaN is left out."""
    features = values.shape[1]
    count, total, squares = np.zeros(features, np.int64), np.zeros(features), np.zeros(features)
    least, greatest = np.full(features, np.inf), np.full(features, -np.inf)
    for start in range(0, len(values), _ROWS):
        rows = values[start : start + _ROWS][used[start : start + _ROWS]].astype(np.float64)
        count += np.isfinite(rows).sum(axis=0)
        total += np.nansum(rows, axis=0)
        least = np.fmin(least, np.fmin.reduce(rows, initial=np.inf))
        greatest = np.fmax(greatest, np.fmax.reduce(rows, initial=-np.inf))
    with np.errstate(invalid="ignore"):
        mean = total / count
    for start in range(0, len(values), _ROWS):
        rows = values[start : start + _ROWS][used[start : start + _ROWS]].astype(np.float64)
        squares += np.nansum((rows - mean) ** 2, axis=0)
    with np.errstate(invalid="ignore"):
        deviation = np.sqrt(squares / count)
    figures = (count, mean, deviation, least, greatest)
    return Spread(**{name: tuple(column.tolist()) for name, column in zip(Spread.model_fields, figures, strict=True)})


def fit(spread: Spread, method: ScalingMethod) -> Scaling:
    """Choose offset and scale of each feature. Every feature must have a value."""
    mean = np.array(spread.mean)
    match method:
        case "standard":
            offset, scale = mean, np.array(spread.deviation)
        case "minmax":
            offset, scale = np.array(spread.least), np.array(spread.greatest) - np.array(spread.least)
        case "none":
            offset, scale = np.zeros_like(mean), np.ones_like(mean)
    if method != "none":
        for feature in spread.constant():
            scale[feature] = abs(mean[feature]) * CONSTANT_SCALE or 1.0
    scale = np.clip(scale, np.finfo(np.float32).tiny, _LARGEST)
    figures = [tuple(np.asarray(column, np.float32).tolist()) for column in (mean, offset, scale)]
    return Scaling(method=method, mean=figures[0], offset=figures[1], scale=figures[2])
