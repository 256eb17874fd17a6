"""The daemon: poll → process → publish and commit, until the input ends or a signal comes.

One thread does all of it. What a poll makes for others (alerts, dead letters) is committed with its offsets, in one
transaction, before the next poll, and with them what the state's log must say. A poll that decided nothing may wait for
the commit of a later one, up to `commit_interval_ms`: what it did is done again from the input after a restart.
"""

from __future__ import annotations

import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

import structlog

from monitor.breaker import Breaker
from monitor.config import Config
from monitor.delivery import Delivery
from monitor.engine import Work
from monitor.fleets import AnyEngine
from monitor.http import Health
from monitor.keeper import EXIT_OPERATOR, Keeper
from monitor.metrics import Metrics, error_type
from monitor.notifier import Notifier
from monitor.sinks.base import Sink, SinkError
from monitor.sources.base import Batch, Key, Rows, Source, SourceError

log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.2
_RESTORE_SECONDS = 0.2  # of a restore in one turn of the loop
_SWEEP_SECONDS = 1.0  # idle partitions are looked at so often
_STATUS_SECONDS = 5.0
_SWITCH_SECONDS = 0.0005
"""How long one thread keeps the others waiting. A commit is a dozen turns of the client's own thread, and each would
wait Python's usual 5 ms for the interpreter beside the loop."""


