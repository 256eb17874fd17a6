"""Rows of varying number for each slot."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.ragged import Ragged, ranges


def test_ranges() -> None:
    """If it failed, rows of one slot would be read for another."""
    assert ranges(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]
    assert ranges(np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == []


@pytest.mark.parametrize("seed", range(5))
def test_against_lists(seed: int) -> None:
    """If it failed, records that wait would be lost, doubled or given to another stream when the arena moves them."""
    random = np.random.default_rng(seed)
    ragged = Ragged([("x", "<i8")])
    lists: dict[int, list[int]] = {}
    following = 0
    for _ in range(300):
        slots = random.choice(60, random.integers(1, 20), replace=False).astype(np.intp)
        if random.random() < 0.3:
            ragged.clear(slots)
            lists |= {slot: [] for slot in slots.tolist()}
        else:
            counts = random.integers(0, 12, len(slots))
            rows = np.zeros(int(counts.sum()), [("x", "<i8")])
            rows["x"] = np.arange(following, following + len(rows))
            following += len(rows)
            ragged.append(slots, counts, rows)
            at = 0
            for slot, count in zip(slots.tolist(), counts.tolist(), strict=True):
                lists.setdefault(slot, []).extend(rows["x"][at : at + count].tolist())
                at += count
        asked = random.choice(80, 30, replace=False).astype(np.intp)
        found, counts = ragged.rows(asked)
        assert found["x"].tolist() == [x for slot in asked.tolist() for x in lists.get(slot, [])]
        assert counts.tolist() == [len(lists.get(slot, [])) for slot in asked.tolist()]
        assert ragged.count(asked).tolist() == counts.tolist()
        assert ragged.total == sum(map(len, lists.values()))


def test_the_arena_does_not_grow_for_ever() -> None:
    """If it failed, a stream that keeps one record waiting for months would fill the memory."""
    ragged = Ragged([("x", "<i8")])
    slots = np.arange(10)
    for _ in range(2_000):
        ragged.append(slots, np.full(10, 3), np.zeros(30, [("x", "<i8")]))
        ragged.clear(slots[:9])
        if ragged.total > 500:
            ragged.clear(slots)
    assert len(ragged._arena) < 10_000
