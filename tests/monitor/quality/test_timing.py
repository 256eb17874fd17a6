"""When records come: another sampling rate than before, a clock that is off."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np
import pytest

from monitor.alert import Alert, AlertSettings
from monitor.codec import Decoder
from monitor.pipeline import Pipeline
from monitor.quality import Quality, QualitySettings
from monitor.record import Records, RecordSettings
from monitor.sources.base import Batch
from monitor.table import StreamTable
from monitor.threshold import Static
from monitor.window import WindowSettings
from tests.monitor.batches import Feed
from tests.properties.models import PRIOR, LevelModel
from tests.properties.test_pipeline import plain

S = 1_000


def pipeline(quality: dict[str, Any]) -> Pipeline:
    """Return a pipeline whose model never finds anything."""
    return Pipeline(
        RecordSettings(),
        WindowSettings(length=2, stride=1),
        Static.Settings(value=400.0),
        AlertSettings.model_validate({"expire": "1h"}),
        LevelModel(),
        PRIOR,
        1,
        quality=Quality(QualitySettings.model_validate(quality), ["level"]),
    )


def spaced(*parts: tuple[int, float]) -> list[tuple[str, int, float]]:
    """Return records of one stream: so many with such a spacing in seconds, one part after the other."""
    times = accumulate(round(S * spacing) for count, spacing in parts for _ in range(count))
    return [("s", S + time, float(number % 5)) for number, time in enumerate(times)]


def told(alerts: list[Alert]) -> list[tuple[str, str]]:
    """Return kind and what happened."""
    return [(alert.kind, alert.reason or alert.status) for alert in alerts]


RATE: dict[str, Any] = {"sampling_rate": {"factor": 2, "after": "60s", "accept": "20m"}}


@pytest.mark.parametrize("other", [4, 0.25])
def test_another_rate_is_an_alert_until_it_is_usual(other: float) -> None:
    """If it failed, a logger that was set to another rate would feed a model that was trained for the old one."""
    count = round(900 / other)
    back = Feed(pipeline(RATE)).send(*spaced((100, 1), (count, other), (400, 1))).alerts
    assert told(back) == [("sampling_rate", "firing"), ("sampling_rate", "recovered")]
    firing = back[0]
    assert 2 < firing.score <= 4.001
    assert firing.threshold == 2.0
    assert dict(firing.members)["more rarely" if other > 1 else "more often"] == pytest.approx(firing.score)
    assert min(ratio for _, ratio in firing.members) == 0
    assert 160 * S <= firing.time <= 200 * S
    usual = Feed(pipeline(RATE)).send(*spaced((100, 1), (2 * count, other))).alerts
    assert told(usual) == told(back)
    assert 1200 * S <= usual[1].time - firing.time + 60 * S <= 1210 * S


def test_a_gap_is_no_other_rate() -> None:
    """If it failed, every pause would be told of as another rate; that is what silence is for."""
    assert Feed(pipeline(RATE)).send(*spaced((100, 1), (1, 600), (100, 1), (2, 300), (100, 1))).alerts == []
    jitter = [(1, 0.5 + (number * 7 % 10) / 10) for number in range(500)]
    assert Feed(pipeline(RATE)).send(*spaced(*jitter)).alerts == []


SKEW: dict[str, Any] = {"clock_skew": {"max": "30s", "after": "60s"}}


def skewed(offs: list[float], *, stamped: bool = True) -> Records:
    """Return a record a second by Kafka, with event times that are off by so many seconds."""
    kafka = S * np.arange(1_000, 1_000 + len(offs))
    return Records(
        np.zeros(len(offs), np.int32),
        kafka + np.array([round(S * off) for off in offs]),
        np.ones((len(offs), 1), np.float32),
        np.arange(len(offs)),
        kafka if stamped else None,
    )


def run(records: Records, sizes: list[int]) -> list[Alert]:
    """Process records in batches."""
    every = pipeline(SKEW)
    partition = every.partition("t", 0)
    found: list[Alert] = []
    at = turn = 0
    while at < len(records):
        partition.table.assign(b"s")
        upto = at + sizes[turn % len(sizes)]
        found += every.process([(partition, records.take(slice(at, upto)))]).alerts
        at, turn = upto, turn + 1
    return found


@pytest.mark.parametrize("off", [-100.0, 100.0])
def test_a_clock_that_is_off_is_an_alert(off: float) -> None:
    """If it failed, a logger that was never synchronised would put its data where nobody looks for them."""
    found = run(skewed([0.5] * 50 + [off] * 100 + [0.5] * 50), [1000])
    assert told(found) == [("clock_skew", "firing"), ("clock_skew", "recovered")]
    assert (found[0].score, found[0].threshold, found[0].due, found[1].due) == (100.0, 30.0, 110, 150)


def test_a_late_batch_is_no_clock_that_is_off() -> None:
    """If it failed, one retry of a producer would page; or recordings without timestamps would."""
    assert run(skewed(([0.5] * 40 + [-100.0] * 50) * 3), [1000]) == []
    assert run(skewed([100.0] * 200, stamped=False), [1000]) == []


def test_batches_do_not_matter() -> None:
    """If it failed, what is told would depend on how many records Kafka happened to return."""
    records = skewed([0.5] * 50 + [100.0] * 100 + [0.5] * 150 + [50.0] * 90)
    wanted = plain(run(records, [1]))
    assert len(wanted) == 3
    assert plain(run(records, [7, 64, 3])) == wanted == plain(run(records, [1000]))
    samples = spaced((100, 1), (300, 3), (200, 1), (400, 0.25))
    alone, parts = Feed(pipeline(RATE)), Feed(pipeline(RATE))
    one = [alert for sample in samples for alert in alone.send(sample).alerts]
    many = [alert for at in range(0, len(samples), 37) for alert in parts.send(*samples[at : at + 37]).alerts]
    assert plain(one) == plain(many)
    assert len(one) >= 3


def test_records_carry_timestamps_where_they_are_asked_for() -> None:
    """If it failed, no clock would ever be off in production; or everybody would pay for it."""
    value = b'{"stream": "s", "time": 1000000000000, "values": {"level": 1}}'
    batch = Batch("t", 0, [5, 6], [70, -1], [None, None], [value, value])
    (asked, plainly) = (
        Decoder(RecordSettings(), ["level"], stamped=stamped).decode(batch, StreamTable([])).records
        for stamped in (True, False)
    )
    assert asked.stamp is not None
    assert asked.stamp.tolist() == [70, -1]
    assert plainly.stamp is None
