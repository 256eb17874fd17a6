"""Codes of windows, and what comes back of them."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from models.bundle import BundleError
from models.codes import Decoder, Overlap, encode, fewest, loss, single
from models.scaling import Scaling

if TYPE_CHECKING:
    from models.bundle import Bundle
    from models.cells import Cells
    from models.serving import Model


def _covered(starts: np.ndarray[tuple[int], np.dtype[np.int64]], length: int) -> set[int]:
    return {row for start in starts.tolist() for row in range(start, start + length)}


def test_the_fewest_windows_cover_what_all_do() -> None:
    """A recording would come back with holes, or take more codes than it needs."""
    random = np.random.default_rng(3)
    for _ in range(60):
        length = int(random.integers(1, 6))
        starts = np.sort(random.choice(24, int(random.integers(1, 9)), replace=False)).astype(np.int64)
        wanted = _covered(starts, length)
        found = fewest(starts, length)
        assert _covered(starts[found], length) == wanted
        least = next(
            count
            for count in range(1, len(starts) + 1)
            if any(_covered(starts[list(some)], length) == wanted for some in combinations(range(len(starts)), count))
        )
        assert len(found) == least


def test_no_windows_need_no_codes() -> None:
    """A recording of which nothing can be scored would end in a traceback."""
    assert fewest(np.zeros(0, np.int64), 4).tolist() == []


def test_rows_are_the_mean_of_the_windows_that_have_them() -> None:
    """One window's edge would count for more than another one's middle, or a hole would become a number."""
    back = Overlap(7, 1)
    back.add(np.array([0, 2]), np.array([[[1], [2], [3]], [[5], [6], [7]]], np.float32))
    assert back.count.tolist() == [1, 1, 2, 1, 1, 0, 0]
    assert_array_equal(back.mean()[:, 0], np.array([1, 2, 4, 6, 7, np.nan, np.nan], np.float32))


def test_a_loss_counts_present_values_alone() -> None:
    """The printed error would be that of values that nobody measured."""
    scaling = Scaling(method="standard", mean=(10.0, 0.0), offset=(10.0, 0.0), scale=(2.0, 1.0))
    actual = np.array([[12, np.nan], [10, 3]], np.float32)
    rebuilt = np.array([[10, 1], [10, np.nan]], np.float32)
    found = loss(actual, rebuilt, scaling)
    assert (found.error, found.baseline) == (0.5, 0.5)
    assert found.deviations[0] == pytest.approx(np.sqrt(2))
    assert np.isnan(found.deviations[1])


def test_windows_come_back_from_their_codes(model: Model, bundle: Bundle, cells: Cells) -> None:
    """What decode gives back would not be what encode measured the loss of."""
    every = np.arange(len(cells.starts))
    windows = every[fewest(cells.starts, 12)]
    found = encode(model, cells, windows)
    assert found.codes.shape == (30, 4)  # three streams of 120 rows in windows of 12
    assert not np.isnan(found.rebuilt).any()
    back = Overlap(len(cells.values), 2)
    back.add(cells.starts[windows], Decoder(bundle).decode(found.codes))
    assert_allclose(back.mean(), found.rebuilt, rtol=1e-4)
    assert loss(cells.values, found.rebuilt, bundle.manifest.scaling).error < 0.7


def test_a_detector_of_several_members_has_no_code(bundle: Bundle) -> None:
    """The first member's code would be passed off as the detector's."""
    several = bundle.manifest.model_copy(update={"detector": object()})
    with pytest.raises(BundleError, match="needs a bundle of one autoencoder"):
        single(type(bundle)(bundle.path, several, bundle.sha256), "encode")
