"""Decoded windows that become rows."""

from __future__ import annotations

import numpy as np

from monitor.dataset.codes import Codes
from monitor.dataset.decoded import decoded


def _codes(row: list[int], start: list[int], end: list[int], stream: list[str]) -> Codes:
    count = len(row)
    begins, ends, rows = (np.array(column, np.int64) for column in (start, end, row))
    return Codes(stream, begins, ends, rows, np.zeros(count, bool), np.zeros((count, 1), np.float32), None)


def test_overlapping_windows_give_each_row_once_and_in_order_of_time() -> None:
    """Rows would be doubled, or run back in time where records are not evenly spaced, and be late when read."""
    times = np.array([0, 1, 2, 60, 61, 62]) * 1_000
    windows = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    codes = _codes([0, 1, 9], [0, 1_000, 0], [60_000, 61_000, 3_000], ["a", "a", "b"])
    found = decoded(codes, windows, ("x",), 0)
    assert found.row.tolist() == [0, 1, 2, 3, 4, 9, 10, 11, 12]
    own = found.rows.time[:5]
    assert (np.diff(own) > 0).all()
    assert own[[0, 1, 3, 4]].tolist() == times[[0, 1, 3, 4]].tolist()
    assert found.rows.values[:, 0].tolist() == [0, 2.5, 3.5, 4.5, 7, 8, 9, 10, 11]
    assert [found.rows.streams[number] for number in found.rows.stream] == ["a"] * 5 + ["b"] * 4


def test_on_a_grid_a_row_has_the_start_of_its_cell() -> None:
    """Read again, each row would fall into the cell after its own."""
    found = decoded(_codes([0], [600], [1_000], ["a"]), np.zeros((1, 4, 1), np.float32), ("x",), 100)
    assert found.rows.time.tolist() == [600, 700, 800, 900]
