"""The figure of set `attribution`."""

from __future__ import annotations

import numpy as np
import pytest

from tests.quality.attribution import hit_rate


def test_a_hit_rate_is_the_share_of_guilty_features_among_those_named_first() -> None:
    """If it failed, attribution would be praised or blamed for what it did not say."""
    found = np.array([[5.0, 4, 3, 2, 1], [1.0, 2, 3, 4, 5]])
    assert hit_rate(found, [0, 1], 1.0) == pytest.approx(0.5)  # both, none
    assert hit_rate(found, [0, 2], 1.0) == pytest.approx(0.25)  # one of two, none
    assert hit_rate(found, [0, 2], 1.5) == pytest.approx(0.75)  # three may be named: both, one
