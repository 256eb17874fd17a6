"""What a replay says of itself."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from monitor import __version__
from monitor.alert import RULE
from monitor.identity import ALL

_NAMED = 5
"""So many streams are named."""

_CPU = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class ColdStart:
    """A partition whose state began in the middle of things, or in another place than production's."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """Return the line for standard error."""
        return f"cold start at {self.topic}-{self.partition} offset {self.offset}"


@dataclass(frozen=True, slots=True)
class WarmStart:
    """A partition that began with the state of a snapshot.

    Attributes:
        topic: its topic.
        partition: its number.
        offset: where the state stands.
        streams: streams that it knows.
        pending: records that waited there.
        first: offset of the first record that came; None where none did.
    """

    topic: str
    partition: int
    offset: int
    streams: int
    pending: int
    first: int | None = None

    def __str__(self) -> str:
        """Return the line for standard error: whether something lies between the state and the recording."""
        where = f"{self.topic}-{self.partition}"
        if self.first is None or self.first == self.offset:
            return f"warm start at {where} offset {self.offset}: {self.streams} streams"
        return (
            f"cold start at {where} offset {self.first}: the state stands at {self.offset}, and nothing comes before"
            " (which is as it should be, if these are markers of a producer's transactions, or compacted)"
        )


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a replay.

    Attributes:
        records: records read.
        classes: how many of them ended as what; with `pending`, they sum to `records`.
        pending: records that still wait when the recording ends.
        reasons: dead letters by reason.
        streams: streams (topic, partition, id) that had a record that was used.
        windows: windows that became due.
        scored: those of them that were scored.
        alerts: alerts that fired, those of anomalies.
        events: events that they made.
        cold: where state began that production's may not have begun.
        warm: where it began with what a snapshot knows.
        faults: alerts on the data themselves that fired, by kind; None where `alert.quality` asks for none.
        figures: what the labels say; empty without labels.
        strangers: labelled streams of which the recording has no record that was used.
        models: of each fleet, by its glob, kind and sha256 of the model, and config_sha256, the hash of the settings
            that decide what is an alert.
        libraries: those that the last bit of a score depends on.
    """

    records: int
    classes: Mapping[str, int]
    pending: int
    reasons: Mapping[str, int]
    streams: int
    windows: int
    scored: int
    alerts: int
    events: int
    cold: tuple[ColdStart, ...]
    models: Mapping[str, Mapping[str, str]]
    figures: Mapping[str, float | int | None] = field(default_factory=dict)
    strangers: tuple[str, ...] = ()
    warm: tuple[WarmStart, ...] = ()
    faults: Mapping[str, int] | None = None
    libraries: tuple[str, ...] = ("onnxruntime", "numpy")

    def fields(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "records": self.records,
            "windows": self.windows,
            "alerts": self.alerts,
            **({} if self.faults is None else {"alerts_by_kind": {RULE: self.alerts, **self.faults}}),
            "dead_letters": self.classes["dead_lettered"],
            "pending": self.pending,
            **self.figures,
            **({"labelled_streams_unknown": list(self.strangers)} if self.figures else {}),
            "classes": dict(self.classes),
            "dead_letter_reasons": dict(sorted(self.reasons.items())),
            "streams": self.streams,
            "scored": self.scored,
            "events": self.events,
            "cold_start": [{"topic": c.topic, "partition": c.partition, "offset": c.offset} for c in self.cold],
            "warm_start": [asdict(start) for start in self.warm],
            **self._models(),
            "versions": versions(self.libraries),
        }

    def _models(self) -> dict[str, Any]:
        """Return what there is to say of the model; of those of several fleets."""
        if list(self.models) != [ALL]:
            return {"fleets": {name: dict(each) for name, each in self.models.items()}}
        only = dict(self.models[ALL])
        config = only.pop("config_sha256")
        return {"model": only, "config_sha256": config}

    def lines(self) -> list[str]:
        """Return it for people."""
        counts = " · ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in self.classes.items())
        read = f"{_count(self.records, 'record')} of {_count(self.streams, 'stream')}"
        made = f"{_count(self.windows, 'window')}, {_count(self.alerts, 'alert')}"
        found = [f"{read}: {made}", f"{counts} · pending {self.pending:,}"]
        if self.faults is not None:
            kinds = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in self.faults.items() if count)
            found.append(f"alerts on the data themselves: {kinds or 'none'}")
        if self.reasons:
            found.append("dead letters: " + ", ".join(f"{count:,} {reason}" for reason, count in self.reasons.items()))
        if self.figures:
            f = self.figures
            found.append(
                f"{f['labelled_events_found']} of {f['labelled_events']} labelled events found,"
                f" {f['false_alarms']} false alarms: precision {_number(f['precision'])},"
                f" recall {_number(f['recall'])}, F1 {_number(f['f1'])}"
            )
            found.append(
                f"found {_number(f['detection_delay_seconds'])} s after they began, on average;"
                f" {_number(f['false_alarms_per_stream_day'])} false alarms a stream and day"
            )
        return found + self.warnings()

    def warnings(self) -> list[str]:
        """Return what a reader of the figures must know: labels that count for nothing."""
        outside = int(self.figures.get("labelled_events_outside") or 0)
        if not outside:
            return []
        text = f"{_count(outside, 'labelled event')} outside of the recording, which count for nothing"
        if self.strangers:
            some = ", ".join(self.strangers[:_NAMED]) + (", …" if len(self.strangers) > _NAMED else "")
            text += f"; no record of {_count(len(self.strangers), 'labelled stream')}: {some}"
        return [text]


def versions(libraries: Sequence[str]) -> dict[str, str]:
    """Return what equality to the last bit depends on."""
    return {
        "tidegauge": __version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in libraries},
        "cpu": _cpu(),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _cpu() -> str:
    """Return the type of the processor."""
    try:
        lines = _CPU.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return f"{value.strip()} ({platform.machine()})"
    return platform.processor() or platform.machine() or "unknown"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
