"""The alert machine: what opens, what resolves, what stays quiet."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pydantic import ValidationError

from monitor.alert import Alert, Alerter, AlertSettings, Expiry, Severity, alert_id
from monitor.duration import Duration
from monitor.table import Column, StreamTable
from monitor.threshold import Learned
from tests.monitor.batches import live, scored, windows

NAN = float("nan")
SPACING = 1_000


class Machine:
    """An alerter with two streams, fed one batch after the other; the line is 1."""

    def __init__(self, windows_per_stream: float = 0.0, **settings: object) -> None:
        """Set up with settings."""
        self.alerter = Alerter(AlertSettings.model_validate(settings), 2, windows_per_stream)
        self.table = live(StreamTable(self.alerter.columns), 2)
        self.ends = [0, 0]

    def take(
        self, *scores: float, slot: int = 0, restarted: Sequence[int] = (), expiries: Sequence[Expiry] = ()
    ) -> list[Alert]:
        """Take windows of one stream, one a second, NaN = not scored."""
        ends = [self.ends[slot] + SPACING * (i + 1) for i in range(len(scores))]
        if ends:
            self.ends[slot] = ends[-1]
        return self.batch([slot] * len(scores), ends, scores, restarted, expiries)

    def batch(
        self,
        slot: Sequence[int],
        end: Sequence[int],
        score: Sequence[float],
        restarted: Sequence[int] = (),
        expiries: Sequence[Expiry] = (),
    ) -> list[Alert]:
        """Take a batch."""
        found = scored(score)
        line = np.where(found.scored, 1.0, NAN)
        with np.errstate(invalid="ignore"):
            over = found.scored & (found.score > line)
        return self.alerter.process(
            self.table, ("topic", 3), windows(slot, end, restarted), found, line, over, expiries
        )


def events(alerts: Sequence[Alert]) -> list[tuple[str, int]]:
    """Return status and time in seconds."""
    return [(alert.reason or alert.status, alert.time // SPACING) for alert in alerts]


def test_opens_and_resolves() -> None:
    """If it failed, one strange window would page somebody, or an alert would never end."""
    machine = Machine(open_after=2, resolve_after=3, rest=0)
    found = machine.take(9, 0, 9, 9, 9, 0, 0, 9, 0, 0, 0, 0)
    assert events(found) == [("firing", 4), ("recovered", 11)]
    firing, resolved = found
    assert (firing.starts_at, firing.ends_at, firing.revision, firing.due) == (3_000, None, 0, 40_001)
    assert (resolved.starts_at, resolved.ends_at, resolved.revision) == (3_000, 11_000, 1)
    assert firing.alert_id == resolved.alert_id
    assert (resolved.status, resolved.stream, resolved.topic, resolved.partition) == ("resolved", "s0", "topic", 3)


def test_the_line_itself_is_not_over() -> None:
    """If it failed, a score that equals its line would count."""
    assert events(Machine(open_after=1).take(1.0, np.nextafter(1.0, 2))) == [("firing", 2)]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_batches_do_not_matter(size: int) -> None:
    """If it failed, alerts would depend on how many records Kafka happened to return."""
    scores = np.random.default_rng(1).choice([0.0, 5.0, NAN], 200, p=[0.5, 0.4, 0.1]).tolist()
    whole = Machine(rest=3).take(*scores)
    machine = Machine(rest=3)
    parts = [machine.take(*scores[i : i + size]) for i in range(0, 200, size)]
    assert events([alert for part in parts for alert in part]) == events(whole)
    assert len(whole) > 5


def test_ids_are_made_of_the_window_that_opened() -> None:
    """If it failed, a replay would give other ids, and consumers could not drop duplicates."""
    (found,) = Machine(open_after=2).take(9, 9)
    text = b"topic\x003\x0020000\x00s0\x00anomaly\x002000"
    assert found.alert_id == hashlib.sha256(text).hexdigest()[:32]
    assert (
        alert_id("ü", 0, 7, "ß", "anomaly", 5)
        == hashlib.sha256("ü\x000\x007\x00ß\x00anomaly\x005".encode()).hexdigest()[:32]
    )


def test_a_second_alert_has_its_own_id_and_begins_at_revision_0() -> None:
    """If it failed, two incidents would be one to a consumer."""
    found = Machine(open_after=1, resolve_after=1, rest=0).take(9, 0, 9, 0)
    assert [alert.revision for alert in found] == [0, 1, 0, 1]
    assert len({alert.alert_id for alert in found}) == 2


def test_windows_that_are_not_scored_change_nothing() -> None:
    """If it failed, missing values would resolve an alert, break a run or use up the rest."""
    machine = Machine(open_after=2, resolve_after=2, rest=4)
    found = machine.take(9, NAN, NAN, 9, NAN, 0, NAN, 0)
    assert events(found) == [("firing", 4), ("recovered", 8)]
    # Two scored windows of rest are used; the unscored ones do not count.
    assert events(machine.take(NAN, NAN, NAN, 9, 9, 9, 9)) == [("firing", 15)]


def test_a_restart_of_the_window_zeroes_both_counts() -> None:
    """If it failed, windows on both sides of a gap would count as consecutive."""
    machine = Machine(open_after=2, resolve_after=2, rest=0)
    assert events(machine.take(9, 9, 9, restarted=[1])) == [("firing", 3)]
    assert events(machine.take(0, 0, 0, restarted=[1])) == [("recovered", 6)]
    # Where the first window after it cannot be scored, too.
    assert machine.take(9) == []
    assert events(machine.take(NAN, 9, 9, restarted=[0])) == [("firing", 10)]
    assert machine.take(0) == []
    assert machine.take(NAN, 0, restarted=[0]) == []


def test_a_restart_keeps_the_alert() -> None:
    """If it failed, a gap would end an alert without an event."""
    machine = Machine(open_after=1, resolve_after=1)
    machine.take(9)
    assert machine.take(9, 9, restarted=[0]) == []
    assert events(machine.take(0)) == [("recovered", 4)]


def test_rest_in_windows() -> None:
    """If it failed, an alert that flaps would page at every turn, or the rest would be one window too long."""
    machine = Machine(open_after=2, resolve_after=1, rest=4)
    # Opened at 2; 3 to 6 are rest, and do not count towards opening.
    assert events(machine.take(9, 9, 0, 9, 9, 9, 9, 9)) == [("firing", 2), ("recovered", 3), ("firing", 8)]


def test_rest_runs_from_the_opening_also_while_firing() -> None:
    """If it failed, the rest would begin when an alert resolves."""
    machine = Machine(open_after=1, resolve_after=1, rest=3)
    assert events(machine.take(9, 9, 9, 9, 0, 9)) == [("firing", 1), ("recovered", 5), ("firing", 6)]


def test_rest_in_event_time() -> None:
    """If it failed, a rest of some hours would be one of some windows."""
    machine = Machine(open_after=1, resolve_after=1, rest="3s")
    found = machine.take(9, 0, 9, 9, 9)
    assert events(found) == [("firing", 1), ("recovered", 2), ("firing", 4)]


def test_rest_ends_when_the_clock_is_set_back() -> None:
    """If it failed, a stream whose clock was a year ahead could raise no alert for a year."""
    machine = Machine(open_after=1, resolve_after=1, rest="1h")
    machine.batch([0, 0], [10**12, 10**12 + 1_000], [9, 0])
    assert events(machine.batch([0], [5_000], [9], restarted=[0])) == [("firing", 5)]


@pytest.mark.parametrize(("windows_per_stream", "rest"), [(10.0, 2), (12.6, 3), (0.0, 0), (1e6, 150)])
def test_automatic_rest(windows_per_stream: float, rest: int) -> None:
    """If it failed, the default rest would not be a fifth of what the model was trained on."""
    machine = Machine(windows_per_stream, open_after=1, resolve_after=1)
    found = events(machine.take(9, 0, *[9] * 160))
    assert found[2] == ("firing", max(rest + 2, 3))


@pytest.mark.parametrize(
    ("score", "severity"), [(1.5, "warning"), (1.999, "warning"), (2.0, "critical"), (50, "critical")]
)
def test_severity_at_opening(score: float, severity: str) -> None:
    """If it failed, a critical alert would not wake anybody."""
    machine = Machine(open_after=2, resolve_after=1)
    found = machine.take(1.1, score, 90, 0)
    assert [alert.severity for alert in found] == [severity, severity]
    assert found[0].score / found[0].threshold == score


def test_severity_by_the_settings() -> None:
    """If it failed, the levels of a configuration would be ignored."""
    machine = Machine(open_after=1, severity={"warning": 2, "critical": 5}, resolve_after=1, rest=0)
    assert [alert.severity for alert in machine.take(1.9, 0)] == ["info", "info"]
    assert [alert.severity for alert in machine.take(2.0, 0)] == ["warning", "warning"]
    assert machine.take(4.9)[0].severity == "warning"
    assert machine.take(5.1, slot=1)[0].severity == "critical"
    with pytest.raises(ValidationError, match="must not be below"):
        AlertSettings(severity=Severity(warning=3, critical=2))


def test_figures_are_those_of_the_causing_window() -> None:
    """If it failed, an alert would show another window than the one that it is about."""
    machine = Machine(open_after=1, resolve_after=2)
    firing, resolved = machine.take(9, 0.25, 0.5)
    assert (firing.score, resolved.score, resolved.threshold) == (9, 0.5, 1)
    assert (firing.window_start, firing.window_end, firing.first_offset, firing.last_offset) == (
        900,
        1_000,
        9_995,
        10_000,
    )
    assert (resolved.window_end, resolved.last_offset) == (3_000, 30_000)
    assert_allclose(firing.shares, [0.75, 0.25])
    assert firing.actual.tolist() == [2, 3]  # the later row is farther from 0
    assert resolved.actual.tolist() == [10, 11]
    assert firing.expected.tolist() == [0, 0]


def test_silence() -> None:
    """If it failed, the alert of a machine that was switched off would fire for ever."""
    machine = Machine(open_after=1, resolve_after=2)
    machine.take(9, 4, 0.5)
    (found,) = machine.take(expiries=[Expiry(0, due=77, time=123_456)])
    assert (found.status, found.reason, found.due, found.revision) == ("resolved", "expired", 77, 1)
    assert (found.time, found.ends_at, found.starts_at) == (123_456, 123_456, 1_000)
    assert (found.score, found.window_end, found.last_offset) == (0.5, 3_000, 30_000)  # the last scored window
    assert machine.take(expiries=[Expiry(0, due=78, time=123_457)]) == []


def test_silence_in_the_order_of_the_records() -> None:
    """If it failed, a batch could expire an alert that had not opened yet, or had recovered."""
    machine = Machine(open_after=1, resolve_after=1, rest=0)
    # A window is due at 10 × its end + 1.
    found = machine.take(9, 0, 9, expiries=[Expiry(0, 5, 1), Expiry(0, 25_000, 2), Expiry(0, 40_000, 9_000)])
    assert events(found) == [("firing", 1), ("recovered", 2), ("firing", 3), ("expired", 9)]
    assert [alert.revision for alert in found] == [0, 1, 0, 1]


def test_expired_streams_count_anew() -> None:
    """If it failed, windows before a long silence would help to resolve or to open afterwards."""
    machine = Machine(open_after=2, resolve_after=3, rest=0)
    machine.take(9, 9, 0, 0, expiries=[Expiry(0, 10**6, 9_000)])
    assert events(machine.take(9, 9)) == [("firing", 6)]
    assert machine.take(0, 0) == []


def test_streams_do_not_touch_each_other() -> None:
    """If it failed, two streams' windows would count together."""
    machine = Machine(open_after=2, resolve_after=1, rest=0)
    found = machine.batch([0, 0, 0, 1, 1], [1_000, 2_000, 3_000, 1_000, 2_000], [9, 0, 9, 9, 9])
    assert [(alert.stream, alert.status) for alert in found] == [("s1", "firing")]
    assert [alert.stream for alert in machine.batch([0, 1], [4_000, 3_000], [9, 0])] == ["s0", "s1"]


