"""What Prometheus sees. `service` sets these figures from what the stages return; the stages know nothing of them.

Every label has a fixed set of values, made at the start so that a rate is right from the first event on; topic and
partition come from the configuration and the assignment. There is no label for the stream: there may be millions.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from monitor import __version__
from monitor.alert import RULE
from monitor.quality import KINDS
from monitor.record import CLASSES, DEAD_LETTER_REASONS
from monitor.score import UNSCORED
from monitor.stopwatch import PARTS

STAGES = ("poll", "process", "commit", "restore")
"""The steps of the loop, in order."""

ERROR_TYPES = ("connection", "timeout", "rejected", "fenced", "other")
"""What an error can be counted as; see `error_type`."""

OUTCOMES = ("committed", "aborted", "unknown")
"""How a transaction can end."""

STATUSES = ("firing", "resolved")
"""What an alert event can say."""

_SECONDS = (0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_RESTORES = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0)
_DELAYS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 3_600.0, 86_400.0)
_BATCHES = (1.0, 4.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 4_096.0, 16_384.0)
_RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
_COVERAGE_HALF_LIFE = 10_000.0  # windows: as many ago, a window counts half in the coverage
_MIME = "text/plain; version=0.0.4; charset=utf-8"


def error_type(error: BaseException) -> str:
    """Return which of `ERROR_TYPES` an error, or else what caused it, is; known by its class and the class's name."""
    found: BaseException | None = error
    while found is not None:
        name = type(found).__name__
        if "Fenced" in name:
            return "fenced"
        if "Timeout" in name or "TimedOut" in name:
            return "timeout"
        if getattr(found, "permanent", False) or any(word in name for word in ("Authentication", "Authorization")):
            return "rejected"
        if isinstance(found, ConnectionError) or any(word in name for word in ("Connection", "NoBrokers", "gaierror")):
            return "connection"
        found = found.__cause__
    return "other"


