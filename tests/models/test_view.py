"""Views of windows: what they show, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from models.view import LEAST_DEVIATION, Form, View


def windows(count: int = 40, length: int = 64, features: int = 3) -> NDArray[np.float32]:
    """Return windows of noise at different levels."""
    random = np.random.default_rng(2)
    noise = random.normal(size=(count, length, features))
    found: NDArray[np.float32] = (noise + np.array([0, 5, -3])).astype(np.float32)
    return found


def test_a_coarse_view_is_the_means_of_the_last_rows() -> None:
    """If it failed, a member would be asked about other rows than it was trained on."""
    raw = windows()
    seen = View(rows=5, step=4).apply(raw)
    assert_allclose(seen, raw[:, -20:].reshape(40, 5, 4, 3).mean(axis=2), rtol=1e-5, atol=1e-6)


def test_a_centred_view_knows_no_level() -> None:
    """If it failed, a level shift would be taken for another shape."""
    raw = windows()
    view = View(rows=40, form="centred")
    assert_allclose(view.apply(raw).mean(axis=1), 0, atol=1e-5)
    assert_allclose(view.apply(raw + np.float32(7)), view.apply(raw), atol=1e-4)


def test_a_joint_view_has_one_mean_and_one_deviation() -> None:
    """If it failed, features that never move in training would outshout the others."""
    raw = windows()
    seen = View(rows=40, form="joint").apply(raw)
    last = raw[:, -40:].astype(np.float64)
    mean, deviation = last.mean(axis=(1, 2), keepdims=True), last.std(axis=(1, 2), keepdims=True)
    assert_allclose(seen, (last - mean) / (deviation + LEAST_DEVIATION), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("form", ["level", "centred", "joint"])
def test_the_way_back_leads_back(form: Form) -> None:
    """If it failed, an alert would show expected values in no unit at all."""
    raw = windows()
    view = View(rows=30, form=form)
    assert_allclose(view.restore(raw, view.apply(raw)), raw[:, -30:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["level", "centred", "joint"])
def test_a_view_does_not_depend_on_the_others_in_the_call(form: Form) -> None:
    """If it failed, a score would depend on how many records a poll returned."""
    raw = windows()
    view = View(rows=16, step=4, form=form)
    whole = view.apply(raw)
    for row in range(len(raw)):
        assert_array_equal(view.apply(raw[row : row + 1])[0], whole[row])


def test_a_window_that_is_too_short_is_refused() -> None:
    """If it failed, a member would see rows that are not there."""
    with pytest.raises(ValueError, match="needs windows of as many"):
        View(rows=16, step=4).apply(windows(length=63))