def test_a_dropped_stream_forgets_its_alerts() -> None:
    """If it failed, a stream born anew would resolve an alert of its former life, or rest because of it."""
    machine = Machine(open_after=1, resolve_after=1, rest=100)
    machine.take(9)
    machine.table.reset(np.array([0]))
    assert machine.take(0) == []
    assert events(machine.take(9)) == [("firing", 3)]


def test_order() -> None:
    """If it failed, alerts would leave in another order than the records that caused them."""
    found = Machine(open_after=1, resolve_after=1, rest=0).batch([0, 0, 1], [1_000, 2_000, 1_000], [9, 0, 9])
    assert [alert.order for alert in sorted(found, key=lambda alert: alert.order)] == [
        ("topic", 3, 10_001, "s0", 1_000, "anomaly", 0),
        ("topic", 3, 10_001, "s1", 1_000, "anomaly", 0),
        ("topic", 3, 20_001, "s0", 2_000, "anomaly", 1),
    ]


def test_settings() -> None:
    """If it failed, a rest in hours would be read as text or refused."""
    rest = AlertSettings.model_validate({"rest": "2h"}).rest
    assert isinstance(rest, Duration)
    assert AlertSettings().rest == "auto"
    for wrong in ({"open_after": 0}, {"rest": -1}, {"rest": "often"}, {"expire": "0s"}, {"resolve": 3}):
        with pytest.raises(ValidationError):
            AlertSettings.model_validate(wrong)


