"""Prometheus Alertmanager, through its API v2.

Alertmanager forgets what its clients do not repeat: a firing alert without an end resolves by itself after its
`resolve_timeout` (5 m). So `tick` sends every firing alert again each `resend_interval` until it is resolved, and a
resolved one for five minutes more. Who has several Alertmanagers names all of them: each event goes to each, as
Prometheus does it, and has arrived when one of them took it.

What is re-sent is what this process has delivered, and what `recall` has told it: fed from the alerts topic, it learns
at the start which alerts fire. Without an alerts topic the ones that fired before a restart are re-sent from their next
event on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
import structlog
from pydantic import Field, field_validator, model_validator

from monitor.duration import Duration, PositiveDuration
from monitor.message import Message
from monitor.sinks._http import Http, HttpError
from monitor.sinks.base import Sink, SinkError, SinkSettings

EVENT = "tidegauge.alert.v1"
RESOLVED_FOR = 300.0
"""Seconds for which a resolved alert is re-sent, as Alertmanager's documentation asks for."""

_CHUNK = 256
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_TICK_TIMEOUT = 2.0  # a tick may hold up the loop that scores: one short attempt
_AFTER_FAILURE = 10.0

log = structlog.get_logger()


class Settings(SinkSettings):
    """Alerts for Prometheus Alertmanager (API v2)."""

    type: Literal["alertmanager"] = "alertmanager"
    url: str | tuple[str, ...] = Field(
        description="address such as http://alertmanager:9093, or those of all members of a cluster"
    )
    timeout: PositiveDuration = Field(Duration("5s"), description="an event that is not taken within it has failed")
    resend_interval: PositiveDuration = Field(
        Duration("1m"),
        description="firing alerts are sent again so often; keep it below Alertmanager's resolve_timeout",
    )
    bearer_token_file: Path | None = Field(None, description="file that holds a bearer token; read at each request")
    username: str | None = Field(None, description="name for basic authentication; goes with password_file")
    password_file: Path | None = Field(None, description="file that holds the password; read at each request")
    ca_file: Path | None = Field(None, description="certificates to trust with https; the system's where left out")

    @field_validator("url")
    @classmethod
    def _addresses(cls, url: str | tuple[str, ...]) -> str | tuple[str, ...]:
        urls = (url,) if isinstance(url, str) else url
        if not urls:
            message = "name at least one address"
            raise ValueError(message)
        for one in urls:
            _check_address(one)
        return url

    @model_validator(mode="after")
    def _one_identity(self) -> Settings:
        if (self.username is None) != (self.password_file is None):
            message = "username and password_file go together"
            raise ValueError(message)
        if self.bearer_token_file is not None and self.username is not None:
            message = "set bearer_token_file, or username and password_file, not both"
            raise ValueError(message)
        return self

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses that alerts are posted to."""
        urls = (self.url,) if isinstance(self.url, str) else self.url
        return tuple(f"{url.rstrip('/')}/api/v2/alerts" for url in urls)

    def build(self) -> Sink:
        """Read the files once, so that a missing one is said at the start; connect to nothing.

        Raises:
            SinkError: if a file cannot be read.
        """
        http = Http(self.bearer_token_file, self.username, self.password_file, self.ca_file)
        try:
            http.check()
        except HttpError as error:
            message = f"sink alertmanager: {error}"
            raise SinkError(message, permanent=True) from error
        return AlertmanagerSink(self.urls, http, self.timeout.seconds, self.resend_interval.seconds)


def _check_address(url: str) -> None:
    """Refuse what is no plain address.

    Raises:
        ValueError: with what is wrong; it never shows a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        message = "this is no address: write http://HOST:9093 or https://HOST:9093"
    elif parts.username is not None or parts.password is not None:
        message = "no name and no password belong in an address: use username and password_file"
    elif parts.query or parts.fragment or parts.path.rstrip("/").endswith("/alerts"):
        message = "write the address only, without /api/v2/alerts, ? and #"
    else:
        _ = parts.port  # raises where it is none
        return
    raise ValueError(message)


class _Cause(msgspec.Struct):
    """An entry of `attribution`."""

    feature: str


class _Data(msgspec.Struct):
    """What is read of the event's `data`; whatever else is in it is left alone."""

    status: Literal["firing", "resolved"]
    alert_id: str
    labels: dict[str, str]
    startsAt: str  # noqa: N815 - Alertmanager's name
    annotations: dict[str, str] = {}
    endsAt: str | None = None  # noqa: N815 - Alertmanager's name
    anomaly_score: float | None = None
    threshold: float | None = None
    severity: str | None = None
    attribution: list[_Cause] = []


class _Event(msgspec.Struct):
    """What is read of the CloudEvent."""

    type: str
    source: str
    data: _Data


@dataclass(slots=True)
class _Sent:
    """The newest event of one set of labels, and when it is due again."""

    alert: dict[str, Any]
    due: float
    until: float | None  # None = as long as it fires


