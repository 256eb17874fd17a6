"""Data quality: what is wrong with a stream's data themselves, alerts of their own kind. `settings`, `measures`."""

from monitor.quality.measures import KINDS, Measured, Quality
from monitor.quality.settings import FlatLine, QualitySettings

__all__ = ["KINDS", "FlatLine", "Measured", "Quality", "QualitySettings"]
