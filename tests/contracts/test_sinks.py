"""What holds for every kind of sink; a new kind adds a `Place` where its events arrive to `PLACES`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import ValidationError

from monitor.message import Message
from monitor.sinks import kinds
from monitor.sinks.base import Sink, SinkError, SinkSettings
from tests.monitor.sinks.events import event
from tests.monitor.sinks.receiver import Receiver


@dataclass
class Place:
    """Where the events of a sink arrive.

    Attributes:
        settings: a sink's settings that point there.
        arrived: the streams whose events are there, in order of arrival.
        broken: settings that point to where nothing can arrive.
    """

    settings: SinkSettings
    arrived: Callable[[], list[str]]
    broken: SinkSettings


@contextmanager
def jsonl(directory: Path) -> Iterator[Place]:
    """A file; the device that is always full."""
    path, settings = directory / "alerts.jsonl", kinds()["jsonl"]
    yield Place(
        settings.model_validate({"path": str(path)}),
        lambda: [json.loads(line)["subject"] for line in path.read_text().splitlines()],
        settings.model_validate({"path": "/dev/full"}),
    )


@contextmanager
def alertmanager(directory: Path) -> Iterator[Place]:
    """A receiver; a port where nobody listens."""
    del directory
    settings = kinds()["alertmanager"]
    with Receiver() as receiver:
        yield Place(
            settings.model_validate({"url": receiver.url}),
            lambda: [alert["labels"]["stream"] for alert in receiver.alerts],
            settings.model_validate({"url": "http://127.0.0.1:1", "timeout": "300ms"}),
        )


PLACES: dict[str, Callable[[Path], AbstractContextManager[Place]]] = {"alertmanager": alertmanager, "jsonl": jsonl}

ELSEWHERE = {"kafka"}
"""Kinds that need a broker: their own tests hold them to the same."""

STREAMS = [f"pump-{i}" for i in range(1_000)]
EVENTS = [event(stream) for stream in STREAMS]


@pytest.fixture(params=sorted(set(kinds()) - ELSEWHERE))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """The place of each kind of sink in turn."""
    with PLACES[request.param](tmp_path) as found:
        yield found


@pytest.fixture
def sink(place: Place) -> Iterator[Sink]:
    """An open sink that leads to `place`."""
    opened = place.settings.build()
    yield opened
    opened.close()


def test_all_is_there_in_order_when_deliver_returns(place: Place, sink: Sink) -> None:
    """The offsets commit next: what is still on its way then would be lost by a crash."""
    sink.deliver(EVENTS[:1])
    assert place.arrived() == STREAMS[:1]
    sink.deliver([])
    sink.deliver(EVENTS[1:])
    assert place.arrived() == STREAMS
    assert sink.skipped == 0


def test_events_may_come_again(place: Place, sink: Sink) -> None:
    """At least once: after a crash the same events are delivered again, and that must not fail."""
    sink.deliver(EVENTS[:2])
    sink.deliver(EVENTS[:2])
    assert place.arrived() == [*STREAMS[:2], *STREAMS[:2]]


def test_a_tick_without_need_does_nothing(place: Place, sink: Sink) -> None:
    """It is called every second, for months."""
    sink.deliver(EVENTS[:3])
    start = time.monotonic()
    for _ in range(1_000):
        sink.tick()
    assert time.monotonic() - start < 1.0
    assert place.arrived() == STREAMS[:3]


def test_a_failure_is_one_line_and_stops_neither_tick_nor_close(place: Place) -> None:
    """An operator reads it at three in the morning; and the daemon must be able to stop nevertheless."""
    sink = place.broken.build()
    with pytest.raises(SinkError) as caught:
        sink.deliver(EVENTS[:1])
    said = str(caught.value)
    assert said.startswith("sink ")
    assert "\n" not in said
    assert "Traceback" not in said
    sink.tick()
    sink.close()
    sink.close()


def test_a_failure_does_not_take_the_same_events_from_the_next_try(place: Place) -> None:
    """The caller delivers again until it works: a sink that remembers them as done would lose them."""
    sink = place.broken.build()
    for _ in range(2):
        with pytest.raises(SinkError):
            sink.deliver(EVENTS[:1])
    sink.close()


def test_a_null_event_stops_nothing(place: Place, sink: Sink) -> None:
    """A tombstone that somebody wrote into the alerts topic must not hold up the alerts behind it."""
    sink.deliver([EVENTS[0], Message("alerts", b"pump-0", None), EVENTS[1]])
    assert place.arrived() == STREAMS[:2]


def test_settings_are_strict(place: Place) -> None:
    """A misspelt setting that is taken silently is a sink that does something else."""
    given = place.settings.model_dump(mode="json")
    assert type(place.settings).model_validate(given) == place.settings
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        type(place.settings).model_validate({**given, "misspelt": 1})
    for name, field in type(place.settings).model_fields.items():
        assert name == "type" or field.description, f"{name} is not explained"


def test_every_kind_has_a_place() -> None:
    """A kind that no test delivers to is one that nobody tried."""
    assert set(kinds()) - ELSEWHERE == set(PLACES)