class AlertmanagerSink(Sink):
    """See the module."""

    repeats = True

    def __init__(
        self,
        urls: Sequence[str],
        http: Http,
        timeout: float,
        resend_interval: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Post to `urls`; times in seconds, `clock` decides what is due to be re-sent."""
        self._urls = tuple(urls)
        self._http = http
        self._timeout = timeout
        self._interval = resend_interval
        self._clock = clock
        self._sent: dict[tuple[tuple[str, str], ...], _Sent] = {}

    def deliver(self, events: Sequence[Message]) -> None:
        """Post all events, in order, trying again for at most `timeout`.

        Alerts that Alertmanager refuses for what is in them hold up no other: the error comes when the rest is there.
        """
        alerts = [alert for event in events if (alert := self._alert(event)) is not None]
        deadline = time.monotonic() + self._timeout
        refused: SinkError | None = None
        for start in range(0, len(alerts), _CHUNK):
            chunk = alerts[start : start + _CHUNK]
            try:
                self._post_until(chunk, deadline)
            except SinkError as error:
                if not error.permanent:
                    raise
                refused = (self._post_each(chunk, deadline) if len(chunk) > 1 else error) or refused
            else:
                self._remember(chunk)
        if refused is not None:
            raise refused

    def tick(self) -> None:
        """Send again what is due; a failure is logged, and tried again ten seconds later."""
        now = self._clock()
        for labels in [labels for labels, sent in self._sent.items() if sent.until is not None and sent.until <= now]:
            del self._sent[labels]
        due = [sent for sent in self._sent.values() if sent.due <= now][:_CHUNK]
        if not due:
            return
        if errors := self._post([sent.alert for sent in due], min(self._timeout, _TICK_TIMEOUT)):
            log.warning("alert_resend_failed", sink="alertmanager", alerts=len(due), error=str(_failed(errors)))
            # All of them, or the next tick would wait for the next chunk.
            for sent in self._sent.values():
                sent.due = max(sent.due, now + min(self._interval, _AFTER_FAILURE))
        else:
            for sent in due:
                sent.due = now + self._interval

    def recall(self, events: Sequence[Message]) -> None:
        """Re-send these, at the next tick and as long as they fire; forget all others."""
        self._sent.clear()
        self._remember([alert for event in events if (alert := self._alert(event)) is not None])
        for sent in self._sent.values():
            sent.due = self._clock()  # the receiver may have waited for a while

    def _alert(self, event: Message) -> dict[str, Any] | None:
        """Return an event as Alertmanager wants it, or None where it is no alert of ours."""
        try:
            found = msgspec.json.decode(event.value or b"", type=_Event)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            found = None
        if found is None or found.type != EVENT:
            self.skipped += 1
            log.warning("event_skipped", sink="alertmanager", reason=f"no {EVENT}")
            return None
        data = found.data
        facts = {
            "alert_id": data.alert_id,
            "severity": data.severity,
            "anomaly_score": data.anomaly_score,
            "threshold": data.threshold,
            "feature": data.attribution[0].feature if data.attribution else None,
        }
        alert: dict[str, Any] = {
            "labels": data.labels,
            "annotations": data.annotations | {name: str(fact) for name, fact in facts.items() if fact is not None},
            "startsAt": data.startsAt,
            "generatorURL": found.source,
        }
        if data.status == "resolved":
            alert["endsAt"] = data.endsAt or data.startsAt
        return alert

    def _remember(self, alerts: list[dict[str, Any]]) -> None:
        """Note what is to be sent again."""
        now = self._clock()
        for alert in alerts:
            until = now + RESOLVED_FOR if "endsAt" in alert else None
            # By labels, not by id: a stream's next alert takes the place of its last one at Alertmanager too, and
            # re-sending the resolved one would resolve the new.
            self._sent[tuple(sorted(alert["labels"].items()))] = _Sent(alert, now + self._interval, until)

    def _post_each(self, alerts: list[dict[str, Any]], deadline: float) -> SinkError | None:
        """Post one after the other, and return the error of one that was refused.

        Raises:
            SinkError: if something else went wrong.
        """
        refused: SinkError | None = None
        for alert in alerts:
            try:
                self._post_until([alert], deadline)
            except SinkError as error:
                if not error.permanent:
                    raise
                refused = error
            else:
                self._remember([alert])
        return refused

    def _post_until(self, alerts: list[dict[str, Any]], deadline: float) -> None:
        """Post, and try again until `deadline` (monotonic seconds).

        Raises:
            SinkError: if no Alertmanager took them; at once if waiting does not help, permanent if they are refused.
        """
        pause = _FIRST_PAUSE
        while errors := self._post(alerts, max(deadline - time.monotonic(), _FIRST_PAUSE)):
            passing = any(error.passing for error in errors)
            if not passing or time.monotonic() + pause >= deadline:
                raise _failed(errors)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _post(self, alerts: list[dict[str, Any]], timeout: float) -> list[HttpError]:
        """Post once to each Alertmanager, within `timeout` seconds altogether; return errors if none took them."""
        body = msgspec.json.encode(alerts)
        errors: list[HttpError] = []
        for url in self._urls:
            try:
                self._http.post(url, body, timeout / len(self._urls))
            except HttpError as error:
                errors.append(error)
        if len(errors) == len(self._urls):
            return errors
        for failure in errors:
            log.warning("alertmanager_failed", sink="alertmanager", error=str(failure))
        return []


def _failed(errors: Sequence[HttpError]) -> SinkError:
    """Return the one line for what all Alertmanagers said."""
    message = f"sink alertmanager: {'; '.join(map(str, errors))}"
    return SinkError(message, permanent=all(error.refused for error in errors))
