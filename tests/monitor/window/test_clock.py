"""The clock of a stream: the rules of late, repeated and held records, each by its example."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from monitor.duration import Duration
from monitor.record import NEVER, Records, RecordSettings
from monitor.table import StreamTable
from monitor.window import Windowed, Windower, WindowSettings
from monitor.window.clock import CLOCK_RESET_RUN, REMEMBERED
from tests.monitor.batches import live, records

STEP = 1_000


class Stream:
    """One stream, fed by times; windows are single rows."""

    def __init__(self, lateness: str = "0s", interval: str | None = None) -> None:
        """Set up with windows of these settings."""
        self.windower = Windower(
            WindowSettings(
                length=1, stride=1, lateness=Duration(lateness), interval=Duration(interval) if interval else None
            ),
            RecordSettings(max_step=Duration(f"{STEP}ms")),
            1,
        )
        self.table = live(StreamTable(self.windower.columns), 2)
        self.offset = 0
        self.late: list[int] = []
        self.repeated: list[int] = []
        self.resets = 0

    def take(self, *times: int, slot: int = 0) -> list[int]:
        """Take records as one batch; return the ends of the windows that it makes due."""
        out = self._process(records([(slot, time, float(time)) for time in times], self.offset))
        self.offset += len(times)
        return out.windows.end.tolist()  # type: ignore[no-any-return]  # a list of int

    def one_by_one(self, *times: int) -> list[int]:
        """Take each record as a batch."""
        return [end for time in times for end in self.take(time)]

    def _process(self, batch: Records) -> Windowed:
        """Process and count."""
        out = self.windower.process(self.table, batch)
        self.late += out.late
        self.repeated += out.judged.repeated
        self.resets += int(out.judged.arrivals.reset.sum())
        return out

    @property
    def pending(self) -> int:
        """How many records wait."""
        return self.windower.pending(self.table)


def test_times_that_rise_are_used() -> None:
    """If it failed, the plainest stream would lose records."""
    stream = Stream()
    assert stream.take(10, 20, 30) == [10, 20, 30]
    assert stream.take(31, 1_031) == [31, 1_031]
    assert (stream.late, stream.repeated, stream.pending) == ([], [], 0)


def test_late_and_repeated() -> None:
    """If it failed, rows would be out of order, or a record that was sent twice would count twice."""
    stream = Stream()
    assert stream.take(10, 20, 20, 15, 10, 30) == [10, 20, 30]
    assert stream.repeated == [2, 4]
    assert stream.late == [3]


def test_the_first_of_two_repeats_stays() -> None:
    """If it failed, a record that is sent again with another value would change the past."""
    stream = Stream()
    batch = records([(0, 10, 1.0), (0, 10, 2.0)])
    windows = stream._process(batch).windows
    assert windows.values[:, 0, 0].tolist() == [1.0]
    assert stream.repeated == [1]


def test_a_jump_ahead_is_held_until_it_is_confirmed() -> None:
    """If it failed, one record with a wrong year would make all that follow late."""
    stream = Stream()
    assert stream.take(0, 1_001) == [0]
    assert stream.pending == 1
    assert stream.take(1_001 + STEP) == [1_001, 2_001]
    assert (stream.late, stream.pending) == ([], 0)


@pytest.mark.parametrize("following", [500, 1_000, 1_000_000])
def test_a_jump_ahead_that_is_not_confirmed_is_late(following: int) -> None:
    """If it failed, a record with a wrong year would be in a window."""
    stream = Stream()
    stream.take(0, 5_000)
    found = stream.take(following)
    assert stream.late == [1]
    assert found == ([following] if following <= STEP else [])
    assert stream.pending == (following > STEP)


def test_a_repeat_of_a_held_record_confirms_nothing() -> None:
    """If it failed, a producer that sends each record twice would confirm its own wrong clock."""
    stream = Stream()
    assert stream.take(0, 5_000, 5_000) == [0]
    assert (stream.repeated, stream.pending) == ([2], 1)
    assert stream.take(5_001) == [5_000, 5_001]


def test_the_first_record_is_never_held() -> None:
    """If it failed, a new stream would lose its first record."""
    assert Stream().take(10**12) == [10**12]


def test_the_clock_is_set_back() -> None:
    """If it failed, a stream whose clock was once wrong would be late for ever."""
    stream = Stream()
    stream.take(10**6)
    back = list(range(100, 100 + CLOCK_RESET_RUN * 10, 10))
    assert stream.take(*back[:-1]) == []
    assert stream.take(back[-1], 500) == [back[-1], 500]
    assert stream.late == list(range(1, CLOCK_RESET_RUN))
    assert stream.resets == 1


@pytest.mark.parametrize("broken", ["equal", "lower", "used"])
def test_only_late_records_that_rise_in_a_row_set_it_back(broken: str) -> None:
    """If it failed, stragglers would throw a stream into the past."""
    stream = Stream()
    stream.take(10**6)
    stream.one_by_one(*range(100, 170, 10))
    stream.take({"equal": 160, "lower": 5, "used": 10**6 + 1}[broken])
    stream.one_by_one(*range(170, 230, 10))
    assert stream.resets == 0
    stream.take(230, 240)
    assert stream.resets == 1


def test_a_batch_that_is_sent_twice_sets_no_clock_back() -> None:
    """If it failed, a producer's retry would restart the window."""
    stream = Stream()
    times = list(range(0, REMEMBERED * 10, 10))
    stream.take(*times)
    assert stream.take(*times) == []
    assert len(stream.repeated) == REMEMBERED
    assert (stream.late, stream.resets) == ([], 0)