class Service:
    """Runs an engine between a source and its sinks."""

    def __init__(
        self,
        config: Config,
        engine: AnyEngine,
        source: Source,
        sinks: Sequence[Sink],
        metrics: Metrics,
        health: Health,
        *,
        breaker: Breaker | None = None,
        observe: Callable[[Work], None] | None = None,
    ) -> None:
        """Set up.

        Args:
            config: the configuration.
            engine: what turns records into alerts.
            source: where records come from.
            sinks: sinks that get events before positions are stored.
            metrics: what is counted.
            health: what the HTTP port says of this loop.
            breaker: counts deaths; None = nobody does.
            observe: called with the work of each poll, after it is committed or set aside for a later commit.
        """
        self._engine, self._source, self._metrics, self._health = engine, source, metrics, health
        self._keeper = Keeper(config, engine, source)
        self._delivery = Delivery(config, source, sinks, lambda: self._stopping, self._alive, self._refused)
        self._breaker = breaker or Breaker()
        self._alone: deque[Batch | Rows] = deque()  # what is processed one by one, since the process died of some of it
        self._observe = observe
        self._notifier = Notifier()
        self._interval = getattr(config.source, "commit_interval_ms", 1_000) / 1000
        self._stopping = False
        self._signal = 0
        self._ready = False
        self._waiting: dict[Key, int] = {}  # positions that wait for a commit
        self._since = 0.0
        self._status_at = 0.0
        self._swept_at = time.monotonic()
        self._processed = 0

    def stop(self, signum: int = signal.SIGTERM, frame: FrameType | None = None) -> None:
        """End after what is in hand."""
        del frame
        self._breaker.clear()
        self._signal = self._signal or signum  # the loop logs it: a handler may have come between two bytes of a line
        self._stopping = True

    def run(self) -> int:
        """Run until the input ends or `stop` is called; return the exit status.

        Raises:
            SourceError: if the source is of no use any more.
            SinkError: if a sink cannot take events.
        """
        usual = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_SECONDS)
        try:
            while not self._stopping:
                self._turn()
                if self._source.exhausted and not self._waiting and not self._alone:
                    break
            if self._signal:
                log.info("stopping", signal=signal.Signals(self._signal).name)
            self._health.ready, self._health.reason = False, "stopping"
            self._notifier.stopping()
            self._commit(force=True)
        finally:
            sys.setswitchinterval(usual)
            self._delivery.close()
            self._source.close()
            self._breaker.close()
        log.info("stopped", records=self._processed, pending=self._engine.pending())
        return 0

    def _turn(self) -> None:
        """One round of the loop."""
        with self._metrics.timed("poll"):
            batches = self._poll()
        self._forget()
        self._keeper.take(self._source.take_gained())
        whole, alone = self._breaker.split(batches, {(each.topic, each.partition) for each in self._alone})
        self._alone += alone
        going = not whole or self._process(whole)
        while going and self._alone and not self._stopping:
            going = self._process([self._alone.popleft()], force=True)
            self._alive()
        if not batches:
            self._sweep()
            self._commit(force=self._source.exhausted)
        if self._keeper.busy:
            self._restore()
        self._delivery.tick()
        self._alive()

    def _process(self, batches: Sequence[Batch | Rows], *, force: bool = False) -> bool:
        """Process and commit; return False if it has to be done again."""
        with self._metrics.timed("process"):
            if self._breaker.doomed(batches[0]):
                work = self._engine.bar(batches[0], "the process has died of it, again and again")
                (letter,) = work.dead_letters
                log.error("record_given_up", partition=f"{letter.topic}-{letter.partition}", offset=letter.offset)
            else:
                with self._breaker.hold(batches):
                    begin = time.perf_counter()
                    work = self._engine.process(batches, self._source.prepare)
                    self._source.worked(sum(map(len, batches)), time.perf_counter() - begin)
        self._count(work)
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting |= work.positions
        committed = self._commit([work], force=force or work.urgent)
        if committed and self._observe is not None:
            self._observe(work)
        return committed

    def _poll(self) -> list[Batch | Rows]:
        """Poll; what was processed before something that no restart mends is committed before the end.

        Else a batch that cannot be read would have a member do the records before it again with each start, and
        `tidegauge skip` would find them before it.
        """
        try:
            return self._source.poll(0.0 if self._keeper.busy else _POLL_SECONDS)
        except SourceError as error:
            if error.status == EXIT_OPERATOR:
                with suppress(SourceError):
                    self._commit(force=True)
            raise

    def _forget(self) -> None:
        """Drop what is known of partitions that are not ours any more, or are read from elsewhere."""
        lost = self._source.take_lost()
        if lost:
            known = lost & set(self._engine.partitions)
            if known:
                log.warning("state_dropped", partitions=[f"{topic}-{number}" for topic, number in sorted(known)])
            self._metrics.unassign(known)
            self._engine.drop(lost)
            self._keeper.drop(lost)
            self._breaker.drop(lost)
            self._alone = deque(each for each in self._alone if (each.topic, each.partition) not in lost)
            self._metrics.pending_records.set(self._engine.pending())
            for key in lost:
                self._waiting.pop(key, None)

    def _restore(self) -> None:
        """Go on with the restore of partitions that came, and let the records of those come that are done."""
        with self._metrics.timed("restore"):
            done = self._keeper.step(_RESTORE_SECONDS)
        fresh = {each.key: each.offset for each in done if each.commit}
        if fresh:
            self._waiting |= fresh
            self._commit([each.work for each in done if each.work is not None], force=True)
        # If that failed, the source names them as lost, and gained, again.
        self._source.release(each.key for each in done)
        for each in done:
            if each.seconds:
                self._metrics.restore_seconds.observe(each.seconds)
                self._metrics.restored_records.inc(each.records)
        self._metrics.restoring_partitions.set(self._keeper.busy)
        if done:
            self._metrics.pending_records.set(self._engine.pending())

    def _sweep(self) -> None:
        """Let the state of partitions without records be written to the end, now and then."""
        now = time.monotonic()
        if now - self._swept_at >= _SWEEP_SECONDS and self._source.settled:
            self._swept_at = now
            idle = self._keeper.idle()
            if idle and not self._waiting:
                self._waiting |= idle
                self._commit(force=True)

    def _commit(self, works: Sequence[Work] = (), *, force: bool) -> bool:
        """Commit what waits, if it must be or has waited long enough; return False if it has to be done again."""
        due = force or (time.monotonic() - self._since >= self._interval and self._source.settled)
        if not (self._waiting and due):
            return True
        begin = time.perf_counter()
        with self._metrics.timed("commit"):
            done = self._delivery.commit(works, self._waiting, self._keeper.write(self._waiting))
        self._metrics.commit_duration_seconds.observe(time.perf_counter() - begin)
        self._metrics.transactions.labels("committed" if done else "unknown").inc()
        if done:
            self._breaker.committed(self._waiting)
            for work in works:
                for alert in work.alerts:
                    self._metrics.alerts_published.labels(alert.status).inc()
                    if alert.status == "firing":
                        self._metrics.alerts_opened.labels(alert.kind).inc()
        self._waiting.clear()
        return done

    def _refused(self, error: SinkError) -> None:
        """Count an attempt to publish that failed."""
        self._metrics.alert_publish_failures.labels(error_type(error)).inc()
        self._metrics.failed("commit", error)

    def _alive(self) -> None:
        """Tell the watchdog, the HTTP port and systemd that the loop turns."""
        self._health.beat()
        self._notifier.alive()
        self._health.ready = self._source.ready and not self._keeper.busy
        self._health.reason = (
            "ok"
            if self._health.ready
            else "waiting for the brokers or the consumer group"
            if not self._source.ready
            else "restoring state"
        )
        if self._health.ready and not self._ready:
            self._ready = True
            self._notifier.ready("consuming")
            log.info("ready")
        now = time.monotonic()
        if now - self._status_at >= _STATUS_SECONDS:
            self._status_at = now
            self._report()

    def _report(self) -> None:
        """Set the gauges, and systemd's status line."""
        metrics, engine = self._metrics, self._engine
        lag = self._source.lag()
        for (topic, partition), records in lag.items():
            metrics.consumer_lag_records.labels(topic, str(partition)).set(records)
        metrics.pending_records.set(engine.pending())
        metrics.streams_active.set(engine.streams())
        metrics.streams_warming.set(engine.warming())
        metrics.streams_in_two_partitions.set(engine.streams_in_two_partitions())
        metrics.alerts_firing.set(engine.firing())
        if self._ready:
            self._notifier.status(
                f"{self._processed} records, {engine.streams()} streams, {engine.firing()} alerts firing,"
                f" {sum(lag.values())} records behind"
            )

    def _count(self, work: Work) -> None:
        """Count what a poll became."""
        metrics = self._metrics
        for topic, number in work.consumed.items():
            self._processed += number
            metrics.records_consumed.labels(topic).inc(number)
            metrics.last_record_processed_timestamp_seconds.labels(topic).set_to_current_time()
        for topic, partition in work.positions:
            metrics.partition_last_record.labels(topic, str(partition)).set_to_current_time()
        for name, number in work.classes.items():
            metrics.records.labels(name).inc(number)
        # At once, and not with the other gauges: what is consumed is in a class or waits, whenever somebody looks.
        metrics.pending_records.inc(work.consumed.total() - work.classes.total())
        for reason, number in work.reasons.items():
            metrics.dead_letters.labels(reason).inc(number)
        metrics.unknown_features.inc(work.unknown)
        metrics.count_windows(work.output.scored, work.output.unscored)
        metrics.windows_ignored.inc(work.output.ignored)
        metrics.stream_seconds.inc(work.output.stream_ms / 1000)
        metrics.clock_resets.inc(work.output.clock_resets)
        metrics.took(work.seconds)
        if work.output.scored:
            metrics.batch_windows.observe(work.output.scored)
            metrics.scoring_duration_seconds.observe(work.scoring_seconds)
        for scores in work.output.anomaly_scores:
            metrics.anomaly_score.observe(scores)
        now = time.time() * 1000  # the wall clock: what an operator waits by; nothing is decided by it
        for times in work.times:
            metrics.event_delay_seconds.observe((now - times) / 1000)
