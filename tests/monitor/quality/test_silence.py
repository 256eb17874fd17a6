"""Streams that send nothing: by the partition's time, one by one, or the partition as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from monitor.alert import Alert, AlertSettings
from monitor.pipeline import Pipeline
from monitor.quality import Quality, QualitySettings
from monitor.record import RecordSettings
from monitor.threshold import Static
from monitor.window import WindowSettings
from tests.monitor.batches import Feed
from tests.properties.models import PRIOR, LevelModel
from tests.properties.test_pipeline import plain
from tests.properties.test_state import MARKER, Log, log_of, restored

S = 1_000
Sample = tuple[str, int, float]


def pipeline(silence: dict[str, Any] | None = None, *, expire: str = "30d") -> Pipeline:
    """Return a pipeline whose model never finds anything; silent is who sends nothing for 3 spacings, 10 s at least."""
    quality = QualitySettings.model_validate({"silence": {"factor": 3, "min": "10s"} if silence is None else silence})
    return Pipeline(
        RecordSettings.model_validate({"expire": expire}),
        WindowSettings(length=2, stride=1),
        Static.Settings(value=400.0),
        AlertSettings.model_validate({"expire": "20s"}),
        LevelModel(),
        PRIOR,
        1,
        quality=Quality(quality, ["level"]),
    )


def fleet(
    count: int, until: int, gone: dict[str, tuple[int, int]], every: dict[str, int] | None = None
) -> list[Sample]:
    """Return a record a second of each of `a`, `b`, …; without those in `gone` from (first, to) second; some rarer."""
    return [
        (name, S * second + number, float(second % 7))
        for second in range(1, until)
        for number, name in enumerate("abcdefghijklmnopqrstuvwxyz"[:count])
        if not (name in gone and gone[name][0] <= second < gone[name][1])
        if second % (every or {}).get(name, 1) == 0
    ]


def told(alerts: list[Alert]) -> list[tuple[str, str, str, int]]:
    """Return kind, stream, what happened, and the second."""
    return [(alert.kind, alert.stream, alert.reason or alert.status, alert.time // S) for alert in alerts]


def test_who_falls_silent_is_an_alert_until_it_speaks() -> None:
    """If it failed, a logger that died would be seen by nobody, or its alert would stay for ever (or for `expire`)."""
    found = Feed(pipeline()).send(*fleet(12, 100, {"c": (30, 70)})).alerts
    assert told(found) == [("silence", "c", "firing", 39), ("silence", "c", "recovered", 70)]
    firing, over = found
    assert (firing.threshold, over.score, firing.alert_id, over.revision) == (10.0, 0.0, over.alert_id, 1)
    assert 10 <= firing.score < 10.1
    assert (len(firing.shares), firing.first_offset, firing.window_end) == (0, firing.due, firing.time)


def test_its_own_spacing_counts() -> None:
    """If it failed, a meter that reports every quarter of an hour would be an alert every quarter of an hour."""
    slow = {"c": 20}
    assert Feed(pipeline()).send(*fleet(4, 300, {}, slow)).alerts == []
    (late,) = Feed(pipeline()).send(*fleet(6, 300, {"c": (200, 999)}, slow)).alerts
    assert (late.stream, late.status) == ("c", "firing")
    assert 180 + 60 - 1 <= late.time / S <= 180 + 60 + 1
    assert late.threshold == pytest.approx(60, abs=0.5)


def test_a_stream_that_is_hardly_known_says_nothing() -> None:
    """If it failed, every id that was sent once, by a mistake, would page somebody."""
    assert Feed(pipeline()).send(*fleet(12, 100, {"c": (5, 999)})).alerts == []


def test_more_than_a_fifth_at_once_is_one_event() -> None:
    """If it failed, a gateway that died would be a thousand pages."""
    gone = dict.fromkeys("abcde", (30, 70))
    found = Feed(pipeline(), "sensors", 3).send(*fleet(12, 100, gone)).alerts
    assert told(found) == [
        ("partition_silence", "sensors/3", "firing", 38),
        ("partition_silence", "sensors/3", "recovered", 70),
    ]
    assert (found[0].score, found[0].threshold, found[1].score) == (5 / 12, 0.2, 2 / 12)
    few = Feed(pipeline()).send(*fleet(12, 100, dict.fromkeys("ab", (30, 70)))).alerts
    assert [event[:3] for event in told(few)] == [
        ("silence", "a", "firing"),
        ("silence", "b", "firing"),
        ("silence", "a", "recovered"),
        ("silence", "b", "recovered"),
    ]


def test_who_stays_silent_after_the_partition_spoke_is_told_of() -> None:
    """If it failed, what a gateway's failure broke for good would be hidden by the one event that is over."""
    gone = dict.fromkeys("abcd", (30, 70)) | {"e": (30, 999)}
    found = told(Feed(pipeline()).send(*fleet(12, 100, gone)).alerts)
    assert found == [
        ("partition_silence", "t/0", "firing", 38),
        ("partition_silence", "t/0", "recovered", 70),
        ("silence", "e", "firing", 80),
    ]


