"""Scaling."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from models.scaling import fit, measure

ROWS = np.array([[1, 5, np.nan], [3, 5, 10], [5, 5, np.nan], [100, 100, 100]], np.float32)
USED = np.array([True, True, True, False])


def test_figures_are_those_of_numpy() -> None:
    """Networks would see values that are not what the bundle says."""
    spread = measure(ROWS, USED)
    assert spread.count == (3, 3, 1)
    assert_allclose(spread.mean, np.nanmean(ROWS[:3], axis=0))
    assert_allclose(spread.deviation, np.nanstd(ROWS[:3], axis=0))
    assert (spread.least, spread.greatest) == ((1, 5, 10), (5, 5, 10))


def test_many_rows_are_measured_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording longer than a block would be measured wrongly."""
    values = np.random.default_rng(0).normal(1e6, 1, (1000, 2)).astype(np.float32)
    used = np.arange(1000) % 3 > 0
    used[70:150] = False
    monkeypatch.setattr("models.scaling._ROWS", 70)
    assert_allclose(measure(values, used).deviation, values[used].astype(float).std(axis=0))


def test_standard_scaling_keeps_missing_values() -> None:
    """A missing value would become a number before the loss could leave it out."""
    scaling = fit(measure(ROWS, USED), "standard")
    scaled = scaling.apply(ROWS[:3])
    assert_allclose(scaled[:, 0], np.array([-1, 0, 1]) * np.sqrt(1.5), rtol=1e-6)
    assert np.isnan(scaled[[0, 2], 2]).all()
    assert_allclose(scaling.missing(), 0, atol=1e-6)


def test_minmax_puts_training_rows_between_0_and_1() -> None:
    """Binary cross-entropy would get values that are no probabilities."""
    scaling = fit(measure(ROWS, USED), "minmax")
    scaled = scaling.apply(ROWS[:3])
    assert_allclose([np.nanmin(scaled), np.nanmax(scaled)], [0, 1])
    assert_allclose(scaling.missing()[0], 0.5)


def test_a_constant_feature_is_scaled_by_its_size() -> None:
    """A feature that never changed would divide by 0, or a change of it would drown or flood all others."""
    constant = np.array([[250, 0, 1e-30], [250, 0, 1e-30]], np.float32)
    scaling = fit(measure(constant, np.ones(2, bool)), "standard")
    assert_allclose(scaling.scale, [2.5, 1, 1e-32], rtol=1e-6)
    assert np.isfinite(scaling.apply(constant)).all()
    assert_allclose(scaling.apply(np.array([[252.5, 1, 0]], np.float32))[0, :2], [1, 1])


def test_no_scaling_leaves_values_alone() -> None:
    """Data that come scaled would be scaled again."""
    assert_allclose(fit(measure(ROWS, USED), "none").apply(ROWS), ROWS)


def test_a_feature_without_values_is_named() -> None:
    """A sensor that was never recorded would train a network on nothing."""
    rows = np.array([[1, np.nan], [2, np.nan]], np.float32)
    assert measure(rows, np.ones(2, bool)).empty() == [1]
