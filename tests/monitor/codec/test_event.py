"""Alerts become CloudEvents that anybody can read."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.alert import Alert
from monitor.codec import AlertEvent, EventEncoder
from monitor.codec.event import fingerprint

ALERT = Alert(
    topic="sensors",
    partition=3,
    due=82_011,
    stream="pump-17",
    alert_id="0123456789abcdef0123456789abcdef",
    revision=0,
    status="firing",
    reason=None,
    time=1_795_262_400_250,
    starts_at=1_795_262_400_000,
    ends_at=None,
    score=0.212,
    threshold=0.116,
    severity="warning",
    shares=np.array([0.19, 0.81], np.float32),
    actual=np.array([np.nan, 3.2], np.float32),
    expected=np.array([1.0, 2.4], np.float32),
    window_start=1_795_262_337_250,
    window_end=1_795_262_400_250,
    first_offset=81_233,
    last_offset=82_011,
)


def encoder(group: str | None = "tidegauge") -> EventEncoder:
    """Return an encoder for two features."""
    return EventEncoder(
        ("flow", "pressure"), np.array([0.5, 0.3]), 64, group, {"kind": "lstm", "sha256": "ab" * 32}, "cd" * 32
    )


def test_the_event_is_as_documented() -> None:
    """If it failed, consumers of the alerts topic would meet an event that is not alert v1."""
    message = encoder().encode(ALERT, "alerts")
    event = json.loads(message.value or b"")
    AlertEvent.model_validate(event)
    assert (message.topic, message.key) == ("alerts", b"pump-17")
    assert dict(message.headers)["content-type"].startswith(b"application/cloudevents+json")
    assert event["id"] == "0123456789abcdef0123456789abcdef-0"
    assert (event["source"], event["subject"], event["partitionkey"]) == ("/tidegauge/tidegauge", "pump-17", "pump-17")
    assert (event["time"], event["type"]) == ("2026-11-21T12:00:00.250Z", "tidegauge.alert.v1")
    data = event["data"]
    assert data["startsAt"] == "2026-11-21T12:00:00.000Z"
    assert data["endsAt"] is None
    assert data["labels"] == {"alertname": "tidegauge", "stream": "pump-17", "kind": "anomaly"}
    assert data["position"] == {"topic": "sensors", "partition": 3, "first_offset": 81_233, "last_offset": 82_011}
    assert [part["feature"] for part in data["attribution"]] == ["pressure", "flow"]
    first, second = data["attribution"]
    assert (first["share"], first["actual"], first["expected"]) == (0.81, 3.2, 2.4)
    assert (round(first["expected_lower"], 6), round(first["expected_upper"], 6)) == (2.1, 2.7)
    assert second["actual"] is None


def test_members_and_confidence() -> None:
    """If it failed, an event would not say who spoke, or an event of a plain bundle would have an empty list."""
    plain = json.loads(encoder().encode(ALERT).value or b"")["data"]
    assert plain["confidence"] is None
    assert "members" not in plain
    assert "said by" not in plain["annotations"]["summary"]
    alert = replace(ALERT, confidence=1 / 3, members=(("lstm", 0.2), ("pca", 0.058), ("extreme", 0.232)))
    event = json.loads(encoder().encode(alert).value or b"")
    AlertEvent.model_validate(event)
    assert event["data"]["confidence"] == 0.33333334
    assert event["data"]["members"] == [
        {"name": "extreme", "anomaly_score": 2.0},
        {"name": "lstm", "anomaly_score": 1.7241379},
        {"name": "pca", "anomaly_score": 0.5},
    ]
    assert event["data"]["annotations"]["summary"].endswith("led by pressure (81%), said by extreme and lstm")
    quiet = json.loads(encoder().encode(replace(ALERT, members=(("a", 0.09), ("b", 0.1)))).value or b"")
    assert quiet["data"]["annotations"]["summary"].endswith("said by b")


@pytest.mark.parametrize(
    ("kind", "stream", "score", "line", "said"),
    [
        ("silence", "pump-17", 720.0, 360.0, "pump-17 has sent nothing for 720 s (2 times the limit)"),
        ("clock_skew", "pump-17", 720.0, 360.0, "pump-17 has a clock that is 720 s from Kafka's (2 times the limit)"),
        (
            "sampling_rate",
            "pump-17",
            4.0,
            2.0,
            "pump-17 sends 4 times more rarely than it did (2 times the limit)",
        ),
        ("partition_silence", "t/3", 0.4, 0.2, "t/3: 40% of the live streams send nothing (2 times the limit)"),
    ],
)
def test_what_is_of_no_feature_names_none(kind: str, stream: str, score: float, line: float, said: str) -> None:
    """If it failed, an event of times would blame a feature, or be no alert v1."""
    none = np.zeros(0, np.float32)
    members = (("more often", 0.0), ("more rarely", 4.0)) if kind == "sampling_rate" else ()
    alert = replace(
        ALERT,
        kind=kind,
        stream=stream,
        score=score,
        threshold=line,
        shares=none,
        actual=none,
        expected=none,
        members=members,
    )
    event = json.loads(encoder().encode(alert).value or b"")
    AlertEvent.model_validate(event)
    assert event["data"]["annotations"]["summary"] == said
    assert event["data"]["attribution"] == []
    assert "members" not in event["data"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("flat_line", "pump-17: pressure has stayed the same for 7200 s (2 times the limit)"),
        ("missing_feature", "pump-17: pressure has been missing for 7200 s (2 times the limit)"),
        ("out_of_range", "pump-17: pressure is out of its range (2 times the limit)"),
    ],
)
def test_a_fault_of_the_data_has_its_own_kind(kind: str, said: str) -> None:
    """If it failed, a router could not tell a dead sensor from an anomaly, or bounds would be widened by a residual."""
    alert = replace(ALERT, kind=kind, score=7200.0, threshold=3600.0)
    event = json.loads(encoder().encode(alert).value or b"")
    AlertEvent.model_validate(event)
    assert event["data"]["labels"]["kind"] == kind
    assert event["data"]["annotations"]["summary"] == said
    first = event["data"]["attribution"][0]
    assert first["expected_lower"] == first["expected"] == first["expected_upper"] == 2.4
    over = replace(alert, status="resolved", reason="recovered", revision=1, ends_at=ALERT.time)
    assert "usual by now" in json.loads(encoder().encode(over).value or b"")["data"]["annotations"]["summary"]


def test_numbers_are_the_shortest_decimals_of_their_float32() -> None:
    """If it failed, two machines could print the same alert differently, or with seventeen digits."""
    event = json.loads(encoder().encode(replace(ALERT, score=1 / 3, threshold=0.1)).value or b"")
    assert event["data"]["score"] == 0.33333334
    assert event["data"]["threshold"] == 0.1
    assert event["data"]["anomaly_score"] == 3.3333333


_ANY = st.floats(width=64)


@given(_ANY, _ANY, st.lists(st.tuples(_ANY, _ANY), min_size=2, max_size=2), _ANY)
@settings(max_examples=200, deadline=None)
def test_no_number_becomes_null(
    score: float, threshold: float, figures: list[tuple[float, float]], residual: float
) -> None:
    """If it failed, an event with a number that JSON has not would break every strict reader of the alerts."""
    with np.errstate(over="ignore"):
        actual, expected = (np.array(column, np.float64).astype(np.float32) for column in zip(*figures, strict=True))
    alert = replace(ALERT, score=score, threshold=threshold, actual=actual, expected=expected)
    model = {"kind": "lstm", "sha256": "ab" * 32}
    encode = EventEncoder(("flow", "pressure"), np.array([residual, 0.0]), 64, "g", model, "cd" * 32).encode
    event = AlertEvent.model_validate_json(encode(alert).value or b"")  # null is no number to it
    assert all(np.isfinite([event.data.score, event.data.threshold, event.data.anomaly_score]))
    assert [part.actual is None for part in sorted(event.data.attribution, key=lambda part: part.feature)] == [
        bool(np.isnan(value)) for value in actual
    ]


def test_resolved_events_say_why() -> None:
    """If it failed, an operator could not tell a recovery from a stream that fell silent."""
    resolved = replace(ALERT, status="resolved", reason="expired", revision=1, ends_at=ALERT.time)
    event = json.loads(encoder(None).encode(resolved).value or b"")
    assert (event["id"][-2:], event["source"]) == ("-1", "/tidegauge/local")
    assert (event["data"]["reason"], event["data"]["endsAt"]) == ("expired", "2026-11-21T12:00:00.250Z")
    assert "sends nothing" in event["data"]["annotations"]["summary"]


def test_the_fingerprint_is_alertmanagers() -> None:
    """If it failed, an alert could not be matched with the one that Alertmanager shows."""
    # FNV-1a 64 of no label is the offset basis; one label worked out by the algorithm's definition.
    assert fingerprint({}) == "cbf29ce484222325"
    value = 0xCBF29CE484222325
    for byte in b"a\xffb\xff":
        value = (value ^ byte) * 0x100000001B3 % 2**64
    assert fingerprint({"a": "b"}) == f"{value:016x}"
    assert fingerprint({"b": "1", "a": "2"}) == fingerprint({"a": "2", "b": "1"})


def test_the_source_is_a_uri_reference() -> None:
    """If it failed, a group with a space in its name would make events that strict CloudEvents readers refuse."""
    for group, source in (("pumps", "pumps"), ("my group/é", "my%20group/%C3%A9"), (None, "local")):
        assert json.loads(encoder(group).encode(ALERT).value or b"")["source"] == f"/tidegauge/{source}"


def test_an_independent_reader_takes_it_for_a_cloudevent() -> None:
    """If it failed, generic CloudEvents tooling would refuse our events."""
    event = json.loads(encoder().encode(ALERT).value or b"")
    required = {"specversion", "id", "source", "type"}
    assert required <= set(event)
    assert all(name.isalnum() and name.islower() for name in event), "attribute names are lower-case letters and digits"
