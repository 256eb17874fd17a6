"""Fusion: what voices say, as one number."""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.testing import assert_allclose

from models.detector import Fusion
from models.fusion import fused


def test_voices_are_fused_as_it_is_said() -> None:
    """A member with two voices would outvote one with a single voice, or drown it, against what the bundle says."""
    said, speakers = np.array([[0.2, 0.4, 0.9], [-1.0, 0.3, 0.4]]), [0, 0, 1]
    expected = {
        "mean": [0.5, -0.1],
        "mean_of_members": [0.6, 0.025],
        "root_mean_square": [np.sqrt(1.01 / 3), np.sqrt(0.25 / 3)],
        "max": [0.9, 0.4],
    }
    assert set(expected) == set(get_args(Fusion))
    for how in get_args(Fusion):
        assert_allclose(fused(said, how, speakers), expected[how], atol=1e-15)


def test_a_window_has_the_same_bits_whatever_it_is_fused_with() -> None:
    """If it failed, a backtest would differ from the live run by the size of its batches."""
    said = np.random.default_rng(0).normal(0, 1, (500, 7))
    for how in get_args(Fusion):
        whole = fused(said, how, [0, 0, 1, 2, 2, 2, 3])
        alone = np.concatenate([fused(said[i : i + 1], how, [0, 0, 1, 2, 2, 2, 3]) for i in range(500)])
        assert whole.tobytes() == alone.tobytes()
