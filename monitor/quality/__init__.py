"""Data quality: what is wrong with a stream's data themselves, alerts of their own kind.

`settings`; `measures` of windows; `silence` of streams; `timing` of records; `rounds` for all.
"""

from monitor.quality.measures import MEASURED, Measured, Quality
from monitor.quality.settings import ClockSkew, FlatLine, QualitySettings, SamplingRate, Silence
from monitor.quality.silence import Heard, Silences, Turn, Turns
from monitor.quality.timing import Rates, Skews

PARTITION_SILENCE = "partition_silence"
SILENT = ("silence", PARTITION_SILENCE)
"""Kinds that no record of their own causes."""

TIMED = ("sampling_rate", "clock_skew")
"""Kinds of when records come."""

KINDS = (*MEASURED, *SILENT, *TIMED)
"""Values of `labels.kind`, beside `anomaly`."""

__all__ = [
    "KINDS",
    "MEASURED",
    "PARTITION_SILENCE",
    "SILENT",
    "TIMED",
    "ClockSkew",
    "FlatLine",
    "Heard",
    "Measured",
    "Quality",
    "QualitySettings",
    "Rates",
    "SamplingRate",
    "Silence",
    "Silences",
    "Skews",
    "Turn",
    "Turns",
]
