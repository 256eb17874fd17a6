"""Chunk sizes, and which of them a number of windows goes through."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from models.chunk import CHUNKS, covers


@given(
    st.dictionaries(st.sampled_from(CHUNKS), st.floats(0.01, 10), min_size=1),
)
def test_covers_take_every_window_in_the_least_time(seconds: dict[int, float]) -> None:
    """Windows would be left out, or a poll with one window more than a chunk holds would take twice its time."""
    found = covers(seconds)
    assert len(found) == max(seconds)
    for count, sizes in enumerate(found):
        assert sum(sizes[:-1]) < count <= sum(sizes) or count == 0 == len(sizes)
        assert sorted(sizes, reverse=True) == list(sizes)
        took = sum(seconds[size] for size in sizes)
        assert all(took <= -(-count // size) * alone * (1 + 1e-9) for size, alone in seconds.items())
