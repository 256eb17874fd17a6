"""Metrics: that they are there from the start, count rightly, and that Prometheus's own checker likes them."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import time

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from monitor.metrics import ERROR_TYPES, STAGES, Metrics, error_type
from monitor.quality import KINDS
from monitor.record import CLASSES, DEAD_LETTER_REASONS
from monitor.sinks.base import SinkError


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return all samples of a scrape by name and labels."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """Return one sample; `class_` is the label `class`."""
    return samples(metrics)[name, frozenset((label.rstrip("_"), text) for label, text in labels.items())]


def test_promtool_finds_nothing() -> None:
    """Names, units and help have conventions; dashboards and rules of others rely on them."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool: apt-get install prometheus")
    metrics = Metrics(["sensors"])
    metrics.describe_model("ab" * 32, "lstm", 64)
    metrics.assign([("sensors", 0)])
    metrics.anomaly_score.observe(np.array([0.5]))
    found = subprocess.run([program, "check", "metrics"], input=metrics.render(), capture_output=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")


def test_every_label_is_there_before_anything_happens() -> None:
    """A counter that begins with its first event has no rate for it: the first dead letter would be invisible."""
    found = samples(Metrics(["sensors", "more"]))
    for name, label, values in [
        ("tidegauge_records_total", "class", CLASSES),
        ("tidegauge_dead_letters_total", "reason", DEAD_LETTER_REASONS),
        ("tidegauge_records_consumed_total", "topic", ("sensors", "more")),
        ("tidegauge_windows_unscored_total", "reason", ("missing", "not_finite", "warmup")),
        ("tidegauge_alerts_published_total", "status", ("firing", "resolved")),
        ("tidegauge_alerts_opened_total", "kind", ("anomaly", *KINDS)),
        ("tidegauge_alert_publish_failures_total", "error_type", ERROR_TYPES),
        ("tidegauge_transactions_total", "outcome", ("committed", "aborted", "unknown")),
    ]:
        assert {key: found[key] for key in found if key[0] == name} == {
            (name, frozenset({(label, text)})): 0.0 for text in values
        }
    assert sum(name == "tidegauge_errors_total" for name, _ in found) == len(STAGES) * len(ERROR_TYPES)
    for stage in ("poll", "process", "commit", "decode", "windows", "score", "alerts", "encode"):
        assert found["tidegauge_processing_duration_seconds_count", frozenset({("stage", stage)})] == 0.0


def test_what_operators_are_told_of_is_there() -> None:
    """Everything that the documentation of this issue promises, by its name on the wire."""
    metrics = Metrics(["sensors"])
    metrics.describe_model("ab" * 32, "lstm", 64)
    metrics.assign([("sensors", 0)])
    names = {name for name, _ in samples(metrics)}
    promised = """build_info model_info records_total records_consumed_total dead_letters_total pending_records
        consumer_lag_records last_record_processed_timestamp_seconds event_delay_seconds_bucket windows_scored_total
        windows_unscored_total windows_ignored_total coverage_ratio batch_windows_bucket scoring_duration_seconds_sum
        processing_duration_seconds_count anomaly_score_bucket streams_active alerts_firing alerts_published_total
        alerts_opened_total stream_seconds_total
        alert_publish_failures_total errors_total clock_resets_total streams_in_two_partitions unknown_features_total
        streams_warming transactions_total commit_duration_seconds_count"""
    assert {f"tidegauge_{name}" for name in promised.split()} <= names
    assert {"process_resident_memory_bytes", "python_info", "python_gc_collections_total"} <= names
    assert not any(name.endswith("_created") for name in names)
    assert all(name.startswith(("tidegauge_", "process_", "python_")) for name in names)


def test_no_label_names_a_stream() -> None:
    """A label a stream is millions of series: it would take Prometheus down."""
    labels = {label for _, found in samples(Metrics(["sensors"])) for label, _ in found}
    assert not labels & {"stream", "key", "id"}


def test_help_is_a_sentence() -> None:
    """An operator who sees a name for the first time reads what it says."""
    text = Metrics().render().decode()
    helps = re.findall(r"^# HELP (tidegauge_\w+) (.*)$", text, re.MULTILINE)
    assert len(helps) > 20
    assert [name for name, said in helps if not said.endswith(".") or len(said) < 20] == []


def test_two_in_one_process_do_not_meet() -> None:
    """`demo` and the tests run several services in one process; their figures must not add up."""
    one, other = Metrics(), Metrics()
    one.windows_scored.inc(3)
    assert value(one, "tidegauge_windows_scored_total") == 3.0
    assert value(other, "tidegauge_windows_scored_total") == 0.0


def test_coverage_is_scored_by_expected_windows() -> None:
    """An operator must see that half of the windows are judged by nobody, and soon see it when they are again."""
    metrics = Metrics()
    assert math.isnan(value(metrics, "tidegauge_coverage_ratio"))
    metrics.count_windows(0, {})
    assert math.isnan(value(metrics, "tidegauge_coverage_ratio"))
    metrics.count_windows(6, {"missing": 3, "not_finite": 1})
    assert value(metrics, "tidegauge_coverage_ratio") == pytest.approx(0.6)
    found = samples(metrics)
    assert found["tidegauge_windows_scored_total", frozenset()] == 6.0
    for reason, number in (("missing", 3.0), ("not_finite", 1.0)):
        assert found["tidegauge_windows_unscored_total", frozenset({("reason", reason)})] == number
    for _ in range(100):
        metrics.count_windows(1_000, {})
    assert value(metrics, "tidegauge_coverage_ratio") > 0.9999


def test_model_is_described() -> None:
    """Which model scored is the first question when two deployments differ."""
    metrics = Metrics()
    assert not any(name == "tidegauge_model_info" for name, _ in samples(metrics))
    for sha in ("aa", "bb"):
        metrics.describe_model(sha, "lstm", 64)
    assert [labels for name, labels in samples(metrics) if name == "tidegauge_model_info"] == [
        frozenset({("sha256", "bb"), ("kind", "lstm"), ("window_length", "64")})
    ]


def test_a_lost_partition_has_no_lag() -> None:
    """The last value of a partition that another member reads would page somebody for ever."""
    metrics = Metrics(["sensors"])
    metrics.assign([("sensors", 0), ("sensors", 1)])
    metrics.consumer_lag_records.labels("sensors", "0").set(7)
    metrics.unassign([("sensors", 1)])
    metrics.unassign([("sensors", 1)])
    mine = frozenset({("topic", "sensors"), ("partition", "0")})
    found = samples(metrics)
    assert {labels: lag for (name, labels), lag in found.items() if name == "tidegauge_consumer_lag_records"} == {
        mine: 7.0
    }
    since = "tidegauge_partition_last_record_timestamp_seconds"
    assert [labels for name, labels in found if name == since] == [mine]
    assert found[since, mine] == pytest.approx(time.time(), abs=60)


def test_nothing_processed_yet_is_as_old_as_the_process() -> None:
    """`time() - x` must not say half a century, and page, before the first record."""
    begin = time.time()
    since = value(Metrics(["sensors"]), "tidegauge_last_record_processed_timestamp_seconds", topic="sensors")
    assert begin <= since <= time.time()


def test_a_histogram_of_arrays_counts_like_any_other() -> None:
    """A batch is one call; the buckets must be those that single observations would fill."""
    metrics = Metrics()
    rng = np.random.default_rng(1)
    scores = np.concatenate([rng.gamma(2.0, 0.4, 1_000).astype(np.float32), [1.0, 0.1, np.nan, np.inf]])
    metrics.anomaly_score.observe(scores[:500].reshape(50, 10))
    metrics.anomaly_score.observe(scores[500:])
    metrics.anomaly_score.observe(np.zeros(0, np.float32))
    finite = scores[np.isfinite(scores)]
    for bound in (0.1, 1.0, 10.0):
        counted = value(metrics, "tidegauge_anomaly_score_bucket", le=str(bound))
        assert counted == np.count_nonzero(finite <= bound)
    assert value(metrics, "tidegauge_anomaly_score_count") == len(finite)
    assert value(metrics, "tidegauge_anomaly_score_sum") == pytest.approx(finite.sum())


def slow_failure() -> None:
    """Fail after 20 ms."""
    time.sleep(0.02)
    raise ZeroDivisionError


def test_a_step_is_timed_also_if_it_fails() -> None:
    """The slow commit that ends in an error is the one to see."""
    metrics = Metrics()
    with pytest.raises(ZeroDivisionError), metrics.timed("commit"):
        slow_failure()
    assert value(metrics, "tidegauge_processing_duration_seconds_sum", stage="commit") >= 0.02


class ProducerFencedError(Exception):
    """Named as the Kafka client names it."""


class KafkaTimeoutError(Exception):
    """Named as the Kafka client names it."""


class TopicAuthorizationFailedError(Exception):
    """Named as the Kafka client names it."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ProducerFencedError(), "fenced"),
        (KafkaTimeoutError(), "timeout"),
        (TimeoutError(), "timeout"),
        (ConnectionRefusedError(), "connection"),
        (TopicAuthorizationFailedError(), "rejected"),
        (SinkError("no", permanent=True), "rejected"),
        (SinkError("no"), "other"),
        (ZeroDivisionError(), "other"),
    ],
)
def test_an_error_is_one_of_a_few(error: Exception, kind: str) -> None:
    """The message or the class as a label would be a new series for every error; the cause decides."""
    metrics = Metrics()
    metrics.failed("commit", error)
    assert value(metrics, "tidegauge_errors_total", stage="commit", error_type=kind) == 1.0
    wrapped = SinkError("wrapped")
    wrapped.__cause__ = error
    assert error_type(wrapped) == kind
