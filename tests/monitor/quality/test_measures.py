"""Faults of the data themselves: what is an alert of its own kind, and what the model does not see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.bundle import Bundle
from models.serving import Model
from monitor.alert import Alert, AlertSettings
from monitor.config import ConfigError, load
from monitor.engine import Engine
from monitor.pipeline import STATUS, Pipeline
from monitor.quality import KINDS, Quality, QualitySettings
from monitor.record import RecordSettings
from monitor.replay.judge import Raises
from monitor.threshold import Static
from monitor.window import WindowSettings
from tests.monitor.batches import Feed
from tests.properties.models import PRIOR, LevelModel

NAN = float("nan")
S = 1_000


def pipeline(quality: dict[str, Any] | None, **alert: Any) -> Pipeline:
    """Return a pipeline with windows of two rows, zero expected and a line at 400."""
    settings = AlertSettings.model_validate({"open_after": 1, "resolve_after": 1, "rest": 0, **alert})
    return Pipeline(
        RecordSettings(),
        WindowSettings(length=2, stride=1),
        Static.Settings(value=400.0),
        settings,
        LevelModel(),
        PRIOR,
        1,
        quality=None if quality is None else Quality(QualitySettings.model_validate(quality), ["level"]),
        keep_scores=True,
    )


def course(*values: float, first: int = 1) -> list[tuple[str, int, float]]:
    """Return a sample a second of one stream."""
    return [("s", S * (first + i), value) for i, value in enumerate(values)]


def told(alerts: list[Alert]) -> list[tuple[str, str, int]]:
    """Return kind, what happened, and the second."""
    return [(alert.kind, alert.reason or alert.status, alert.time // S) for alert in alerts]


FLAT: dict[str, Any] = {"flat_line": {"after": "4s", "accept": "20s"}}


def test_a_sensor_that_died_is_an_alert_until_it_varies() -> None:
    """If it failed, a dead sensor would look like the calmest of all, or its alert would never end."""
    feed = Feed(pipeline(FLAT))
    found = feed.send(*course(1, 2, 3, 3, 3, 3, 3, 3, 3, 4, 5)).alerts
    assert told(found) == [("flat_line", "firing", 8), ("flat_line", "recovered", 10)]
    firing = found[0]
    assert (firing.score, firing.threshold, firing.confidence) == (5.0, 4.0, None)
    assert (firing.actual.tolist(), firing.expected.tolist(), firing.shares.tolist()) == ([3.0], [3.0], [1.0])
    judged = Raises()
    judged.add(found)
    assert judged.alerts == {}  # labels of anomalies say nothing of it


def test_a_constant_stream_alarms_neither_for_ever_nor_never() -> None:
    """If it failed, a setpoint would page somebody all year, or a sensor that never worked would be fine."""
    feed = Feed(pipeline(FLAT))
    found = feed.send(*course(*[7.0] * 100)).alerts
    assert told(found) == [("flat_line", "firing", 6), ("flat_line", "recovered", 42)]  # after 2 × accept it is usual
    varied = [*np.arange(10.0), *[9.0] * 30]
    again = feed.send(*course(*varied, first=101)).alerts
    assert [event[:2] for event in told(again)] == [("flat_line", "firing")]


def test_what_stands_still_now_and_then_is_learned() -> None:
    """If it failed, a valve that is shut every night would be an alert every night."""
    feed = Feed(pipeline(FLAT))
    night = [0.0, 1.0, 2.0, *[5.0] * 9]
    found = feed.send(*course(*(night * 6), 0.0, *[1.0] * 30)).alerts
    first, rest = told(found)[:2], told(found)[2:]
    assert [event[:2] for event in first] == [("flat_line", "firing"), ("flat_line", "recovered")]
    assert first[1][2] < 20
    assert [event[:2] for event in rest] == [("flat_line", "firing")]
    assert rest[0][2] > 6 * len(night) + 16  # twice what it did before, and no more than `accept`


def test_the_model_does_not_see_what_is_flat() -> None:
    """If it failed, a dead sensor would teach the line that nothing ever happens."""
    (rows,) = Feed(pipeline(FLAT)).send(*course(1, 2, 3, 3, 3, 3, 3, 3, 3, 4, 5)).scores["t", 0]
    assert [STATUS[code] for code in rows.status] == [*["normal"] * 6, "unscored", "unscored", "normal", "normal"]


def test_a_feature_that_is_gone() -> None:
    """If it failed, a cable that fell off would be seen by nobody; or sensors that a stream never had would alarm."""
    settings: dict[str, Any] = {"missing_feature": "3s"}
    found = Feed(pipeline(settings)).send(*course(1, 2, *[NAN] * 6, 3, 4)).alerts
    assert told(found) == [("missing_feature", "firing", 7), ("missing_feature", "recovered", 9)]
    assert (found[0].score, found[0].threshold) == (4.0, 3.0)
    assert np.isnan(found[0].actual).all()
    assert found[0].expected.tolist() == [2.0]
    assert Feed(pipeline(settings)).send(*course(*[NAN] * 9, 1, 2)).alerts == []


def test_a_value_that_cannot_be() -> None:
    """If it failed, an impossible reading would be an anomaly of the plant, and teach the model's line."""
    output = Feed(pipeline({"out_of_range": {"level": [0, 10]}})).send(*course(1, 10, 2, 35, 3, 4, -5, 1, 1))
    assert told(output.alerts) == [
        ("out_of_range", "firing", 4),
        ("out_of_range", "recovered", 6),
        ("out_of_range", "firing", 7),
        ("out_of_range", "recovered", 9),
    ]
    high, _, low, _ = output.alerts
    assert (high.score, high.threshold, high.actual.tolist(), high.expected.tolist()) == (3.5, 1.0, [35.0], [10.0])
    assert (low.score, low.actual.tolist(), low.expected.tolist()) == (1.5, [-5.0], [0.0])
    (rows,) = output.scores["t", 0]
    assert np.nanmax(rows.score) <= 100  # 35² = 1225 is not among them
    plain = Feed(pipeline({})).send(*course(1, 10, 2, 35, 3))
    assert told(plain.alerts)[0] == ("anomaly", "firing", 4)


