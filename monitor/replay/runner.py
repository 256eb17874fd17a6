"""The loop of a replay: the daemon's, without commits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.bundle import Bundle
from monitor.config import Config
from monitor.dataset import Range
from monitor.fleets import Loaded, engine_for
from monitor.identity import ALL
from monitor.quality import KINDS
from monitor.record import CLASSES, Records, RecordSettings
from monitor.replay.events import EventFile
from monitor.replay.judge import LabelColumn, Raises, Span, days_of, figures
from monitor.replay.report import ColdStart, Report
from monitor.replay.scores import ScoreFile
from monitor.replay.warm import Warm
from monitor.score import Model
from monitor.sources.base import Batch, Key, Rows, Source
from monitor.sources.files import topic as topic_of_files
from monitor.table import StreamTable
from monitor.window import Windowed, Windower, WindowSettings

_POLL_SECONDS = 0.2


class _Tap(Windower):
    """The window stage, which also notes from when to when records of each stream were used."""

    def __init__(self, settings: WindowSettings, record: RecordSettings, features: int) -> None:
        super().__init__(settings, record, features)
        self.spans: dict[StreamTable, dict[str, Span]] = {}

    def process(self, table: StreamTable, records: Records) -> Windowed:
        windowed = super().process(table, records)
        used = windowed.judged.arrivals
        if len(used):
            spans = self.spans.setdefault(table, {})
            slots, starts = np.unique(used.slot, return_index=True)  # arrivals are sorted by slot
            firsts, lasts = np.minimum.reduceat(used.time, starts), np.maximum.reduceat(used.time, starts)
            for slot, first, last in zip(slots.tolist(), firsts.tolist(), lasts.tolist(), strict=True):
                name = table.id_of(slot)
                known = spans.get(name, (first, last))
                spans[name] = (min(known[0], first), max(known[1], last))
        return windowed


def replay(  # noqa: PLR0913 - what a recording is read with, and where its outputs go
    config: Config,
    bundle: Bundle,
    model: Model,
    source: Source,
    *,
    out: EventFile | None = None,
    scores: ScoreFile | None = None,
    ranges: Sequence[Range] | None = None,
    progress: Callable[[int], None] | None = None,
    state: Path | None = None,
) -> Report:
    """Run production over a recording with one bundle for all streams; see `replay_fleets`."""
    loaded = {ALL: Loaded(bundle, model)}
    return replay_fleets(config, loaded, source, out=out, scores=scores, ranges=ranges, progress=progress, state=state)


def replay_fleets(
    config: Config,
    loaded: Mapping[str, Loaded],
    source: Source,
    *,
    out: EventFile | None = None,
    scores: ScoreFile | None = None,
    ranges: Sequence[Range] | None = None,
    progress: Callable[[int], None] | None = None,
    state: Path | None = None,
) -> Report:
    """Run production over a recording to its end, and close it.

    Args:
        config: the configuration; its sinks, dead letters and group are not touched.
        loaded: bundle and model of each fleet, by its glob.
        source: the recording; its rows have the features of all fleets.
        out: takes the events.
        scores: takes a row a window.
        ranges: labels; None = those of the recording's column `label`, if it has one.
        progress: called after each poll with the number of records so far.
        state: a snapshot to begin with: records that it has seen are left out.

    Raises:
        ConfigError: if the configuration contradicts a bundle.
        SourceError: if the recording or the snapshot cannot be read.
        SinkError: if an output cannot be written.
    """
    engine = engine_for(config, loaded, keep_scores=scores is not None)
    taps = []
    for each in engine.fleets.values():
        tap = each.pipeline.windower = _Tap(each.window, config.record, len(each.features))
        taps.append(tap)
    begun: dict[Key, int] = {}
    raises, column = Raises(), LabelColumn()
    reasons: Counter[str] = Counter()
    records = windows = scored = events = 0
    try:
        warm = Warm(engine, state, config.state.on_new_bundle)
        for work in warm.works:
            events += len(work.events)
            if out is not None:
                out.add(work.alerts, work.events)
        while not source.exhausted:
            batches = [rest for batch in source.poll(_POLL_SECONDS) if len(rest := warm.cut(batch))]
            for batch in batches:
                begun.setdefault((batch.topic, batch.partition), _first(batch))
                column.take(batch)
                records += len(batch)
            work = engine.process(batches)
            raises.add(work.alerts)
            reasons.update(work.reasons)
            windows += work.output.windows
            scored += work.output.scored
            events += len(work.events)
            if out is not None:
                out.add(work.alerts, work.events)
            if scores is not None:
                scores.add(work.output.scores)
            if progress is not None:
                progress(records)
    finally:
        source.close()
    every = [partition for each in engine.fleets.values() for partition in each.partitions.values()]
    counts = sum((partition.counts for partition in every), Counter[str]())
    counts.subtract(sum((begun.counts for begun in warm.begun.values()), Counter[str]()))
    spans = [found for tap in taps for found in tap.spans.values()]
    models = {
        name: {"kind": each.model.kind, "sha256": each.model.sha256, "config_sha256": config.sha256(each.window)}
        for name, each in engine.fleets.items()
    }
    labels = ranges if ranges is not None else column.events() if column.present else None
    return Report(
        records=records,
        classes={name: counts[name] for name in CLASSES},
        pending=engine.pending(),
        reasons=reasons,
        streams=sum(map(len, spans)),
        windows=windows,
        scored=scored,
        alerts=len(raises.alerts),
        events=events,
        cold=_cold(config, {key: first for key, first in begun.items() if key not in warm.begun}),
        warm=tuple(replace(each.start, first=begun.get(key)) for key, each in warm.begun.items()),
        models=models,
        libraries=config.model.libraries,
        faults=None if config.alert.quality is None else {kind: raises.faults[kind] for kind in KINDS},
        figures={} if labels is None else _judged(labels, raises, spans),
        strangers=tuple(sorted({label.stream for label in labels or ()} - set().union(*spans))),
    )


def _judged(
    labels: Sequence[Range], raises: Raises, spans: Sequence[Mapping[str, Span]]
) -> dict[str, float | int | None]:
    """Return what the labels say; `spans` are those of the streams of each table."""
    parts = [span for found in spans for span in found.values()]
    joined: dict[str, Span] = {}
    for found in spans:
        for name, (first, last) in found.items():
            known = joined.get(name, (first, last))
            joined[name] = (min(known[0], first), max(known[1], last))
    return figures(labels, list(raises.alerts.values()), joined, days_of(parts))


def _cold(config: Config, begun: dict[Key, int]) -> tuple[ColdStart, ...]:
    """Return the partitions that production began elsewhere, for all we know: not its topics, or not from offset 0."""
    own = set(config.topics())
    paths = getattr(config.source, "paths", ())
    if paths:
        own.add(topic_of_files(paths))
    return tuple(
        ColdStart(topic, number, offset)
        for (topic, number), offset in sorted(begun.items())
        if offset > 0 or topic not in own
    )


def _first(batch: Batch | Rows) -> int:
    """Return the smallest offset of a batch that is not empty."""
    if isinstance(batch, Batch):
        return batch.offsets[0]
    offsets = [row.offset for row in batch.refused[:1]] + batch.offset[:1].tolist()
    return int(min(offsets))
