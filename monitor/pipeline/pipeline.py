"""The pipeline: records of several partitions in, alerts out. Production and backtest run this and nothing else.

It has no clock, does no I/O, and draws no random number: what it returns is a function of the records, in the order of
their offsets, and not of how they were cut into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from monitor.alert import Alerter, AlertSettings
from monitor.detector import Detector
from monitor.ignore import Ignore
from monitor.liveness import Liveness
from monitor.pipeline.expiry import expiries
from monitor.pipeline.faults import Faults
from monitor.pipeline.output import REASONS, Output, ScoreRows
from monitor.pipeline.partition import Partition
from monitor.pipeline.watch import Watch
from monitor.quality import Heard, Quality
from monitor.record import Records, RecordSettings
from monitor.score import Model, Scored, score
from monitor.table import AnyColumn, StreamTable
from monitor.threshold import Prior, Threshold, ThresholdSettings, build, lines
from monitor.window import Windowed, Windower, Windows, WindowSettings
from monitor.window.clock import Judged
from monitor.window.rows import group_starts


class Pipeline:
    """Windows, scores, lines and alerts for any number of partitions.

    Attributes:
        windower: records → windows.
        model: windows → scores.
        threshold: scores → lines.
        alerter: scores over lines → alerts.
        alerters: the same, and those of other kinds.
        learned: how much of what judges a stream is its own; None = nothing ever is.
        warmup: windows of a new stream that are not scored.
    """

    def __init__(  # noqa: PLR0913 - one for each stage
        self,
        record: RecordSettings,
        window: WindowSettings,
        threshold: ThresholdSettings,
        alert: AlertSettings,
        model: Model | Detector,
        prior: Prior,
        features: int,
        *,
        ignore: Ignore | None = None,
        quality: Quality | None = None,
        keep_scores: bool = False,
    ) -> None:
        """Set up the stages; `prior` is the calibration of the model's bundle, `ignore` the rules of `alert.ignore`.

        `quality` measures what is wrong with the data themselves, where `alert.quality` asks for it.
        """
        self._record = record
        self._window = window
        self.model = model
        self._ignore = ignore
        self._keep_scores = keep_scores
        self._alert_expire = min(alert.expire.ms, record.expire.ms)
        self.windower = Windower(window, record, features)
        self.threshold: Threshold = build(threshold, prior, alert.open_after)
        detector = model if isinstance(model, Detector) else None
        self.learned = self.threshold.learned if detector is None else detector.learned
        self.warmup = 0 if detector is None else detector.warmup
        members = () if detector is None else detector.members
        self.alerter = Alerter(alert, features, prior.windows_per_stream, self.learned, members)
        self._watch = None if quality is None else Watch(quality, alert, record, features)
        self.alerters = (self.alerter, *(() if self._watch is None else self._watch.alerters))

    @property
    def alert_columns(self) -> tuple[AnyColumn, ...]:
        """Everything that alerts of all kinds know of a stream."""
        return (*self.alerter.columns, *(() if self._watch is None else self._watch.columns))

    @property
    def line_columns(self) -> tuple[AnyColumn, ...]:
        """Everything that scores and lines know of a stream."""
        own = self.model.columns if isinstance(self.model, Detector) else ()
        return (*own, *self.threshold.columns)

    def partition(self, topic: str, number: int) -> Partition:
        """Return a partition without state."""
        liveness = Liveness(self._record.expire.ms, self._record.max_streams)
        decisions = (*self.line_columns, *self.alert_columns)
        activity = () if self._watch is None else self._watch.ACTIVITY
        return Partition(topic, number, self.windower, decisions, liveness, activity)

    def pending(self, partition: Partition) -> int:
        """Return how many records of a partition wait."""
        return self.windower.pending(partition.table)

    def waiting(self, partition: Partition) -> set[int]:
        """Return the offsets of the records of a partition that wait."""
        return self.windower.waiting(partition.table)

    def process(self, batches: Sequence[tuple[Partition, Records]], due: Callable[[], None] | None = None) -> Output:
        """Take at most one batch of each partition, and return what they made; call `due` before windows are scored."""
        output = Output()
        rest = [(partition, records) for partition, records in batches if len(records)]
        while rest:
            now, later = [], []
            for partition, records in rest:
                cut = partition.liveness.cut(partition.table, partition.time, records)
                whole = cut == len(records)
                now.append((partition, records if whole else records.take(slice(0, cut))))
                if not whole:
                    later.append((partition, records.take(slice(cut, None))))
            self._slice(now, output, due)
            rest = later
        for partition, _ in batches:
            partition.table.settle()
        output.alerts.sort(key=lambda alert: alert.order)
        return output

    def _slice(self, work: Sequence[tuple[Partition, Records]], output: Output, due: Callable[[], None] | None) -> None:
        """Take records during which no stream is dropped but at the end."""
        taken: list[tuple[Partition, Windowed]] = []
        faults: list[Faults | None] = []
        for partition, offered in work:
            records = offered
            refused = partition.liveness.admit(partition.table, records, partition.changes)
            if refused.any():
                output.refused.setdefault(partition.key, []).extend(records.offset[refused].tolist())
                partition.counts["dead_lettered"] += int(np.count_nonzero(refused))
                records = records.take(np.flatnonzero(~refused))
            if len(records):
                windowed = self.windower.process(partition.table, records)
                _count(partition, windowed, output)
                wrong: Faults | None = None
                if self._watch is not None:
                    wrong, windowed = self._watch.look(partition, records, windowed)
                faults.append(wrong)
                taken.append((partition, windowed))
        if due is not None and any(len(windowed.windows) for _, windowed in taken):
            due()
        found = self._score(taken)
        for (partition, windowed), scores, faulty in zip(taken, found, faults, strict=True):
            self._judge(partition, windowed, scores, faulty, output)

    def _score(self, taken: Sequence[tuple[Partition, Windowed]]) -> list[Scored]:
        """Return the scores of the windows of some partitions."""
        model, most = self.model, self._window.max_missing
        if isinstance(model, Detector):
            return [model.judge(partition.table, windowed.windows, most) for partition, windowed in taken]
        return score(model, [windowed.windows for _, windowed in taken], most)

    def _judge(
        self, partition: Partition, windowed: Windowed, scored: Scored, faults: Faults | None, output: Output
    ) -> None:
        """Lines, partition time, alerts and drops of one partition."""
        table, windows = partition.table, windowed.windows
        line = self._lines(table, windows, scored)
        with np.errstate(invalid="ignore"):
            over = scored.scored & (scored.score > line)
        reason = self._reasons(windows, scored, output)
        if self._ignore is not None and over.any():
            ignored = self._ignore.of(table, windows, scored, line, np.flatnonzero(over))
            over[ignored] = False
            reason[ignored] = REASONS.index("ignored")
            output.ignored += len(ignored)
        heard = _hear(partition, windowed.judged)
        opened = windows.slot[over] if faults is None else faults.opened(over)
        ended = expiries(table, heard, np.union1d(self._firing(table), opened), self._alert_expire)
        alerts = self.alerter.process(table, partition.key, windows, scored, line, over, ended)
        if self._watch is not None and faults is not None:
            alerts += self._watch.alerts(partition, faults, heard, ended)
        partition.liveness.touch(table, heard.slot, heard.time)
        active = windowed.judged.arrivals.slot
        partition.changes.touched(active[group_starts(active)])
        partition.changes.decided(windows.slot)
        if scored.refreshed is not None:
            partition.changes.refreshed(scored.refreshed)
        partition.changes.decided(np.array([expiry.slot for expiry in ended], np.intp))
        output.alerts.extend(alerts)
        output.windows += len(windows)
        output.anomaly_scores.append(scored.score[scored.scored] / line[scored.scored])
        output.scored += int(np.count_nonzero(scored.scored))
        spans = float((windows.end - windows.start)[scored.scored].sum())
        output.stream_ms += spans * self._window.stride / max(1, self._window.length - 1)
        if self._keep_scores and len(windows):
            rows = _score_rows(table, windows, scored, line, over, reason)
            output.scores.setdefault(partition.key, []).append(rows)
        gone = partition.liveness.drop(table, partition.time)
        if len(gone):
            _count_late(partition, self.windower.unfinished(table, gone), output)
            table.drop(gone)
            partition.changes.came_or_gone(gone)
            partition.time.recount(table)

    def _reasons(self, windows: Windows, scored: Scored, output: Output) -> NDArray[np.int8]:
        """Return why windows were not scored, indices into `REASONS`, and count it: never silently normal."""
        reason = np.zeros(len(windows), np.int8)
        if not scored.scored.all():
            lost = np.flatnonzero(~scored.scored)
            reason[lost] = np.where(windows.missing[lost] > self._window.max_missing, 1, 2)
            if scored.warming is not None:
                reason[scored.warming] = REASONS.index("warmup")
            output.unscored.update(REASONS[code] for code in reason[lost].tolist())
        return reason

    def _lines(self, table: StreamTable, windows: Windows, scored: Scored) -> NDArray[np.float64]:
        """Return the line of each window, NaN where unscored."""
        if scored.scored.all():
            return lines(self.threshold, table, windows.slot, scored.score, windows.end, windows.restarted)
        found = np.full(len(windows), np.nan)
        at = np.flatnonzero(scored.scored)
        # A window that began anew and could not be scored hands that on to its stream's next one.
        anew = windows.restarted[at].copy()
        ended = []
        for i in np.flatnonzero(windows.restarted & ~scored.scored).tolist():
            following = np.searchsorted(at, i)
            if following < len(at) and windows.slot[at[following]] == windows.slot[i]:
                anew[following] = True
            else:
                ended.append(int(windows.slot[i]))
        found[at] = lines(self.threshold, table, windows.slot[at], scored.score[at], windows.end[at], anew)
        for slot in ended:  # only now: the stream's windows before it were still of the old run
            self.threshold.restart(table, slot)
        return found

    def _firing(self, table: StreamTable) -> NDArray[np.intp]:
        """Return the streams with a firing alert that a long silence resolves."""
        found = self.alerter.firing(table)
        if self._watch is not None:
            found = found | self._watch.firing(table)
        return found.nonzero()[0]


def _hear(partition: Partition, judged: Judged) -> Heard:
    """Move the partition's time on over the accepted records of a batch."""
    arrivals, order = judged.arrivals, judged.by_due
    if len(arrivals) == 0:
        return Heard(arrivals.slot, arrivals.due, arrivals.seen)
    return Heard(arrivals.slot[order], arrivals.due[order], partition.time.advance(partition.table, judged))


def _count(partition: Partition, windowed: Windowed, output: Output) -> None:
    """Count what became of a slice's records."""
    judged, key = windowed.judged, partition.key
    partition.counts["processed"] += windowed.processed
    _count_late(partition, windowed.late, output)
    if judged.repeated:
        partition.counts["repeated"] += len(judged.repeated)
        output.repeated.setdefault(key, []).extend(judged.repeated)
    output.clock_resets += int(np.count_nonzero(judged.arrivals.reset))


def _count_late(partition: Partition, late: list[int], output: Output) -> None:
    """Count records as late."""
    if late:
        partition.counts["late"] += len(late)
        output.late.setdefault(partition.key, []).extend(late)


def _score_rows(
    table: StreamTable,
    windows: Windows,
    scored: Scored,
    line: NDArray[np.float64],
    over: NDArray[np.bool_],
    reason: NDArray[np.int8],
) -> ScoreRows:
    """Return a row a window."""
    return ScoreRows(
        [table.id_of(slot) for slot in windows.slot.tolist()],
        windows.end,
        windows.high,
        windows.due,
        scored.score,
        line,
        np.where(scored.scored, 1 + over, 0).astype(np.int8),
        scored.reconstruction[:, -1],
        reason,
    )
