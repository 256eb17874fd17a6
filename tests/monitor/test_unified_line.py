"""The tied line: level, fatigue, rest and budget against their formula."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from monitor.table import StreamTable
from monitor.threshold import Prior, QuantileScale, Threshold, Tracked, Unified, build, lines

MINUTE = 60_000
QUANTILES = [(0.5, 1.0), (0.9, 3.6), (0.99, 10.0), (0.999, 22.0)]


def prior(*, calibrated: bool) -> Prior:
    """Return a prior of lognormal scores, a window a minute."""
    return Prior(0.0, 1.0, QUANTILES, 200.0, 1440.0, calibrated)


def run(line: Threshold, score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lines of one stream."""
    table = StreamTable(line.columns)
    slot = table.assign(b"s")
    table.admit(np.array([slot]))
    count = len(score)
    end = np.arange(count, dtype=np.int64) * MINUTE
    return lines(line, table, np.full(count, slot, np.int32), score, end, np.zeros(count, np.bool_))


def test_an_event_lifts_the_line_once_and_it_leaks_back_at_the_speed_of_the_budget() -> None:
    """If it failed, one incident could silence a stream for long, or many could come one after the other."""
    line = build(Unified.Settings(alerts_per_stream_per_day=144.0), prior(calibrated=True), 2)
    score = np.full(400, 0.1)
    score[100:110] = 1.0
    found = run(line, score)
    assert_allclose(found[:102], 0.36)  # read before it learns: the second window over it is row 101
    assert found[102] == pytest.approx(0.36 + 0.05 * (1 - 0.1))
    assert found[110] < found[102]  # the rest of the event costs nothing
    assert_allclose(np.diff(found[103:105]), -0.05 * 0.1)
    assert_allclose(found[150:], 0.36)


@pytest.mark.parametrize(
    ("budget", "days", "begins"),
    [
        (0.1, 8.0, 0.36 + 1.25 * 0.24),  # no event has room: above the highest
        (0.1, 10.0, 0.36 + 1.25 * 0.24),  # one as high is to come, and may
        (0.1, 15.0, 0.36 + 1.25 * 0.19),  # between the first and the second
        (0.1, 20.0, 0.36 + 1.25 * 0.14),
        (0.4, 10.0, 0.36),  # all three have room
        (5.0, 10.0, 0.36),
        (0.1, 4.0, 0.36),  # too short to tell
    ],
)
def test_it_begins_above_what_the_training_windows_would_have_alarmed_at(
    budget: float, days: float, begins: float
) -> None:
    """If it failed, machines that are always restless would have several times the alerts that were promised."""
    heights = (0.6, 0.5, 0.4)
    known = replace(prior(calibrated=True), heights=heights, days=days)
    line = build(Unified.Settings(alerts_per_stream_per_day=budget), known, 2)
    assert run(line, np.full(3, 0.1))[0] == pytest.approx(begins)


def test_one_wild_event_of_the_training_lifts_the_line_by_so_much_at_most() -> None:
    """If it failed, one anomaly among the training rows could blind the monitor."""
    known = replace(prior(calibrated=True), heights=(30.0,), days=8.0)
    assert run(build(Unified.Settings(), known, 2), np.full(3, 0.1))[0] == pytest.approx(0.36 + 0.9)


def test_who_sets_a_level_or_a_rate_gets_it_whatever_the_training_was_like() -> None:
    """If it failed, the operator's word would not hold."""
    known = replace(prior(calibrated=True), heights=(0.9,), days=8.0)
    assert run(build(Unified.Settings(level=0.3), known, 2), np.full(3, 0.1))[0] == pytest.approx(0.3)
    plain = run(build(Unified.Settings(q=0.999), prior(calibrated=True), 2), np.full(3, 0.1))
    assert_allclose(run(build(Unified.Settings(q=0.999), known, 2), np.full(3, 0.1)), plain)


def test_no_event_is_counted_in_the_rest_after_one() -> None:
    """If it failed, alerts that never open would lift the line."""
    line = build(Unified.Settings(alerts_per_stream_per_day=0.1), prior(calibrated=True), 1)
    score = np.full(200, 0.1)
    score[[50, 60, 80, 100]] = 1.0  # the rest is a fifth of 200 windows
    found = run(line, score)
    assert found[199] == pytest.approx(0.36 + 2 * 0.05, abs=0.01)


@pytest.mark.parametrize("settings", [Unified.Settings(q=0.99), QuantileScale.Settings(q=0.99)], ids=str)
def test_a_rate_is_kept_on_scores_that_nobody_calibrated(settings: Unified.Settings) -> None:
    """If it failed, operators would get several times the alerts that they asked for, or none."""
    random = np.random.default_rng(4)
    score = np.exp(random.normal(0, 1, 9_000))
    score[4_000:] *= 2.7  # and after a level shift as well
    over = score > run(build(settings, prior(calibrated=False), 2), score)
    rows = np.flatnonzero(over)
    events = rows[np.diff(rows, prepend=-100) > 20]
    for part in (slice(500, 4_000), slice(5_000, 9_000)):
        inside = np.count_nonzero((events >= part.start) & (events < part.stop))
        assert 0.3 < inside / (part.stop - part.start) / 0.01 < 2.5


def test_scores_of_a_detector_are_never_calibrated_twice() -> None:
    """If it failed, the default configuration would judge a detector by a line for plain scores."""
    chosen = build(Tracked.Settings(alerts_per_stream_per_day=3.0), prior(calibrated=True), 2)
    assert isinstance(chosen, Unified)
    assert isinstance(build(Tracked.Settings(), prior(calibrated=False), 2), Tracked)
    plain: Any = build(Unified.Settings(), prior(calibrated=True), 2)
    assert {column.name for column in plain.columns} == {column.name for column in chosen.columns}