class BulkHistogram(Collector):
    """A histogram that takes an array at a time: one call a batch, not one a value."""

    def __init__(self, name: str, documentation: str, buckets: Sequence[float]) -> None:
        """Count into `buckets`, rising upper bounds; the last, +Inf, comes by itself."""
        self._name = name
        self._documentation = documentation
        self._bounds = np.asarray(buckets, np.float64)
        self._labels = [*map(floatToGoString, buckets), "+Inf"]
        self._counts = np.zeros(len(buckets) + 1, np.int64)
        self._sum = 0.0
        self._lock = threading.Lock()  # a scrape comes from another thread

    def observe(self, values: NDArray[np.floating]) -> None:
        """Count `values`, of any shape; what is not finite (NaN: there is no value) is left out."""
        finite = values[np.isfinite(values)].astype(np.float64, copy=False)
        counts = np.bincount(np.searchsorted(self._bounds, finite), minlength=len(self._counts))
        with self._lock:
            self._counts += counts
            self._sum += float(finite.sum())

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Return the counts as Prometheus wants them: each bucket holds those below it, too."""
        with self._lock:
            counts, total = np.cumsum(self._counts), self._sum
        buckets = list(zip(self._labels, counts.astype(float).tolist(), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=total)

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """Return the name, so that no other metric takes it."""
        yield HistogramMetricFamily(self._name, self._documentation)


class Metrics:
    """All metrics of a process, in a registry of their own.

    The attributes are prometheus_client's objects, named like the metrics without prefix and suffix.
    """

    content_type = _MIME

    def __init__(self, topics: Sequence[str] = ()) -> None:
        """Make all metrics, with a label for each of the input's `topics`."""
        disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each counter, that nobody asks for
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        Info("tidegauge_build", "The version that runs here.", registry=self.registry).info({"version": __version__})
        self._model: Info | None = None
        self._lately_scored = 0.0
        self._lately_due = 0.0
        self._records(topics)
        self._windows()
        self._alerts()
        self._loop()

    def render(self) -> bytes:
        """Return what a scrape gets, as `content_type`."""
        return generate_latest(self.registry)

    def describe_model(self, sha256: str, kind: str, window_length: int, fleet: str | None = None) -> None:
        """Say which model is loaded; `fleet` is the glob of the streams that it is for, None where it is for all."""
        if self._model is None:
            documentation = "The model that scores here: hash of its bundle.json, kind, records in a window."
            labels = () if fleet is None else ("fleet",)
            self._model = Info("tidegauge_model", documentation, labels, registry=self.registry)
        model = self._model if fleet is None else self._model.labels(fleet)
        model.info({"sha256": sha256, "kind": kind, "window_length": str(window_length)})

    def assign(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Make the series of partitions that this member has got."""
        for topic, partition in partitions:
            self.consumer_lag_records.labels(topic, str(partition))
            self.partition_last_record.labels(topic, str(partition)).set_to_current_time()

    def unassign(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Take the series of partitions away that another member has now: a last value would stand for ever."""
        for topic, partition in partitions:
            for gauge in (self.consumer_lag_records, self.partition_last_record):
                gauge.remove_by_labels({"topic": topic, "partition": str(partition)})

    def failed(self, stage: str, error: BaseException) -> None:
        """Count an error of a stage of the loop."""
        self.errors.labels(stage, error_type(error)).inc()

    def refused(self, error: BaseException) -> None:
        """Count an attempt to publish that failed; may be called by any thread."""
        self.alert_publish_failures.labels(error_type(error)).inc()

    def count_windows(self, scored: int, unscored: Mapping[str, int]) -> None:
        """Count the windows of a batch, and bring the coverage up to date; NaN before the first window."""
        self.windows_scored.inc(scored)
        for reason, number in unscored.items():
            self.windows_unscored.labels(reason).inc(number)
        due = scored + sum(unscored.values())
        if due:
            keep = 0.5 ** (due / _COVERAGE_HALF_LIFE)
            self._lately_scored = self._lately_scored * keep + scored
            self._lately_due = self._lately_due * keep + due
            self.coverage_ratio.set(self._lately_scored / self._lately_due)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Take the time of a stage of the loop, also if it fails."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.processing_duration_seconds.labels(stage).observe(time.perf_counter() - start)

    def took(self, seconds: Mapping[str, float]) -> None:
        """Note the time of each part of what was processed."""
        for part, taken in seconds.items():
            self.processing_duration_seconds.labels(part).observe(taken)

    def _counter(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, documentation, labels, registry=self.registry)

    def _gauge(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, documentation, labels, registry=self.registry)

    def _bulk(self, name: str, documentation: str, buckets: Sequence[float]) -> BulkHistogram:
        histogram = BulkHistogram(name, documentation, buckets)
        self.registry.register(histogram)
        return histogram

    def _records(self, topics: Sequence[str]) -> None:
        self.records = self._counter(
            "tidegauge_records_total",
            "Records by what became of them; with tidegauge_pending_records they add up to"
            " tidegauge_records_consumed_total, but for those that waited in partitions that another member has now.",
            ["class"],
        )
        self.records_consumed = self._counter(
            "tidegauge_records_consumed_total",
            "Records read from the input; standing still = nothing comes.",
            ["topic"],
        )
        self.dead_letters = self._counter(
            "tidegauge_dead_letters_total",
            "Dead letters by reason. Those that are late or repeated (dead_letter.late) are so in"
            " tidegauge_records_total, too; all others are dead_lettered there.",
            ["reason"],
        )
        self.pending_records = self._gauge(
            "tidegauge_pending_records",
            "Records that wait for a later one of their stream (cell, lateness, clock that jumped).",
        )
        self.unknown_features = self._counter(
            "tidegauge_unknown_features_total", "Values of features that the model does not know; they are ignored."
        )
        self.clock_resets = self._counter(
            "tidegauge_clock_resets_total", "Streams whose clock was set back after a run of late records."
        )
        self.streams_active = self._gauge("tidegauge_streams_active", "Live streams in this member's partitions.")
        self.streams_warming = self._gauge(
            "tidegauge_streams_warming",
            "Live streams without a scored window yet: new ones (`tidegauge check` says how long), or short.",
        )
        self.streams_in_two_partitions = self._gauge(
            "tidegauge_streams_in_two_partitions",
            "Stream ids seen in more than one partition: each is two streams here; the producer's keys are wrong.",
        )
        self.consumer_lag_records = self._gauge(
            "tidegauge_consumer_lag_records",
            "Records of a partition that are not processed yet; growing = add members.",
            ["topic", "partition"],
        )
        self.partition_last_record = self._gauge(
            "tidegauge_partition_last_record_timestamp_seconds",
            "When a record of a partition was last processed (when this member got it, before the first); one to"
            " which nothing comes has no time of its own, and makes no alert of silence.",
            ["topic", "partition"],
        )
        self.last_record_processed_timestamp_seconds = self._gauge(
            "tidegauge_last_record_processed_timestamp_seconds",
            "When a record was last processed (the start of the process, before the first).",
            ["topic"],
        )
        self.event_delay_seconds = self._bulk(
            "tidegauge_event_delay_seconds",
            "From a record's event time to its processing; what the sensor, Kafka and this process took together.",
            _DELAYS,
        )
        for name in CLASSES:
            self.records.labels(name)
        for reason in DEAD_LETTER_REASONS:
            self.dead_letters.labels(reason)
        for topic in topics:
            self.records_consumed.labels(topic)
            self.last_record_processed_timestamp_seconds.labels(topic).set_to_current_time()

    def _windows(self) -> None:
        self.windows_scored = self._counter("tidegauge_windows_scored_total", "Windows that the model scored.")
        self.windows_unscored = self._counter(
            "tidegauge_windows_unscored_total",
            "Windows that could not be scored, and so are not normal either: missing = more missing and filled values"
            " than window.max_missing; not_finite = the model made no finite score of them; warmup = the first ones of"
            " a stream, from which a detector (preset quality) only learns.",
            ["reason"],
        )
        self.windows_ignored = self._counter(
            "tidegauge_windows_ignored_total",
            "Windows over their line that did not count, by a rule of alert.ignore.",
        )
        self.stream_seconds = self._counter(
            "tidegauge_stream_seconds_total",
            "Event time that was scored, of all streams together: what the alert budget is counted by.",
        )
        self.coverage_ratio = self._gauge(
            "tidegauge_coverage_ratio",
            "Scored ÷ expected windows (all that became due), lately: a window counts half after 10,000 others.",
        )
        self.coverage_ratio.set(float("nan"))
        for reason in UNSCORED:
            self.windows_unscored.labels(reason)
        self.batch_windows = Histogram(
            "tidegauge_batch_windows", "Windows scored together.", buckets=_BATCHES, registry=self.registry
        )
        self.scoring_duration_seconds = Histogram(
            "tidegauge_scoring_duration_seconds",
            "Time that the model took for a batch of windows.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.anomaly_score = self._bulk(
            "tidegauge_anomaly_score", "Scores as multiples of their stream's line; above 1 is anomalous.", _RATIOS
        )

    def _alerts(self) -> None:
        self.alerts_firing = self._gauge("tidegauge_alerts_firing", "Alerts that are firing now, of all kinds.")
        self.alerts_published = self._counter(
            "tidegauge_alerts_published_total", "Alert events that are safe at the sink.", ["status"]
        )
        self.alerts_opened = self._counter(
            "tidegauge_alerts_opened_total",
            "Alerts that opened and are safe at the sink; those of kind anomaly ÷ tidegauge_stream_seconds_total is the"
            " realised alert rate.",
            ["kind"],
        )
        self.alert_publish_failures = self._counter(
            "tidegauge_alert_publish_failures_total",
            "Attempts to publish alert events that failed; they are tried again.",
            ["error_type"],
        )
        for status in STATUSES:
            self.alerts_published.labels(status)
        for kind in (RULE, *KINDS):
            self.alerts_opened.labels(kind)
        for kind in ERROR_TYPES:
            self.alert_publish_failures.labels(kind)

    def _loop(self) -> None:
        self.processing_duration_seconds = Histogram(
            "tidegauge_processing_duration_seconds",
            "Time that a step of the loop took for a batch; decode, windows, score, alerts and encode are parts of"
            " process.",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.errors = self._counter(
            "tidegauge_errors_total", "Errors by the step of the loop in which they came up.", ["stage", "error_type"]
        )
        self.transactions = self._counter(
            "tidegauge_transactions_total",
            "Transactions by how they ended; unknown = read again from the last commit.",
            ["outcome"],
        )
        self.commit_duration_seconds = Histogram(
            "tidegauge_commit_duration_seconds",
            "Time from the begin of a transaction to its end.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.restore_seconds = Histogram(
            "tidegauge_restore_duration_seconds",
            "Time that the restore of a partition's state took.",
            buckets=_RESTORES,
            registry=self.registry,
        )
        self.restoring_partitions = self._gauge(
            "tidegauge_restoring_partitions", "Partitions that wait for their state; they are not consumed yet."
        )
        self.restored_records = self._counter(
            "tidegauge_restored_records_total", "Records that were read again to bring windows up to date."
        )
        for stage in STAGES:
            self.processing_duration_seconds.labels(stage)
            for kind in ERROR_TYPES:
                self.errors.labels(stage, kind)
        for part in PARTS:
            self.processing_duration_seconds.labels(part)
        for outcome in OUTCOMES:
            self.transactions.labels(outcome)
