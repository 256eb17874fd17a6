"""The Alertmanager sink: against the real program where it is installed, and against a receiver that can be awkward."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from monitor.message import Message
from monitor.sinks._http import Http
from monitor.sinks.alertmanager import AlertmanagerSink, Settings
from monitor.sinks.base import SinkError
from tests.monitor.sinks.events import event
from tests.monitor.sinks.receiver import Receiver

NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver."""
    with Receiver() as found:
        yield found


class Clock:
    """A clock that a test sets."""

    now = 1_000.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


def clocked(*urls: str) -> tuple[AlertmanagerSink, Clock]:
    """Return a sink that re-sends each 60 s of a clock."""
    clock = Clock()
    http = Http(None, None, None, None)
    return AlertmanagerSink([f"{url}/api/v2/alerts" for url in urls], http, 0.5, 60.0, clock), clock


# ── the real one ──


@dataclass
class Alertmanager:
    """A running Alertmanager, and where its notifications go."""

    url: str
    notified: Receiver

    def alerts(self, query: str = "") -> list[dict[str, Any]]:
        """Return what it holds as active."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts{query}", timeout=5) as answer:  # noqa: S310 - our own
            found: list[dict[str, Any]] = json.load(answer)
            return found


CONFIGURATION = """
global: {{resolve_timeout: 2s}}
route: {{receiver: hook, group_by: [stream], group_wait: 50ms, group_interval: 100ms, repeat_interval: 1h}}
receivers: [{{name: hook, webhook_configs: [{{url: "{url}", send_resolved: true}}]}}]
"""


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def alertmanager(tmp_path: Path, receiver: Receiver) -> Iterator[Alertmanager]:
    """A real Alertmanager on loopback that forgets what is not repeated within 2 s."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        reason = "NO ALERTMANAGER: apt-get install prometheus-alertmanager, to test against the real one"
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # seen in the summary; as an error it would be no skip
            warnings.warn(pytest.PytestWarning(reason), stacklevel=1)
        pytest.skip(reason)
    (tmp_path / "alertmanager.yml").write_text(CONFIGURATION.format(url=receiver.url))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={tmp_path / 'alertmanager.yml'}",
                f"--storage.path={tmp_path / 'data'}",
                f"--web.listen-address={address}",
                "--cluster.listen-address=",
            ],
            stdout=log,
            stderr=log,
        )
    found = Alertmanager(f"http://{address}", receiver)
    try:

        def answers() -> bool:
            assert process.poll() is None, (tmp_path / "log").read_text()
            try:
                found.alerts()
            except OSError:
                return False
            return True

        until(answers)
        yield found
    finally:
        process.terminate()
        process.wait(10)


def test_alertmanager_takes_and_notifies(alertmanager: Alertmanager) -> None:
    """What it shows and passes on must be what the event says, from firing to resolved."""
    sink = Settings(url=alertmanager.url).build()
    sink.deliver([event("pump-17"), event("pümp 2/ä")])
    (alert,) = alertmanager.alerts("?filter=stream%3D%22pump-17%22")
    assert alert["labels"] == {"alertname": "tidegauge", "stream": "pump-17", "kind": "anomaly"}
    assert alert["annotations"] == {
        "summary": "pump-17 is unusual",
        "alert_id": "0123456789abcdef0123456789abcdef",
        "severity": "warning",
        "anomaly_score": "1.83",
        "threshold": "0.116",
        "feature": "pressure",
    }
    assert alert["startsAt"] == "2024-05-01T10:00:00.000Z"
    assert alert["generatorURL"] == "/tidegauge/gauge"
    assert alert["fingerprint"] == "3a7ea8065da87d0b"  # what the event says, too
    until(lambda: len(alertmanager.notified.requests) == 2)
    sink.deliver([event("pump-17", 1)])
    until(lambda: any(request.body["status"] == "resolved" for request in alertmanager.notified.requests))
    (resolved,) = alertmanager.notified.requests[-1].body["alerts"]
    assert resolved["labels"]["stream"] == "pump-17"
    assert resolved["endsAt"] == "2024-05-01T11:00:00Z"
    assert [alert["labels"]["stream"] for alert in alertmanager.alerts()] == ["pümp 2/ä"]


def test_alertmanager_keeps_what_is_repeated(alertmanager: Alertmanager) -> None:
    """Without re-sending Alertmanager would say `resolved` for an incident that goes on."""
    kept = Settings.model_validate({"url": alertmanager.url, "resend_interval": "500ms"}).build()
    left = Settings.model_validate({"url": alertmanager.url}).build()
    kept.deliver([event("kept")])
    left.deliver([event("left")])

    def lost() -> bool:
        kept.tick()
        left.tick()
        return [alert["labels"]["stream"] for alert in alertmanager.alerts()] == ["kept"]

    until(lost)


