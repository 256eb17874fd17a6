"""Cells of the time grid: how records become rows, and gaps are filled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from monitor.record import Records, RecordSettings
from monitor.table import StreamTable
from monitor.window import WindowSettings
from monitor.window.clock import Clock
from monitor.window.grid import Grid
from monitor.window.ring import Ring
from monitor.window.rows import Rows
from tests.monitor.batches import live

NAN = float("nan")


class Stream:
    """One stream with two features on a grid of 10 ms."""

    def __init__(self, **settings: Any) -> None:
        """Set up with windows of these settings."""
        window = WindowSettings.model_validate({"length": 3, "stride": 1, "interval": "10ms"} | settings)
        self.clock = Clock(window, RecordSettings().max_step.ms, 2, by_sensor=False)
        self.grid = Grid(window, 2)
        self.ring = Ring(window, 2)  # gaps are filled with the last row that it has
        self.table = live(StreamTable((*self.clock.columns, *self.grid.columns, *self.ring.columns)), 1)
        self.offset = 0

    def rows(self, *samples: tuple[int, float, float]) -> Rows:
        """Return the rows that (time, first, second) make final."""
        n = len(samples)
        values = np.array([s[1:] for s in samples], np.float32)
        times = np.array([s[0] for s in samples], np.int64)
        batch = Records(np.zeros(n, np.int32), times, values, np.arange(self.offset, self.offset + n))
        self.offset += n
        rows, _ = self.grid.rows(self.table, self.clock.judge(self.table, batch).arrivals)
        self.ring.windows(self.table, rows)
        return rows


def values(rows: Rows) -> NDArray[np.float32]:
    """Return the values of rows."""
    return rows.values


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [("mean", [2, 5]), ("last", [3, 5]), ("min", [1, 5]), ("max", [3, 5]), ("sum", [6, 5])],
)
def test_aggregates(aggregate: str, expected: list[float]) -> None:
    """If it failed, a cell would hold another figure than the configuration says."""
    stream = Stream(aggregate=aggregate)
    rows = stream.rows((100, 1, 5), (101, 2, NAN), (109, 3, NAN), (110, 0, 0))
    assert_array_equal(values(rows), [expected])
    assert (rows.start.tolist(), rows.end.tolist()) == ([100], [110])
    assert (rows.low.tolist(), rows.high.tolist(), rows.due.tolist()) == ([0], [2], [3])
    assert rows.records.tolist() == [3]


def test_a_feature_without_a_value_stays_missing() -> None:
    """If it failed, a sensor that was silent would look as if it had sent 0."""
    for aggregate in ("mean", "last", "min", "max", "sum"):
        rows = Stream(aggregate=aggregate).rows((100, 1, NAN), (105, 2, NAN), (110, 0, 0))
        assert np.isnan(rows.values[:, 1]).all()


def test_last_is_by_time_and_then_by_offset() -> None:
    """If it failed, a straggler would overwrite a later value."""
    rows = Stream(aggregate="last").rows((105, 1, 1), (103, 2, 2), (110, 0, 0))
    assert_array_equal(values(rows), [[1, 1]])


def test_hold_fills_when_the_record_after_the_gap_arrives() -> None:
    """If it failed, filled cells would wait for a cell more than they need."""
    stream = Stream(max_gap=2)
    assert_array_equal(values(stream.rows((100, 1, NAN), (110, 2, NAN))), [[1, NAN]])
    rows = stream.rows((140, 9, 9))  # cells 120 and 130 are empty
    assert_array_equal(values(rows), [[2, NAN]] * 3)
    assert rows.records.tolist() == [1, 0, 0]
    assert rows.end.tolist() == [120, 130, 140]
    assert rows.due.tolist() == [2, 2, 2]
    assert not rows.restart.any()


def test_linear_fills_when_that_records_cell_closes() -> None:
    """If it failed, a line would be drawn to half a cell."""
    stream = Stream(max_gap=2, fill="linear")
    stream.rows((100, 0, 0), (110, 3, NAN))
    assert len(stream.rows((140, 6, 6))) == 1
    rows = stream.rows((145, 18, 6), (150, 0, 0))
    assert_array_equal(values(rows), [[6, NAN], [9, NAN], [12, 6]])
    assert rows.due.tolist() == [4, 4, 4]
    assert rows.records.tolist() == [0, 0, 2]


def test_a_longer_gap_restarts_the_window() -> None:
    """If it failed, a window would hold rows from both sides of an outage."""
    stream = Stream(max_gap=2)
    stream.rows((100, 1, 1), (110, 2, 2))
    rows = stream.rows((150, 9, 9), (160, 8, 8))
    assert_array_equal(values(rows), [[2, 2], [9, 9]])
    assert rows.restart.tolist() == [False, True]


def test_a_gap_that_began_before_a_cell_that_is_still_open() -> None:
    """If it failed, stragglers in a gap would be overwritten by filled cells."""
    stream = Stream(max_gap=3, lateness="20ms")
    stream.rows((100, 1, 1))
    rows = stream.rows((141, 5, 5), (121, 3, 3))  # the horizon is 120: the cell 110 may be filled, 120 is open
    assert_array_equal(values(rows), [[1, 1], [1, 1]])
    assert rows.end.tolist() == [110, 120]
    assert_array_equal(values(stream.rows((160, 0, 0))), [[3, 3], [3, 3]])


def test_without_a_grid_every_record_is_a_row() -> None:
    """If it failed, records would be joined where nobody asked for it."""
    stream = Stream(interval=None, max_gap=0)
    rows = stream.rows((100, 1, NAN), (101, 2, 2))
    assert_array_equal(values(rows), [[1, NAN], [2, 2]])
    assert rows.start.tolist() == rows.end.tolist() == [100, 101]
