"""Data quality: what is wrong with a stream's data themselves, alerts of their own kind.

`settings`; `measures` of windows; `silence` of streams; `rounds` for both.
"""

from monitor.quality.measures import MEASURED, Measured, Quality
from monitor.quality.settings import FlatLine, QualitySettings, Silence
from monitor.quality.silence import Heard, Silences, Turn, Turns

PARTITION_SILENCE = "partition_silence"
SILENT = ("silence", PARTITION_SILENCE)
"""Kinds that no record of their own causes."""

KINDS = (*MEASURED, *SILENT)
"""Values of `labels.kind`, beside `anomaly`."""

__all__ = [
    "KINDS",
    "MEASURED",
    "PARTITION_SILENCE",
    "SILENT",
    "FlatLine",
    "Heard",
    "Measured",
    "Quality",
    "QualitySettings",
    "Silence",
    "Silences",
    "Turn",
    "Turns",
]
