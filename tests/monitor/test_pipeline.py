"""The pipeline: what leaves it, in which order, and when silence ends an alert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from monitor.alert import Alert, AlertSettings
from monitor.duration import Duration
from monitor.pipeline import REASONS, STATUS, Output, Pipeline
from monitor.record import RecordSettings
from monitor.table import Column
from monitor.threshold import Static, ThresholdSettings, Tracked
from monitor.window import WindowSettings
from tests.monitor.batches import Feed, records
from tests.properties.models import PRIOR, LevelModel

Sample = tuple[str, int, float]


def pipeline(
    alert: dict[str, Any] | None = None,
    window: dict[str, Any] | None = None,
    record: dict[str, Any] | None = None,
    threshold: ThresholdSettings | None = None,
) -> Pipeline:
    """Return a pipeline with windows of one row and a line at 4, over which is a value above 2."""
    return Pipeline(
        RecordSettings.model_validate({"max_step": "1h"} | (record or {})),
        WindowSettings.model_validate({"length": 1, "stride": 1} | (window or {})),
        threshold or Static.Settings(value=4.0),
        AlertSettings.model_validate({"open_after": 1, "resolve_after": 1, "rest": 0} | (alert or {})),
        LevelModel(),
        PRIOR,
        1,
        keep_scores=True,
    )


def others(times: Sequence[int]) -> list[Sample]:
    """Return records of three quiet streams at each of these times: with the third, the partition's time is there."""
    return [(name, time, 0.0) for time in times for name in ("x", "y", "z")]


def facts(alerts: Sequence[Alert]) -> list[tuple[str, str, int, int]]:
    """Return stream, what, the offset that caused it, and the time."""
    return [(alert.stream, alert.reason or alert.status, alert.due, alert.time) for alert in alerts]


def both(make: Pipeline, samples: Sequence[Sample]) -> list[Alert]:
    """Return the alerts of one batch, after having seen that single records make the same."""
    whole, single = Feed(make), Feed(make)
    found = whole.send(*samples).alerts
    alone = [alert for sample in samples for alert in single.send(sample).alerts]
    assert facts(alone) == facts(found)
    assert whole.partition.counts == single.partition.counts
    assert whole.balanced()
    return found


def test_an_alert_from_end_to_end() -> None:
    """If it failed, nothing of what the product is for would work."""
    found = both(
        pipeline({"open_after": 2, "resolve_after": 2}), [("s", 100 + i, v) for i, v in enumerate([0, 9, 9, 0, 0])]
    )
    assert facts(found) == [("s", "firing", 2, 102), ("s", "recovered", 4, 104)]
    firing = found[0]
    assert (firing.score, firing.threshold, firing.starts_at) == (81.0, 4.0, 101)
    assert (firing.actual.tolist(), firing.expected.tolist(), firing.shares.tolist()) == ([9.0], [0.0], [1.0])


def test_scores_are_kept_where_they_are_asked_for() -> None:
    """If it failed, an analyst could not see why an alert fired, or production would keep what nobody reads."""
    make = pipeline(window={"max_missing": 0.5})
    output = Feed(make).send(("s", 1, 1.0), ("s", 2, float("nan")), ("s", 3, 9.0))
    (rows,) = output.scores["t", 0]
    assert [STATUS[i] for i in rows.status] == ["normal", "unscored", "anomalous"]
    assert [REASONS[i] for i in rows.reason] == ["", "missing", ""]
    assert_array_equal(rows.score, [1, np.nan, 81])
    assert_array_equal(rows.threshold, [4, np.nan, 4])
    assert (rows.stream, rows.time.tolist(), rows.offset.tolist()) == (["s"] * 3, [1, 2, 3], [0, 1, 2])
    assert (output.windows, output.scored) == (3, 2)
    make._keep_scores = False
    assert Feed(make).send(("s", 1, 1.0)).scores == {}


def test_a_window_without_a_score_says_why() -> None:
    """If it failed, a window that nobody could judge would pass for a normal one, or for one that lacks values."""
    make = pipeline(window={"max_missing": 0.5})
    feed = Feed(make)
    with np.errstate(over="ignore"):
        output = feed.send(("s", 1, 1.0), ("s", 2, float("nan")), ("s", 3, 3e38))
    (rows,) = output.scores["t", 0]
    assert [(STATUS[i], REASONS[j]) for i, j in zip(rows.status, rows.reason, strict=True)] == [
        ("normal", ""),
        ("unscored", "missing"),
        ("unscored", "not_finite"),
    ]
    assert output.unscored == {"missing": 1, "not_finite": 1}
    assert output.windows == output.scored + output.unscored.total()
    assert feed.send(("s", 4, 1.0)).unscored == {}


