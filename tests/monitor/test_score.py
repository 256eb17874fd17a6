"""From windows of several partitions to scores, and back to features."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from monitor.score import ModelScores, score, shares, worst_rows
from monitor.window import Windows
from tests.monitor.batches import windows


@dataclass
class Found:
    """Scores of a model."""

    score: NDArray[np.float32]
    errors: NDArray[np.float32]
    reconstruction: NDArray[np.float32]


class First:
    """Scores a window by its first value, NaN for 4 and infinity for 8, and counts the calls."""

    def __init__(self) -> None:
        """Begin without calls."""
        self.calls: list[int] = []

    def score(self, found: NDArray[np.float32]) -> ModelScores:
        """Score windows."""
        self.calls.append(len(found))
        value = found[:, 0, 0].copy()
        value[value == 4] = np.nan
        value[value == 8] = np.inf
        return Found(value, found[:, 0], found + 1)


def test_one_pass_for_all_partitions() -> None:
    """If it failed, scores would go to another partition's windows, or each would cost a call of the model."""
    model = First()
    parts = [windows([0, 1], [10, 10]), Windows.none(2, 2), windows([0, 0, 1], [10, 20, 10])]
    found = score(model, parts, 0.5)
    assert model.calls == [5]
    assert [part.scored.tolist() for part in found] == [[True, False], [], [True, False, False]]
    assert_array_equal(found[0].score, [0, np.nan])
    assert_array_equal(found[2].score, [0, np.nan, np.nan])
    assert found[0].score.dtype == np.float64
    assert_array_equal(found[2].reconstruction[0], parts[2].values[0] + 1)
    assert_array_equal(found[2].errors[1], [0, 0])


def test_many_windows_of_each_partition_are_not_copied_together() -> None:
    """If it failed, a long poll would hold its windows twice, or scores would depend on how many there are."""
    model = First()
    parts = [windows(list(range(n)), [10] * n) for n in (300, 256)]
    found = score(model, parts, 0.5)
    assert model.calls == [300, 256]
    few = [score(First(), [part], 0.5)[0] for part in parts]
    for one, other in zip(found, few, strict=True):
        assert_array_equal(one.score, other.score)
        assert_array_equal(one.reconstruction, other.reconstruction)


def test_windows_with_too_much_missing_are_not_scored() -> None:
    """If it failed, a window that is nearly empty could open an alert."""
    model = First()
    part = replace(windows([0, 1, 2], [10, 10, 10]), missing=np.array([0.5, 0.51, 1.0]))
    (found,) = score(model, [part], 0.5)
    assert found.scored.tolist() == [True, False, False]
    assert np.isnan(found.score[1:]).all()
    assert model.calls == [1]
    (found,) = score(model, [replace(part, missing=np.ones(3))], 0.5)
    assert not found.scored.any()
    assert model.calls == [1]
    assert score(model, [], 0.5) == []


def test_scores_of_a_window_do_not_depend_on_its_company() -> None:
    """If it failed, replay would differ from production."""
    part = windows([0, 1, 2, 3], [10, 10, 10, 10])
    together = score(First(), [part], 0.5)[0]
    for i in range(4):
        one = Windows(*(getattr(part, name)[i : i + 1] for name in Windows.__slots__))
        assert_array_equal(score(First(), [one], 0.5)[0].score, together.score[i : i + 1])


def test_worst_rows() -> None:
    """If it failed, an alert would show a value that was not the strange one."""
    nan = np.nan
    values = np.array([[[1, nan], [5, nan], [2, nan]], [[1, 7], [nan, 0], [3, 1]]], np.float32)
    expected = np.array([[[1, 1], [1, 2], [9, 3]], [[1, 7], [0, 0], [3, 4]]], np.float32)
    actual, wanted = worst_rows(values, expected)
    assert_array_equal(actual, [[2, nan], [1, 1]])
    assert_array_equal(wanted, [[9, 3], [1, 4]])


def test_shares() -> None:
    """If it failed, the shares of an alert would not sum to 1."""
    found = shares(np.array([[3, 1], [0, 0], [3e38, 3e38], [np.inf, 1], [np.nan, 1]], np.float32))
    assert_array_equal(found, np.array([[0.75, 0.25], *[[0.5, 0.5]] * 4], np.float32))
