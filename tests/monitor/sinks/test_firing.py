"""What fires, by what has been read of the alerts topic, and from where on to read it again."""

from __future__ import annotations

from dataclasses import replace

from monitor.message import Message
from monitor.sinks.firing import MOST, UNKNOWN, Firing, begin
from tests.monitor.sinks.events import event


def read(offset: int, stream: str, revision: int = 0, partition: int = 0) -> Message:
    """Return an event of a stream's alert as it was read from the topic."""
    return replace(event(stream, revision, alert_id=f"{stream}-1"), partition=partition, offset=offset)


def test_what_fires_is_read_again_from_its_oldest_event_on() -> None:
    """If it failed, a restart would forget an alert that fires, or read a month of alerts."""
    firing = Firing()
    assert begin(7, firing.note(0)) == 7
    firing.take([read(3, "a"), read(4, "b"), read(5, "a", 1), read(9, "c", partition=1), read(6, "d")])
    assert [each.offset for each in firing.events()] == [4, 6, 9]
    assert (begin(7, firing.note(0)), begin(10, firing.note(1)), begin(8, firing.note(2))) == (4, 9, 8)
    again = Firing()
    again.take([read(4, "b"), read(5, "a", 1), read(6, "d"), read(9, "c", partition=1)])
    assert again.events() == firing.events()
    firing.take([read(7, "b", 1), read(8, "d", 1)])
    assert begin(9, firing.note(0)) == 9


def test_reading_again_is_bounded() -> None:
    """If it failed, one alert that fires for a month would hold up every start."""
    assert begin(MOST + 500, "firing from 3") == 500
    assert begin(UNKNOWN + 7, "") == begin(UNKNOWN + 7, "what another program wrote") == 7
    assert begin(5, "") == 0


def test_what_is_no_alert_is_left_alone() -> None:
    """If it failed, one foreign message in the alerts topic would end the relay."""
    firing = Firing()
    firing.take(
        [Message("alerts", None, value, partition=0, offset=1) for value in (None, b"", b"{}", b"\xff", b"[" * 9_000)]
    )
    assert firing.events() == []