def test_alertmanager_refuses_in_its_own_words(alertmanager: Alertmanager) -> None:
    """What is wrong with an alert must be told from what is wrong with the network, by the real answers."""
    sink = Settings(url=alertmanager.url).build()
    with pytest.raises(SinkError, match=r"/api/v2/alerts answered 400: .*label") as caught:
        sink.deliver([event("bad", labels={}), event("good")])
    assert caught.value.permanent
    assert [alert["labels"]["stream"] for alert in alertmanager.alerts()] == ["good"]
    elsewhere = Settings(url=f"{alertmanager.url}/elsewhere").build()
    with pytest.raises(SinkError, match="/elsewhere/api/v2/alerts answered 404") as caught:
        elsewhere.deliver([event()])
    assert not caught.value.permanent


# ── an awkward one ──


def test_a_firing_alert_is_sent_again_until_it_resolves(receiver: Receiver) -> None:
    """Alertmanager asks its clients for just that: firing ones always, resolved ones for five minutes."""
    sink, clock = clocked(receiver.url)
    sink.deliver([event()])
    for clock.now, sent in [(1_059.0, 1), (1_060.0, 2), (1_061.0, 2), (1_121.0, 3), (90_000.0, 4)]:
        sink.tick()
        assert len(receiver.alerts) == sent
    assert all("endsAt" not in alert for alert in receiver.alerts)
    receiver.requests.clear()
    sink.deliver([event(revision=1)])
    for second in range(90_000, 91_000):
        clock.now = float(second)
        sink.tick()
    assert [alert["endsAt"] for alert in receiver.alerts] == ["2024-05-01T11:00:00.000Z"] * 5


def test_the_next_alert_of_a_stream_takes_the_place_of_the_last(receiver: Receiver) -> None:
    """Sending the resolved one again would end the new one, which has the same labels."""
    sink, clock = clocked(receiver.url)
    sink.deliver([event(), event(revision=1), event(alert_id="f" * 32, startsAt="2024-05-01T11:01:00.000Z")])
    receiver.requests.clear()
    clock.now += 60.0
    sink.tick()
    assert [alert["annotations"]["alert_id"] for alert in receiver.alerts] == ["f" * 32]


def test_what_is_recalled_is_sent_at_once_and_nothing_else(receiver: Receiver) -> None:
    """If it failed, Alertmanager would end an alert because of a restart, or hear of one that is another's now."""
    sink, clock = clocked(receiver.url)
    sink.deliver([event("mine"), event("over", 1)])
    sink.recall([event("pump-17"), event("pump-2")])
    assert len(receiver.requests) == 1
    for clock.now, sent in [(1_001.0, 2), (1_002.0, 2), (1_061.0, 3)]:
        sink.tick()
        assert len(receiver.requests) == sent
    assert [[alert["labels"]["stream"] for alert in each.body] for each in receiver.requests[1:]] == [
        ["pump-17", "pump-2"]
    ] * 2
    sink.recall([])
    clock.now = 90_000.0
    sink.tick()
    assert len(receiver.requests) == 3


def test_resending_that_fails_waits_ten_seconds(receiver: Receiver) -> None:
    """A dead Alertmanager must not cost the loop its time at every tick, and not be forgotten either."""
    sink, clock = clocked(receiver.url)
    sink.deliver([event(f"pump-{i}") for i in range(600)])
    receiver.requests.clear()
    receiver.answers.extend([(503, "not now")])
    clock.now += 60.0
    with capture_logs() as logs:
        for _ in range(10):
            sink.tick()
            clock.now += 0.5
    assert [entry["event"] for entry in logs] == ["alert_resend_failed"]
    assert len(receiver.requests) == 1
    clock.now += 5.0
    receiver.requests.clear()
    for _ in range(3):
        sink.tick()
    assert len({alert["labels"]["stream"] for alert in receiver.alerts}) == 600


@pytest.mark.parametrize("answer", [(503, "starting"), (429, "slow down"), (0, "")])
def test_what_may_pass_is_tried_again(receiver: Receiver, answer: tuple[int, str]) -> None:
    """A restart of Alertmanager takes a second: nobody should hear of it."""
    receiver.answers.extend([answer] * 2)
    Settings(url=receiver.url).build().deliver([event()])
    assert len(receiver.requests) == 3


def test_a_refusal_names_address_and_answer(receiver: Receiver) -> None:
    """What Alertmanager does not like must be said in its own words, at once."""
    receiver.answers.append((400, '{"code":601,\n "message":"no labels"}'))
    with pytest.raises(SinkError) as caught:
        Settings(url=f"{receiver.url}/am/").build().deliver([event()])
    assert caught.value.permanent
    assert str(caught.value) == (
        f'sink alertmanager: {receiver.url}/am/api/v2/alerts answered 400: {{"code":601, "message":"no labels"}}'
    )
    assert len(receiver.requests) == 1


