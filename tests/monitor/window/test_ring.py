"""Windows out of rows: which are due, what is in them."""

from __future__ import annotations

from typing import Any

import pytest

from monitor.record import RecordSettings
from monitor.table import StreamTable
from monitor.window import Windower, Windows, WindowSettings
from tests.monitor.batches import live, records


class Stream:
    """Two streams with one feature, fed by (time, value)."""

    def __init__(self, **settings: Any) -> None:
        """Set up with windows of these settings."""
        self.windower = Windower(WindowSettings.model_validate(settings), RecordSettings(), 1)
        self.table = live(StreamTable(self.windower.columns), 2)
        self.offset = 0

    def take(self, *samples: tuple[int, float], slot: int = 0) -> Windows:
        """Take records as one batch."""
        out = self.windower.process(self.table, records([(slot, *sample) for sample in samples], self.offset))
        self.offset += len(samples)
        return out.windows


def rising(start: int, count: int) -> list[tuple[int, float]]:
    """Return records a millisecond apart; a value is its time."""
    return [(time, float(time)) for time in range(start, start + count)]


@pytest.mark.parametrize("size", [1, 3, 50])
@pytest.mark.parametrize(("length", "stride"), [(1, 1), (4, 1), (4, 3), (4, 4), (3, 7), (5, 2)])
def test_the_nth_record_ends_a_window(length: int, stride: int, size: int) -> None:
    """If it failed, a record would be in other windows than those that the documentation says."""
    stream = Stream(length=length, stride=stride)
    samples = rising(1, 50)
    found = [stream.take(*samples[i : i + size]) for i in range(0, 50, size)]
    ends = [n for n in range(1, 51) if n >= length and (n - length) % stride == 0]
    assert [end for windows in found for end in windows.end.tolist()] == ends
    for windows in found:
        for i in range(len(windows)):
            end = int(windows.end[i])
            assert windows.values[i, :, 0].tolist() == list(range(end - length + 1, end + 1))
            assert windows.start[i] == end - length + 1
            assert (windows.low[i], windows.high[i], windows.due[i]) == (end - length, end - 1, end - 1)
            assert bool(windows.restarted[i]) == (end == length)


def test_streams_have_their_own_windows() -> None:
    """If it failed, a window would hold rows of two machines."""
    stream = Stream(length=2, stride=1)
    assert len(stream.take((1, 1))) == 0
    assert len(stream.take((2, 2), slot=1)) == 0
    assert stream.take((3, 3)).values.ravel().tolist() == [1, 3]
    assert stream.take((4, 4), slot=1).values.ravel().tolist() == [2, 4]


def test_windows_of_cells_are_aligned() -> None:
    """If it failed, windows of streams that began at different times would not end together."""
    stream = Stream(length=3, stride=4, interval="10ms")
    windows = stream.take(*[(time, float(time)) for time in range(50, 300, 5)])
    assert windows.end.tolist() == [90, 130, 170, 210, 250, 290]
    assert windows.start.tolist() == [60, 100, 140, 180, 220, 260]
    assert all(int(end) // 10 % 4 == 1 for end in windows.end)  # the cell of index 8 ends at 90
    assert windows.high.tolist() == [7 + 8 * i for i in range(6)]


def test_a_clock_that_is_set_back_restarts_the_window() -> None:
    """If it failed, a window would hold rows of two clocks."""
    stream = Stream(length=2, stride=1)
    assert stream.take(*rising(1_000, 3)).restarted.tolist() == [True, False]
    windows = stream.take(*rising(1, 10))
    assert windows.values[:, :, 0].tolist() == [[8, 9], [9, 10]]
    assert windows.restarted.tolist() == [True, False]


def test_missing_counts_empty_and_filled_values() -> None:
    """If it failed, windows made of nothing would be scored."""
    nan = float("nan")
    stream = Stream(length=4, stride=1)
    assert stream.take((1, nan), (2, 1), (3, nan), (4, 2), (5, 5)).missing.tolist() == [0.5, 0.25]
    stream = Stream(length=4, stride=1, interval="10ms", max_gap=2)
    assert stream.take((100, 1), (130, 2), (140, 3)).missing.tolist() == [0.5]


def test_the_offset_of_a_window_is_its_largest() -> None:
    """If it failed, an alert's id would name a record outside its window."""
    stream = Stream(length=3, stride=1, lateness="10ms")
    windows = stream.take((104, 1), (102, 2), (103, 3), (120, 4))
    assert windows.values.ravel().tolist() == [2, 3, 1]
    assert (windows.low.tolist(), windows.high.tolist(), windows.due.tolist()) == ([0], [2], [3])


def test_a_window_of_filled_cells_alone() -> None:
    """If it failed, it would have an offset of no record."""
    stream = Stream(length=2, stride=1, interval="10ms", max_gap=3)
    windows = stream.take((100, 1), (140, 2))
    assert windows.missing.tolist() == [0.5, 1.0, 1.0]
    assert windows.high.tolist() == [0, 1, 1]
