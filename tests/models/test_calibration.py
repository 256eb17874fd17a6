"""Calibration figures."""

from __future__ import annotations

from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from numpy.testing import assert_allclose

from models.calibration import LEVELS, calibrate, rates, residuals, table


def test_figures_are_those_of_numpy() -> None:
    """Lines would begin at another height than the held-out windows say."""
    scores = np.random.default_rng(0).gamma(2, 0.1, 1000).astype(np.float32)
    made = calibrate(scores, 1e9, 3, 400.0, 24.0)
    logs = np.log(scores.astype(np.float64))
    assert (made.count, made.streams, made.windows_per_stream, made.windows_per_day) == (1000, 3, 400.0, 24.0)
    assert_allclose([made.log_mean, made.log_variance], [logs.mean(), logs.var()])
    entries = np.array(made.quantiles)
    assert_allclose(entries[:, 1], np.quantile(scores.astype(np.float64), entries[:, 0]))


def test_a_table_is_what_was_seen_as_far_as_independent_windows_go() -> None:
    """Three days of overlapping windows would set a line in the midst of the fourth day's fluctuation."""
    scores = np.exp(np.random.default_rng(1).uniform(-3, -1, 1000))  # a tail that ends: what was seen is too low
    entries = dict(table(scores, 30))
    deviation = np.log(scores).std()
    for q, value in entries.items():
        if q <= 0.95:
            assert value == np.quantile(scores, q)
        else:
            assert_allclose(np.log(value), np.log(scores).mean() + NormalDist().inv_cdf(q) * deviation)


@pytest.mark.parametrize("independent", [0.5, 4, 40, 400, 4000])
@pytest.mark.parametrize("count", [1, 2, 75, 4000])
def test_a_table_rises(count: int, independent: float) -> None:
    """A line for fewer alerts would lie below a line for more."""
    for scores in (np.random.default_rng(2).pareto(1, count) + 1e-12, np.full(count, 1e-12)):
        quantiles, values = zip(*table(scores, independent), strict=True)
        assert list(quantiles) == sorted(set(LEVELS))
        assert all(earlier <= later for earlier, later in pairwise(values))
        assert np.isfinite(values).all()
        assert min(values) > 0


def test_a_heavy_tail_that_was_seen_is_kept() -> None:
    """Scores that were seen on normal windows would raise alerts."""
    scores = np.concatenate([np.full(990, 0.1), np.full(10, 50.0)]) * np.linspace(0.9, 1.1, 1000)
    assert dict(table(scores, 5))[0.998] >= np.quantile(scores, 0.998)


def test_scores_of_zero_stay_finite() -> None:
    """A perfect reconstruction would make the line's prior infinite."""
    made = calibrate(np.zeros(5, np.float32), 5, 1, 5.0, 1.0)
    assert_allclose(made.log_mean, np.log(1e-12))
    assert made.log_variance > 0


def test_residuals_are_in_raw_units_and_skip_missing_values() -> None:
    """The bounds in an alert would be too wide or too narrow, or not a number."""
    actual = np.zeros((10, 4, 3), np.float32)
    actual[:, :, 0] = np.arange(40).reshape(10, 4) - 20
    actual[0, 0, 0] = np.nan
    actual[:, :, 2] = np.nan
    first, second, third = residuals(("a", "b", "c"), actual, np.zeros_like(actual))
    assert first.feature == "a"
    assert dict(first.quantiles)[0.99] == pytest.approx(np.quantile(np.abs(np.arange(1, 40) - 20), 0.99))
    assert dict(second.quantiles)[0.99] == 0
    assert dict(third.quantiles)[0.99] == 0


def test_rates_are_medians_over_streams() -> None:
    """The budget of alerts a day would be shared among another number of windows than there are."""
    stream = np.repeat([0, 1, 2], [25, 49, 4]).astype(np.int32)
    hours = np.concatenate([np.arange(25), np.arange(49) / 2, np.arange(4)])
    end = (hours * 3_600_000).astype(np.int64)
    assert rates(stream, end, np.full(78, 3_600_000)) == (25, 24)


def test_a_stream_with_one_window_has_a_rate() -> None:
    """Recordings of one window a stream, such as heartbeats, would divide by 0."""
    assert rates(np.arange(3, dtype=np.int32), np.zeros(3, np.int64), np.full(3, 864_000)) == (1, 100)
    assert rates(np.arange(3, dtype=np.int32), np.zeros(3, np.int64), np.zeros(3, np.int64)) == (1, 1)
