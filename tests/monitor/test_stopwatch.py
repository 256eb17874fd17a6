"""Where the time of a poll's work goes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from monitor import stopwatch
from monitor.stopwatch import PARTS, Stopwatch

WINDOWS = np.zeros((1, 1, 1), np.float32)


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        """Begin somewhere."""
        self.now = 1_000.0

    def perf_counter(self) -> float:
        """Return the moment."""
        return self.now


class Slow:
    """A model that takes a second, and fails if it is told to."""

    def __init__(self, clock: Clock, *, fails: bool = False) -> None:
        """Take the time of `clock`."""
        self.clock, self.fails = clock, fails

    def score(self, windows: Any) -> Any:
        """Take a second."""
        self.clock.now += 1
        if self.fails:
            raise ZeroDivisionError
        return windows


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that stopwatches look at."""
    made = Clock()
    monkeypatch.setattr(stopwatch, "time", made)
    return made


def test_each_part_gets_its_own_time(clock: Clock) -> None:
    """If it failed, an operator would look for a slow step in the wrong place."""
    watch = Stopwatch({"one": Slow(clock), "other": Slow(clock)})
    for _ in range(2):  # the poll before leaves nothing
        watch.start()
        clock.now += 10
        watch.next()
        clock.now += 20
        for model in watch.models.values():
            model.score(WINDOWS)
            clock.now += 15
        watch.next()
        clock.now += 40
        found = watch.stop()
        assert found == {"decode": 10.0, "windows": 20.0, "score": 2.0, "alerts": 30.0, "encode": 40.0}
        assert tuple(found) == PARTS
        assert watch.scoring == found["score"]


def test_a_poll_without_windows_has_no_time_in_the_model(clock: Clock) -> None:
    """If it failed, the time of a poll that ended in an error would be counted in the next one."""
    watch = Stopwatch({"": Slow(clock, fails=True)})
    watch.start()
    with pytest.raises(ZeroDivisionError):
        watch.models[""].score(WINDOWS)
    assert watch.scoring == 1.0
    watch.start()
    watch.next()
    clock.now += 5
    watch.next()
    assert watch.stop() == {"decode": 0.0, "windows": 5.0, "score": 0.0, "alerts": 0.0, "encode": 0.0}
