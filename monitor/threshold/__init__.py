"""Thresholds: the line that a stream's scores are held against, and how it adapts.

Each kind is one class with its settings, its columns of state, and one step for one window of each of some distinct
streams. A line is always read before the window that it judges changes it. With the bundle's calibration as prior
there is a line from the first window on. Kinds are found by discovery: a subclass of `Threshold` with `Settings` in a
file of this package.

* `tracked`: mean and spread of the log score, with a controller that keeps a rate exactly. The default.
* `unified`: quantiles, tail, rest, fatigue and budget in one. The default for bundles with a detector.
* `quantile_scale`: the quantile half of `unified` alone. For comparison.
* `p2`, `rolling_quantile`: river's streaming quantiles. For comparison.
* `static`: one line for all streams, for ever.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from monitor.threshold.base import DAY_MS, DEFAULT_BUDGET, Learned, Prior, Threshold, ThresholdSettings, lines
from monitor.threshold.river import P2, RollingQuantile
from monitor.threshold.static import Static
from monitor.threshold.tracked import Tracked
from monitor.threshold.unified import LEVEL, QuantileScale, Unified

__all__ = [
    "DAY_MS",
    "DEFAULT_BUDGET",
    "KINDS",
    "LEVEL",
    "P2",
    "AnyThresholdSettings",
    "Learned",
    "Prior",
    "QuantileScale",
    "RollingQuantile",
    "Static",
    "Threshold",
    "ThresholdSettings",
    "Tracked",
    "Unified",
    "build",
    "lines",
]


def _kinds() -> tuple[type[Threshold], ...]:
    """Return every class of this package's files that has settings."""
    found: dict[str, type[Threshold]] = {}
    for module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        for value in vars(importlib.import_module(f"{__name__}.{module}")).values():
            if isinstance(value, type) and issubclass(value, Threshold) and not inspect.isabstract(value):
                found[value.Settings.model_fields["type"].default] = value
    return tuple(found[name] for name in sorted(found))


KINDS: tuple[type[Threshold], ...] = _kinds()
"""Every kind; the configuration tells them apart by `type`."""

if TYPE_CHECKING:
    AnyThresholdSettings = ThresholdSettings
else:
    AnyThresholdSettings = Annotated[reduce(or_, (kind.Settings for kind in KINDS)), Field(discriminator="type")]


def build(settings: ThresholdSettings, prior: Prior, open_after: int) -> Threshold:
    """Return the threshold that the settings name.

    Scores of a bundle with a detector are calibrated already: what `tracked` would do is done, and the line is
    `unified` with the same promise.
    """
    if prior.calibrated and isinstance(settings, Tracked.Settings):
        settings = Unified.Settings(q=settings.q, alerts_per_stream_per_day=settings.alerts_per_stream_per_day)
    kind = next(kind for kind in KINDS if type(settings) is kind.Settings)
    return kind(settings, prior, open_after)