class Counting(Machine):
    """A machine whose line has learned from as many windows as it was given, after a prior of ten."""

    def __init__(self, **settings: object) -> None:
        """Set up with settings."""
        super().__init__(0.0, **settings)
        self.alerter = Alerter(AlertSettings.model_validate(settings), 2, 0.0, Learned("line_n", 10.0))
        self.table = live(StreamTable((*self.alerter.columns, Column("line_n", np.int64))), 2)

    def batch(
        self,
        slot: Sequence[int],
        end: Sequence[int],
        score: Sequence[float],
        restarted: Sequence[int] = (),
        expiries: Sequence[Expiry] = (),
    ) -> list[Alert]:
        """Take a batch; lines learn before alerts are made."""
        known = ~np.isnan(np.array(score, np.float64))
        np.add.at(self.table["line_n"], np.array(slot, np.intp)[known], 1)
        return super().batch(slot, end, score, restarted, expiries)


@pytest.mark.parametrize("size", [1, 3, 9])
def test_confidence_is_that_of_the_window(size: int) -> None:
    """If it failed, it would depend on batches, or an alert on a stream that is new would look as sure as any."""
    machine = Counting(open_after=1, resolve_after=1, rest=0)
    scores = [0, NAN, 9, 0, NAN, NAN, 0, 0, 9]
    found = [alert for at in range(0, len(scores), size) for alert in machine.take(*scores[at : at + size])]
    assert events(found) == [("firing", 3), ("recovered", 4), ("firing", 9)]
    assert_allclose([alert.confidence or -1.0 for alert in found], [1 / 11, 2 / 12, 5 / 15])
    (expired,) = machine.take(expiries=[Expiry(0, 500, 60_000)])
    assert expired.confidence == found[-1].confidence


def test_a_line_that_never_learns_has_no_confidence() -> None:
    """If it failed, a static line would be shown as one that is still being learned."""
    (firing,) = Machine(open_after=1).take(9)
    assert firing.confidence is None
    assert firing.members == ()