def test_alerts_leave_in_order() -> None:
    """If it failed, two runs over the same input would publish in different orders."""
    make = pipeline()
    feeds = [Feed(make, "b", 0), Feed(make, "a", 1), Feed(make, "a", 0)]
    work = []
    for feed in feeds:
        slots = [feed.partition.table.assign(name) for name in (b"z", b"y", b"z", b"y")]
        batch = records([(slot, 10 + i, v) for i, (slot, v) in enumerate(zip(slots, [9, 9, 0, 0], strict=True))])
        work.append((feed.partition, batch))
    alerts = make.process(work).alerts
    assert [(a.topic, a.partition, a.due, a.stream, a.revision) for a in alerts] == [
        (topic, number, due, "zy"[due % 2], due // 2)
        for topic, number in (("a", 0), ("a", 1), ("b", 0))
        for due in range(4)
    ]


def test_partitions_do_not_touch_each_other() -> None:
    """If it failed, an id that is seen in two partitions would be one stream."""
    make = pipeline({"open_after": 2})
    feeds = [Feed(make, "t", 0), Feed(make, "t", 1)]
    assert feeds[0].send(("s", 1, 9.0)).alerts == []
    assert feeds[1].send(("s", 2, 9.0)).alerts == []
    (one,) = feeds[0].send(("s", 3, 9.0)).alerts
    (two,) = feeds[1].send(("s", 3, 9.0)).alerts
    assert one.alert_id != two.alert_id


def test_silence_is_measured_from_the_streams_last_used_record() -> None:
    """If it failed, an alert would expire a record too early or too late."""
    make = pipeline({"expire": "100ms", "resolve_after": 99})
    # Partition time is 1,000 when `s` opens, and 1,050 at its last record; the deadline is 1,150.
    samples = [*others([1_000]), ("s", 1_001, 9.0), *others([1_050]), ("s", 1_002, 9.0), *others([1_149, 1_150])]
    found = both(make, samples)
    assert facts(found) == [("s", "firing", 3, 1_001), ("s", "expired", 13, 1_150)]
    assert found[1].window_end == 1_002


def test_records_that_are_not_used_keep_no_alert_alive() -> None:
    """If it failed, a stream that sends the same record over and over would never be silent."""
    make = pipeline({"expire": "100ms", "resolve_after": 99})
    samples = [
        *others([1_000]),
        ("s", 1_001, 9.0),
        *others([1_090]),
        ("s", 1_001, 9.0),
        ("s", 900, 0.0),
        *others([1_100]),
    ]
    assert facts(both(make, samples)) == [("s", "firing", 3, 1_001), ("s", "expired", 11, 1_100)]


def test_a_windows_records_keep_an_alert_alive_also_without_windows() -> None:
    """If it failed, a stream with a long stride would be silent between its windows."""
    make = pipeline({"expire": "100ms", "resolve_after": 99}, window={"stride": 50})
    samples = [*others([1_000]), ("s", 1_001, 9.0)]
    for time in range(1_060, 1_400, 60):
        samples += [*others([time]), ("s", time, 0.0)]
    assert facts(both(make, samples)) == [("s", "firing", 3, 1_001)]


def test_the_streams_own_record_at_the_deadline_comes_first() -> None:
    """If it failed, a stream that ends its silence would have its alert expired by its own record."""
    make = pipeline({"expire": "100ms", "resolve_after": 2})
    samples = [("s", 1_000, 9.0), ("s", 1_200, 9.0), ("s", 1_400, 0.0), ("s", 1_600, 0.0)]
    assert facts(both(make, samples)) == [("s", "firing", 0, 1_000), ("s", "recovered", 3, 1_600)]


def test_an_alert_opens_again_after_silence_within_one_batch() -> None:
    """If it failed, a long batch would join two incidents."""
    make = pipeline({"expire": "100ms", "resolve_after": 99})
    samples = [*others([1_000]), ("s", 1_001, 9.0), *others([1_200]), ("s", 1_201, 9.0), *others([1_400])]
    found = both(make, samples)
    assert [(stream, what, time) for stream, what, _, time in facts(found)] == [
        ("s", "firing", 1_001),
        ("s", "expired", 1_200),
        ("s", "firing", 1_201),
        ("s", "expired", 1_400),
    ]
    assert [alert.revision for alert in found] == [0, 1, 0, 1]


def test_a_stream_that_is_dropped_resolves_its_alert() -> None:
    """If it failed, an alert of a stream that is gone would fire for ever."""
    make = pipeline({"expire": "1w", "resolve_after": 99}, record={"expire": "500ms"})
    samples = [*others([1_000]), ("s", 1_001, 9.0), *others([1_300, 1_499, 1_500, 1_600])]
    found = both(make, samples)
    assert facts(found) == [("s", "firing", 3, 1_001), ("s", "expired", 12, 1_500)]


def test_a_stream_born_anew() -> None:
    """If it failed, rest, line or counts of its former life would hold for it."""
    make = pipeline({"rest": 1_000, "open_after": 2}, record={"expire": "500ms"}, window={"length": 2})
    first = [("s", 1_001, 9.0), ("s", 1_002, 9.0), ("s", 1_003, 9.0)]
    again = [(name, time - 500, value) for name, time, value in first]
    found = both(make, [*others([1_000]), *first, *others([1_400, 1_600]), *again])
    assert [(what, time) for _, what, _, time in facts(found)] == [
        ("firing", 1_003),
        ("expired", 1_600),
        ("firing", 503),
    ]


def test_a_clock_that_is_set_back_keeps_the_alert() -> None:
    """If it failed, an alert would end, or count windows of two clocks as consecutive."""
    make = pipeline({"resolve_after": 2, "expire": "1d"})
    samples = [("s", 10_000, 9.0), ("s", 10_001, 0.0)]
    samples += [("s", 100 + i, 0.0) for i in range(10)]
    found = both(make, samples)
    # Seven are late, the eighth begins the window anew: it and the next resolve.
    assert facts(found) == [("s", "firing", 0, 10_000), ("s", "recovered", 10, 108)]


def test_every_class_is_counted() -> None:
    """If it failed, the counters would not add up to what was consumed."""
    feed = Feed(pipeline(record={"max_streams": 2, "max_step": "1s"}, window={"lateness": "10ms"}))
    samples = [("a", 1_000, 0.0), ("b", 1_000, 0.0), ("c", 1_000, 0.0), ("a", 1_000, 0.0), ("a", 1_030, 0.0)]
    samples += [("a", 900, 0.0), ("a", 9_000, 0.0)]
    output = feed.send(*samples)
    assert feed.partition.counts == {"processed": 1, "late": 1, "repeated": 1, "dead_lettered": 1}
    assert feed.pipeline.pending(feed.partition) == 3
    assert (output.late, output.repeated, output.refused) == ({("t", 0): [5]}, {("t", 0): [3]}, {("t", 0): [2]})
    assert feed.balanced()


def test_clock_resets_are_counted() -> None:
    """If it failed, an operator would not see that a producer's clock is wrong."""
    output = Feed(pipeline()).send(("s", 10_000, 0.0), *[("s", 100 + i, 0.0) for i in range(8)])
    assert output.clock_resets == 1
    assert output.late == {("t", 0): list(range(1, 8))}


def test_nothing_to_do() -> None:
    """If it failed, a poll that returns nothing, or only refused records, would end the daemon."""
    make = pipeline(record={"max_streams": 1})
    feed = Feed(make)
    assert make.process([]) == Output()
    assert feed.send() == Output()
    feed.send(("a", 1, 0.0))
    output = feed.send(("b", 1, 0.0), ("c", 1, 0.0))
    assert (output.windows, output.refused) == (0, {("t", 0): [1, 2]})
    assert feed.partition.table.slots.keys() == {b"a"}


@pytest.mark.parametrize("size", [1, 2, 3, 30])
def test_a_window_anew_that_is_not_scored_ends_a_run(size: int) -> None:
    """If it failed, the line would charge an event where no alert could open, or depend on the batches."""
    nan = float("nan")
    tracked = Tracked.Settings(alerts_per_stream_per_day=0.001, half_life=10)
    make = pipeline({"open_after": 2}, window={"interval": "10ms"}, threshold=tracked)
    feed = Feed(make)
    # Over, then a gap and a cell without values, then over.
    samples = [("s", 100, 1e6), ("s", 150, nan), ("s", 160, 1e6), ("s", 170, 0.1), ("s", 180, 0.1)]
    before = float(feed.partition.table["line_c"].max(initial=0))
    for i in range(0, len(samples), size):
        feed.send(*samples[i : i + size])
    table = feed.partition.table
    slot = table.slots[b"s"]
    assert before == 0
    multiplier = make.threshold.columns[2]
    assert isinstance(multiplier, Column)
    expected = float(multiplier.initial)
    assert table["line_c"][slot] == pytest.approx(expected, abs=1e-3)
    assert table["line_run"][slot] == 0


def test_durations_of_the_settings_meet() -> None:
    """If it failed, an alert could outlive its stream."""
    make = pipeline({"expire": "2d"}, record={"expire": "1d"})
    assert make._alert_expire == Duration("1d").ms