def test_a_silent_stream_leaves_no_alert_behind() -> None:
    """If it failed, an alert of a sensor that was taken away would fire for ever."""
    feed = Feed(pipeline(FLAT, expire="1m"))
    assert told(feed.send(*course(*[3.0] * 8)).alerts) == [("flat_line", "firing", 6)]
    (expired,) = feed.send(("other", 100 * S, 1.0)).alerts
    assert (expired.kind, expired.reason, expired.stream, expired.revision) == ("flat_line", "expired", "s", 1)


def test_off_it_keeps_nothing_and_a_kind_that_is_left_out_never_fires() -> None:
    """If it failed, everybody would pay for it, or get alerts that nobody asked for."""
    off, idle = pipeline(None).partition("t", 0), pipeline({}).partition("t", 0)
    extra = {column.name for column in idle.columns} - {column.name for column in off.columns}
    assert extra
    assert all(name.startswith(("quality_", *KINDS)) for name in extra)
    assert extra <= {column.name for column in idle.decision_columns}  # the log of the state has them
    assert Feed(pipeline({})).send(*course(*[5.0] * 50, *[NAN] * 50, 1, 2)).alerts == []


@pytest.mark.parametrize(
    ("quality", "said"),
    [
        ("{flat_line: {after: 2d}}", "alert.quality.flat_line: accept must not be shorter than after"),
        ("{out_of_range: {pressure: [3, 2]}}", "alert.quality: out_of_range.pressure: expected [low, high]"),
        ("{flatline: {}}", "alert.quality.flatline: unknown key"),
    ],
)
def test_a_wrong_setting_is_named(quality: str, said: str, tmp_path: Path) -> None:
    """If it failed, an operator would not know which setting is wrong."""
    path = tmp_path / "config.yaml"
    path.write_text(f"alert: {{quality: {quality}}}\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert said in str(caught.value)


def test_a_range_of_a_feature_that_the_model_does_not_have(bundle: Bundle) -> None:
    """If it failed, a misspelt feature would never be out of range."""
    config = load(None, ["alert.quality={out_of_range: {presure: [0, 1]}}"])
    with pytest.raises(ConfigError, match=r"alert\.quality\.out_of_range: 'presure' is no feature of the model"):
        Engine(config, bundle, Model(bundle))


def test_who_does_not_ask_keeps_his_hash() -> None:
    """If it failed, all events would say that the configuration changed; asked for, it must show."""
    window = WindowSettings.model_validate({"length": 8})
    plain, null, asked = (
        load(None, settings).sha256(window) for settings in ([], ["alert.quality=null"], ["alert.quality={}"])
    )
    assert plain == null != asked
