"""Size of the next poll by what the last ones took."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from monitor.kafka.pace import SECONDS, Pace

LIMIT = 30_000


def test_fast_work_soon_has_the_largest_polls() -> None:
    """If it failed, a lag would be worked off in small transactions, at half the speed."""
    pace = Pace(LIMIT)
    sizes = []
    for _ in range(5):
        sizes.append(pace.most)
        pace.worked(pace.most, pace.most * 7e-6)
    assert sizes == sorted(sizes)
    assert sizes[0] < LIMIT
    assert sizes[-1] == LIMIT


def test_slow_work_has_small_polls_at_once() -> None:
    """If it failed, a slow model would keep signals and the watchdog waiting, poll after poll."""
    pace = Pace(LIMIT)
    for _ in range(5):
        pace.worked(pace.most, pace.most * 7e-6)
    pace.worked(LIMIT, 30.0)
    assert pace.most * 30.0 / LIMIT <= SECONDS
    pace.worked(16, 100.0)  # the machine stood still: that is not the records' fault, and costs little
    assert pace.most >= 100


def test_few_records_say_nothing_about_many() -> None:
    """If it failed, a quiet night of small polls would make the first large one of the morning small, or too large."""
    pace = Pace(LIMIT)
    before = pace.most
    for _ in range(100):
        pace.worked(3, 0.01)
    assert pace.most == before


def test_what_the_windows_of_a_poll_would_take_is_a_limit_of_its_own() -> None:
    """If it failed, many streams whose first windows come together could take all memory, or a minute."""
    pace = Pace(LIMIT)
    pace.cap(2_500)
    for _ in range(5):
        pace.worked(pace.most, pace.most * 7e-6)
    assert pace.most == 2_500
    pace.cap(1_000_000)
    pace.worked(2_500, 0.001)
    assert pace.most == 2_500


@given(st.integers(1, 1_000_000), st.lists(st.tuples(st.integers(0, 1_000_000), st.floats(0, 1e6))))
def test_limit_is_kept(limit: int, polls: list[tuple[int, float]]) -> None:
    """If it failed, a poll could bring more than `source.max_poll_records`, or ask for none and stand still."""
    pace = Pace(limit)
    for records, seconds in polls:
        pace.worked(records, seconds)
        assert 1 <= pace.most <= limit