def test_after_the_clock_is_set_back_old_times_are_new() -> None:
    """If it failed, what a stream sends again after its clock was set right would be lost as repeated."""
    stream = Stream()
    stream.take(*range(1_000, 1_300, 10), 2_000)
    stream.take(*range(100, 180, 10))
    assert stream.resets == 1
    assert stream.take(1_000, 1_010) == [1_000, 1_010]


def test_lateness_puts_records_in_order() -> None:
    """If it failed, stragglers within the lateness would be late, or rows out of order."""
    stream = Stream(lateness="100ms")
    assert stream.take(1_000, 1_050, 1_020) == []
    assert stream.pending == 3
    assert stream.take(1_120) == [1_000, 1_020]
    assert stream.take(1_010, 1_020, 1_050, 1_020) == []
    assert stream.late == [4]  # below the last final record's time
    assert stream.repeated == [5, 6, 7]
    assert stream.take(1_030, 1_220) == [1_030, 1_050, 1_120]


def test_a_repeat_of_the_last_final_record_after_many_others() -> None:
    """If it failed, a record that is sent twice would be used twice where many wait."""
    stream = Stream(lateness="500ms")
    stream.take(1_000, *range(1_401, 1_501))
    assert stream.take(1_000) == []
    assert stream.repeated == [101]


def test_cells_close_by_the_horizon() -> None:
    """If it failed, a record of a closed cell would be used, or one of an open cell lost."""
    stream = Stream(interval="100ms")
    assert stream.take(1_010, 1_090) == []
    assert stream.take(1_100) == [1_100]
    assert stream.take(1_099, 1_101) == []
    assert stream.late == [3]
    assert stream.take(1_300) == [1_200]
    assert stream.take(1_250) == []  # an empty cell that is over is closed too
    assert stream.late == [3, 6]


def test_what_waits_when_the_clock_is_set_back_is_late() -> None:
    """If it failed, records of the old clock would be among those of the new one, or in no class."""
    stream = Stream(interval="100ms")
    stream.take(100_010, 100_020)
    stream.take(*range(1_000, 1_080, 10))
    assert sorted(stream.late) == list(range(9))
    assert (stream.resets, stream.pending) == (1, 1)


@pytest.mark.parametrize("seed", range(4))
def test_sensors_of_one_time_do_not_repeat_each_other(seed: int) -> None:
    """If it failed, the long layout would keep one sensor of each time."""
    windower = Windower(WindowSettings(length=1, stride=1, interval=Duration("10ms")), RecordSettings(layout="long"), 3)
    table = live(StreamTable(windower.columns), 1)
    order = np.random.default_rng(seed).permutation(3)
    values = np.full((5, 3), np.nan, np.float32)
    values[np.arange(3), order] = order
    values[3, order[0]] = 99
    values[4, 0] = 0

    def batch(part: slice) -> Records:
        times: NDArray[np.int64] = np.array([100, 100, 100, 100, 110])
        return Records(np.zeros(5, np.int32)[part], times[part], values[part], np.arange(5)[part])

    out = windower.process(table, batch(slice(0, 4)))
    assert out.judged.repeated == [3]
    windows = windower.process(table, batch(slice(4, 5))).windows
    assert windows.values.tolist() == [[[0, 1, 2]]]
    assert table["held_time"].tolist()[0] == NEVER
