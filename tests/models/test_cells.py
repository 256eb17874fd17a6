"""What is wrong with cells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from models.cells import Cells, TrainingError, check, scorable
from tests.models.waves import FEATURES, WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable


def test_windows_are_gathered_by_index(cells: Cells) -> None:
    """A window would have other rows than its start says."""
    windows = cells.gather(np.array([0, 110]), 12)
    assert_array_equal(windows[0], cells.values[:12])
    assert_array_equal(windows[1], cells.values[cells.starts[110] : cells.starts[110] + 12])


def test_touched_windows_are_those_with_such_a_row(cells: Cells) -> None:
    """A labelled row would be trained on."""
    rows = np.zeros(len(cells.values), bool)
    rows[20] = True
    assert_array_equal(np.flatnonzero(cells.touched(rows, 12)), np.arange(9, 21))


def test_covered_rows_are_those_of_the_windows(cells: Cells) -> None:
    """Scaling would be measured on rows that are held out, or leave some of its own out."""
    covered = np.flatnonzero(cells.covered(np.array([0, 3, 108, 109]), 12))
    assert_array_equal(covered, [*range(15), *range(108, 132)])


def test_a_window_without_any_value_is_not_scorable() -> None:
    """With max_missing 1, a window of nothing would be calibrated on with a score of 0."""
    cells = Cells(
        np.full((4, 1), np.nan, np.float32), np.zeros(4, np.int32), np.arange(4), np.arange(3), np.zeros(4, bool)
    )
    cells.values[3] = 1
    assert_array_equal(
        scorable(cells, WINDOW.model_copy(update={"length": 2, "max_missing": 1.0}), 1), [False, False, True]
    )


def _infinite(cells: Cells) -> np.ndarray:
    values = cells.values.copy()
    values[5, 1] = np.inf
    return values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {"values": c.values[:, :1]}, r"shape \(360, 1\), \(rows, 2\) is needed"),
        (lambda c: {"values": c.values[:, 0]}, r"shape \(360,\)"),
        (lambda c: {"label": c.label[:-1]}, r"label has the shape \(359,\)"),
        (lambda c: {"starts": c.starts[:0]}, "360 rows make no window of 12 rows"),
        (lambda _: {"starts": np.array([115])}, "leaves its stream"),
        (lambda _: {"starts": np.array([355])}, "leaves its stream"),
        (lambda c: {"starts": c.starts[::-1]}, "must come stream after stream"),
        (lambda c: {"values": _infinite(c)}, "'flow' has infinite values"),
    ],
)
def test_wrong_cells_are_one_line(cells: Cells, change: Callable[[Cells], dict[str, Any]], message: str) -> None:
    """A mistake in the recording would end in a traceback of NumPy or TensorFlow, or train on other rows."""
    with pytest.raises(TrainingError, match=message) as caught:
        check(replace(cells, **change(cells)), WINDOW, FEATURES)
    assert "\n" not in str(caught.value)
