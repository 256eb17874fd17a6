"""What a configuration and a bundle come to together: a window, a prior for lines, and the rules of one fleet.

The bundle says what its model was trained with, the configuration what it adds; where they contradict each other, the
line that says so names the setting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.bundle import Bundle
from monitor.alert import AlertSettings
from monitor.config import Config, ConfigError
from monitor.duration import Duration
from monitor.threshold import Prior
from monitor.window import WindowSettings
from monitor.window.settings import NEEDS_GRID


def effective_window(config: Config, bundle: Bundle) -> WindowSettings:
    """Return the window settings: the bundle's, where the configuration does not say otherwise.

    Raises:
        ConfigError: if they contradict each other in what the model depends on.
    """
    shape = bundle.manifest.window
    given: dict[str, Any] = {name: getattr(config.window, name) for name in config.window.model_fields_set}
    theirs: dict[str, Any] = {
        "length": shape.length,
        "stride": shape.stride,
        "interval": None if shape.interval is None else Duration(f"{shape.interval}ms"),
        "aggregate": shape.aggregate,
        "max_gap": shape.max_gap,
        "fill": shape.fill,
        "max_missing": shape.max_missing,
    }
    for name in ("length", "interval", "aggregate"):
        mine = given.get(name, theirs[name])
        same = mine == theirs[name] or (isinstance(mine, Duration) and mine.ms == shape.interval)
        if not same:
            message = (
                f"window.{name}: found {_shown(mine)}, but the model in {bundle.path} was trained with"
                f" {_shown(theirs[name])}:"
                " leave it out, or train a model for it"
            )
            raise ConfigError(message)
    merged = theirs | given
    if merged["max_gap"] and merged["interval"] is None:
        message = (
            f"window.max_gap: found {merged['max_gap']}, expected 0: the model in {bundle.path} was trained without"
            f" window.interval, and max_gap {NEEDS_GRID}"
        )
        raise ConfigError(message)
    window = WindowSettings(**merged)
    if config.record.layout == "long" and window.interval is None:
        message = "record.layout long needs a model that was trained with window.interval"
        raise ConfigError(message)
    return window


def prior_of(bundle: Bundle, stride: int | None = None) -> Prior:
    """Return what a bundle's calibration says to lines, with a window every `stride` rows (the bundle's own)."""
    calibration, own = bundle.manifest.calibration, bundle.manifest.window.stride
    ratio = own / (own if stride is None else stride)
    detector = bundle.manifest.detector
    rehearsal = None if detector is None else detector.rehearsal
    return Prior(
        calibration.log_mean,
        calibration.log_variance,
        [(q, value) for q, value in calibration.quantiles],
        calibration.windows_per_stream * ratio,
        calibration.windows_per_day * ratio,
        calibrated=detector is not None,
        heights=() if rehearsal is None else rehearsal.heights,
        days=0.0 if rehearsal is None else rehearsal.days,
    )


def own_alerts(alert: AlertSettings, features: Sequence[str], others: Sequence[str]) -> AlertSettings:
    """Return section `alert` without what is said of features that only other fleets have."""
    foreign = set(others) - set(features)
    rules = [
        rule.model_copy(update={"features": tuple(name for name in rule.features if name not in foreign)})
        for rule in alert.ignore
        if not rule.features or set(rule.features) - foreign
    ]
    quality = alert.quality
    if quality is not None:
        ranges = {name: ends for name, ends in quality.out_of_range.items() if name not in foreign}
        quality = quality.model_copy(update={"out_of_range": ranges})
    return alert.model_copy(update={"ignore": tuple(rules), "quality": quality}) if foreign else alert


def _shown(value: object) -> str:
    """Return a setting as the configuration writes it."""
    return "null" if value is None else str(value)