def test_a_refused_alert_costs_no_other(receiver: Receiver) -> None:
    """One alert that Alertmanager does not like must not take 255 good ones with it, nor their re-sending."""
    sink, clock = clocked(receiver.url)
    receiver.answers.extend([(400, "bad"), (200, ""), (422, "bad"), (200, "")])
    with pytest.raises(SinkError, match="answered 422: bad") as caught:
        sink.deliver([event("a"), event("b"), event("c")])
    assert caught.value.permanent
    assert [[alert["labels"]["stream"] for alert in request.body] for request in receiver.requests] == [
        ["a", "b", "c"],
        ["a"],
        ["b"],
        ["c"],
    ]
    receiver.requests.clear()
    clock.now += 60.0
    sink.tick()
    assert [alert["labels"]["stream"] for alert in receiver.alerts] == ["a", "c"]


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_a_wrong_password_or_address_is_not_the_fault_of_the_events(receiver: Receiver, status: int) -> None:
    """Who drops what is refused for good must not drop alerts because somebody changed a password."""
    receiver.answers.append((status, "no"))
    with pytest.raises(SinkError, match=f"answered {status}: no") as caught:
        Settings(url=receiver.url).build().deliver([event()])
    assert not caught.value.permanent
    assert len(receiver.requests) == 1


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    """A password must not go where somebody else says."""
    receiver.answers.append((301, "moved"))
    with pytest.raises(SinkError, match="answered 301: moved"):
        Settings(url=receiver.url).build().deliver([event()])


def test_nobody_there_ends_in_time() -> None:
    """SIGTERM has ten seconds: a sink that tries for ever would be killed with work in hand."""
    sink = Settings.model_validate({"url": NOBODY, "timeout": "500ms"}).build()
    start = time.monotonic()
    with pytest.raises(SinkError, match=r"^sink alertmanager: http://127.0.0.1:1/api/v2/alerts: Connection refused$"):
        sink.deliver([event()])
    assert time.monotonic() - start < 2.0


def test_one_that_never_answers_ends_in_time() -> None:
    """A hung Alertmanager takes connections and says nothing: that must not hang the daemon."""
    with socket.create_server(("127.0.0.1", 0)) as hung:
        url = f"http://127.0.0.1:{hung.getsockname()[1]}"
        sink = Settings.model_validate({"url": url, "timeout": "400ms"}).build()
        start = time.monotonic()
        with pytest.raises(SinkError, match="no answer in time"):
            sink.deliver([event()])
    assert time.monotonic() - start < 2.0


def test_one_of_a_cluster_is_enough(receiver: Receiver) -> None:
    """A cluster is there so that one of its members may be down; and each that is up must know of the alert."""
    with Receiver() as other:
        sink = Settings(url=(NOBODY, receiver.url, other.url)).build()
        with capture_logs() as logs:
            sink.deliver([event()])
        assert len(receiver.alerts) == len(other.alerts) == 1
    (entry,) = logs
    assert entry["event"] == "alertmanager_failed"
    assert "Connection refused" in entry["error"]


@pytest.mark.parametrize(
    "value", [b"", b"{", b"7", b"[]", b"\xff", b'{"type":"other.v1"}', b"[" * 100_000, b'{"type":"tidegauge.alert.v1"}']
)
def test_what_is_no_alert_is_left_out_and_counted(receiver: Receiver, value: bytes) -> None:
    """Another program's event in the topic must stop nothing, and must be seen."""
    sink = Settings(url=receiver.url).build()
    sink.deliver([Message("alerts", None, value), event()])
    assert sink.skipped == 1
    assert len(receiver.alerts) == 1


def test_an_alert_without_a_recovery_has_an_end(receiver: Receiver) -> None:
    """A resolved event that has no end would fire again in Alertmanager."""
    sink = Settings(url=receiver.url).build()
    sink.deliver([event(revision=1, endsAt=None, anomaly_score=None, attribution=[])])
    (alert,) = receiver.alerts
    assert alert["endsAt"] == alert["startsAt"]
    assert "anomaly_score" not in alert["annotations"]


# ── settings ──


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": "alertmanager:9093"}, "this is no address: write http://HOST:9093"),
        ({"url": []}, "name at least one address"),
        ({"url": "http://me:hunter2@host:9093"}, "no name and no password belong in an address"),
        ({"url": "http://host:9093/api/v2/alerts"}, "write the address only"),
        ({"url": "http://host:99999"}, "out of range"),
        ({"url": NOBODY, "username": "me"}, "username and password_file go together"),
        ({"url": NOBODY, "username": "me", "password_file": "p", "bearer_token_file": "t"}, "not both"),
    ],
)
def test_wrong_settings_are_said(given: dict[str, Any], said: str) -> None:
    """What cannot work must be refused with the configuration, not with the first alert."""
    with pytest.raises(ValidationError, match=said):
        Settings.model_validate(given)
