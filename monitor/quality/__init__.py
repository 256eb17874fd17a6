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

SAMPLING_RATE = "sampling_rate"
TIMED = (SAMPLING_RATE, "clock_skew")
"""Kinds of when records come."""

DIRECTIONS = ("more often", "more rarely")
"""What an alert for another sampling rate has in place of members: the ratio under one of them, 0 under the other."""

KINDS = (*MEASURED, *SILENT, *TIMED)
"""Values of `labels.kind`, beside `anomaly`."""

__all__ = [
    "DIRECTIONS",
    "KINDS",
    "MEASURED",
    "PARTITION_SILENCE",
    "SAMPLING_RATE",
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
