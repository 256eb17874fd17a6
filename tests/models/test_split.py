"""Training, validation and calibration parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bundle import WindowShape
from models.cells import Cells, TrainingError
from models.split import BY_TIME, Parts, split


def recording(sizes: list[int], length: int, stride: int = 1, labels: list[int] | None = None) -> Cells:
    """Return streams of so many rows each, one feature."""
    total = sum(sizes)
    begins = np.cumsum([0, *sizes[:-1]])
    starts = [np.arange(begin, begin + size - length + 1, stride) for begin, size in zip(begins, sizes, strict=True)]
    label = np.zeros(total, bool)
    label[[row for row in labels or [] if row < total]] = True
    stream = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    rows = np.arange(total, dtype=np.int64)
    return Cells(np.ones((total, 1), np.float32), stream, rows, np.concatenate(starts).astype(np.int64), label)


def rows_of(cells: Cells, windows: np.ndarray, length: int) -> set[int]:
    """Return the rows that windows are made of."""
    return set((cells.starts[windows, None] + np.arange(length)).reshape(-1).tolist())


@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=8),
    st.integers(1, 8),
    st.integers(1, 3),
    st.lists(st.integers(0, 700), max_size=3),
    st.integers(0, 3),
)
def test_the_rule(sizes: list[int], length: int, stride: int, labels: list[int], seed: int) -> None:
    """Held-out windows would be known to the network, or a stream's future would be trained on."""
    window, cells = WindowShape(length=length, stride=stride), recording(sizes, length, stride, labels)
    try:
        parts = split(cells, window, 0.15, 0.15, seed)
    except TrainingError:
        return
    every = np.concatenate([parts.training, parts.validation, parts.calibration])
    assert len(set(every.tolist())) == len(every)
    usable = np.flatnonzero(~cells.touched(cells.label, length))
    assert set(every.tolist()) <= set(usable.tolist())
    held = np.concatenate([parts.validation, parts.calibration])
    if parts.shared == 0:
        assert not rows_of(cells, parts.training, length) & rows_of(cells, held, length)
    owner = cells.stream[cells.starts]
    for stream in range(len(sizes)):
        own = [part[owner[part] == stream] for part in (parts.training, parts.validation, parts.calibration)]
        count = int((owner[usable] == stream).sum())
        if count >= BY_TIME:
            assert min(len(part) for part in own) > 0
            assert own[0].max() < own[1].min()
            assert own[1].max() < own[2].min()
            assert 0.1 * count <= len(own[2]) <= 0.2 * count
        else:
            assert sorted(len(part) for part in own) == [0, 0, count]


def parts_of(cells: Cells, length: int, seed: int = 0) -> Parts:
    """Split with the default shares."""
    return split(cells, WindowShape(length=length), 0.15, 0.15, seed)


def test_the_seed_decides_which_short_streams_are_held_out() -> None:
    """The split would not be drawn, or a training could not be repeated."""
    cells = recording([10] * 100, 10)
    first, again, other = (parts_of(cells, 10, seed) for seed in (0, 0, 1))
    assert [len(part) for part in (first.training, first.validation, first.calibration)] == [70, 15, 15]
    assert np.array_equal(first.calibration, again.calibration)
    assert not np.array_equal(first.calibration, other.calibration)


def test_training_windows_that_reach_into_held_out_rows_are_left_out() -> None:
    """The calibration would be measured on rows that the network was fitted to."""
    cells = recording([520], 24)
    parts = parts_of(cells, 24)
    assert (len(parts.training), len(parts.validation), len(parts.calibration), parts.shared) == (324, 75, 75, 0)


def test_a_short_recording_shares_rows_and_says_so() -> None:
    """A recording hardly longer than a window could not be trained on, or nobody would know that rows are shared."""
    parts = parts_of(recording([60], 40), 40)
    assert (len(parts.training), parts.shared) == (15, 15)


def test_windows_with_too_much_missing_are_in_no_part() -> None:
    """The network would be fitted to windows that the monitor never scores."""
    cells = recording([100], 10)
    cells.values[40:46] = np.nan
    parts = parts_of(cells, 10)
    every = np.concatenate([parts.training, parts.validation, parts.calibration])
    missing = np.isnan(cells.gather(every, 10)).mean(axis=(1, 2))
    assert missing.max() == 0.5


@pytest.mark.parametrize("sizes", [[28], [10], [12, 12], [28, 12]])
def test_too_few_windows_are_one_line(sizes: list[int]) -> None:
    """A recording of a few minutes would end in a traceback."""
    with pytest.raises(TrainingError, match="too few: a stream needs 20, or 3 streams") as caught:
        parts_of(recording(sizes, 10), 10)
    assert "\n" not in str(caught.value)
