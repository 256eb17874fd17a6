"""How the harness feeds series to the product."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from monitor.sources.base import Rows
from tests.quality.product import Together, held, summary
from tests.quality.recordings import Series

DAY = 86_400_000


def series(name: str, start: int, rows: int, step: int) -> Series:
    """Return a series whose values are its row numbers."""
    time = start + np.arange(rows, dtype=np.int64) * step
    return Series(name, time, np.arange(rows, dtype=np.float32)[:, None], np.zeros(rows, np.bool_), 10)


def test_every_row_comes_once_in_its_order_and_keeps_its_hour_and_weekday() -> None:
    """If it failed, figures would be those of other data."""
    parts = [series("a", 3 * DAY, 900, 3_600_000), series("b", 500 * DAY + 7_200_000, 4_000, 300_000)]
    parts[1].time[1000:1005] -= 3_600_000  # a clock that was set back
    source = Together(parts)
    rows: dict[int, list[float]] = {0: [], 1: []}
    times: dict[int, list[int]] = {0: [], 1: []}
    while not source.exhausted:
        (batch,) = source.poll(0.0)
        assert isinstance(batch, Rows)
        assert_array_equal(source.owner[batch.offset], batch.stream)
        assert_array_equal(source.row[batch.offset], batch.values[:, 0])
        for owner in rows:
            own = batch.stream == owner
            rows[owner] += batch.values[own, 0].tolist()
            times[owner] += batch.time[own].tolist()
    for owner, part in enumerate(parts):
        assert rows[owner] == list(range(len(part.time)))
        moved = np.array(times[owner]) - part.time
        assert set(moved.tolist()) == {moved[0]}
        assert moved[0] % (7 * DAY) == 0
    assert abs(times[0][0] - times[1][0]) <= 7 * DAY


def test_rows_without_a_window_have_the_score_before_them() -> None:
    """If it failed, rows that are late would count as quiet."""
    assert_array_equal(held(np.array([np.nan, 1, np.nan, 2]), 0.5), [0.5, 1, 1, 2])


def test_a_summary_has_the_mean_and_the_worst() -> None:
    """If it failed, one lucky seed would be the figure."""
    found = summary(
        [{"f1": 0.8, "false_alarm_rate": 0.1, "level": 0.3}, {"f1": 0.6, "false_alarm_rate": 0.2, "level": 0.4}]
    )
    assert found["f1"] == pytest.approx(0.7)
    assert found["level"] == pytest.approx(0.35)
    assert found["worst"] == {"f1": 0.6, "false_alarm_rate": 0.2}
    assert found["seeds"] == 2
    alarms = [
        {"false_alarms_per_series_day": 0.1, "fleet_level": 0.3},
        {"false_alarms_per_series_day": 0.2, "fleet_level": 0.4},
    ]
    assert summary(alarms)["worst"] == {"false_alarms_per_series_day": 0.2}
    assert summary([{"plain": 1.0}, {"plain": 2.0}], less=("",))["worst"] == {"plain": 2.0}