def test_a_stream_that_is_forgotten_leaves_no_alert() -> None:
    """If it failed, a sensor that was taken away would be silent for ever."""
    found = told(Feed(pipeline(expire="50s")).send(*fleet(12, 100, {"c": (30, 999)})).alerts)
    assert found == [("silence", "c", "firing", 39), ("silence", "c", "expired", 79)]
    all_gone = dict.fromkeys("abcde", (30, 999))
    both = told(Feed(pipeline(expire="50s")).send(*fleet(12, 100, all_gone)).alerts)
    assert both == [("partition_silence", "t/0", "firing", 38), ("partition_silence", "t/0", "expired", 78)]


def test_an_idle_partition_has_no_time_of_its_own() -> None:
    """If it failed, a producer that pauses for a night would be an alert of every stream."""
    feed = Feed(pipeline())
    assert feed.send(*fleet(12, 50, {})).alerts == []
    night = [(name, time + 500 * S, level) for name, time, level in fleet(12, 50, {})]
    assert [event[2] for event in told(feed.send(*night).alerts)] in ([], ["firing", "recovered"])


def test_the_setting_taken_away_resolves_when_the_stream_speaks() -> None:
    """If it failed, an alert would stay that nobody asks for any more."""
    samples = fleet(12, 100, {"c": (30, 70)})
    feed = Feed(pipeline())
    cut = next(place for place, (_, time, _) in enumerate(samples) if time > 50 * S)
    assert len(feed.send(*samples[:cut]).alerts) == 1
    off = Feed(pipeline({}))
    assert off.pipeline._watch is not None
    off.pipeline._watch._silences._settings = None
    off.partition, off.offset = feed.partition, feed.offset
    assert told(off.send(*samples[cut:]).alerts) == [("silence", "c", "recovered", 70)]


@pytest.mark.parametrize("seed", range(2))
def test_batches_do_not_matter(seed: int) -> None:
    """If it failed, who is silent, and when, would depend on how many records Kafka happened to return."""
    rng = np.random.default_rng(seed)
    every = {name: int(rng.integers(1, 6)) for name in "abcdefghijklmnopqrst"}
    gone = {name: (int(a), int(a + rng.integers(5, 100))) for name in every if (a := rng.integers(25, 130)) < 110}
    burst = {name: (70, int(rng.integers(85, 120))) for name in "abcdefghi"} if seed % 2 else {}
    samples = fleet(20, 160, gone | burst, every)
    whole, alone, parts = (Feed(pipeline(expire="60s")) for _ in range(3))
    wanted = [alert for sample in samples for alert in alone.send(sample).alerts]
    found: list[Alert] = []
    at = 0
    while at < len(samples):
        end = int(at + rng.integers(1, 200))
        found += parts.send(*samples[at:end]).alerts
        at = end
    assert plain(found) == plain(wanted) == plain(whole.send(*samples).alerts)
    assert {alert.kind for alert in wanted} == ({"silence", "partition_silence"} if seed % 2 else {"silence"})


@pytest.mark.parametrize("second", [37, 45, 69, 75])
def test_a_restart_changes_nothing(second: int) -> None:
    """If it failed, a member that takes a partition over would tell of a silence twice, or never of its end."""
    gone = dict.fromkeys("abcd", (30, 70)) | {"e": (30, 999), "g": (60, 90)}
    samples = fleet(12, 110, gone)
    wanted = Feed(pipeline()).send(*samples).alerts
    cut = next(place for place, (_, time, _) in enumerate(samples) if time > second * S)
    feed = Feed(pipeline())
    feed.partition.changes.kept = True
    writer, log = log_of(feed.pipeline, feed.partition, 0, 1_000_000, 0), Log()
    found = []
    for begin in range(0, cut, 50):
        upto = min(begin + 50, cut)
        found += feed.send(*samples[begin:upto]).alerts
        log.entries += [*((message.key, message.value or b"") for message in writer.write(upto)), MARKER]
    restore = restored(feed.pipeline, log)
    restore.finish(cut)
    after = Feed(feed.pipeline)
    after.partition, after.offset = restore.partition, cut
    again = [alert for alert in after.send(*samples[cut:]).alerts if alert.kind != "anomaly"]
    assert plain(found + again) == plain(wanted)
    assert {alert.kind for alert in wanted} == {"silence", "partition_silence"}
