"""Codes of windows that nobody recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from models.bundle import BundleError
from models.sampling import between, drawn, require_prior

if TYPE_CHECKING:
    from models.bundle import Bundle


def test_draws_are_those_of_a_standard_normal_and_of_their_seed() -> None:
    """Windows would be drawn from where the decoder never learned anything, or differ from run to run."""
    codes = drawn(4_000, 2, 7)
    assert abs(codes.mean()) < 0.05
    assert abs(codes.std() - 1) < 0.05
    assert_array_equal(codes[:10], drawn(10, 2, 7))
    assert (codes != drawn(4_000, 2, 8)).any()


def test_the_way_between_two_codes_has_both_ends() -> None:
    """The first and the last window would not be those that were asked for."""
    first, last = np.array([1, -3], np.float32), np.array([0.1, 5], np.float32)
    found = between(first, last, 5)
    assert_array_equal(found[[0, -1]], [first, last])
    assert np.allclose(np.diff(found, axis=0), (last - first) / 4, atol=1e-6)


def test_a_kind_without_prior_is_refused(bundle: Bundle) -> None:
    """Decoded noise would be passed off as windows of the recording."""
    with pytest.raises(BundleError, match=r"of the kind lstm, .* sample needs the kind vae$"):
        require_prior(bundle)
