"""The detector's steps, each against its words."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from monitor.detector.distance import Distance
from monitor.detector.extreme import Extreme
from monitor.detector.level import Level
from monitor.detector.profile import Profile
from monitor.table import AnyColumn, StreamTable

HOUR = 3_600_000


def one(columns: tuple[AnyColumn, ...]) -> tuple[StreamTable, NDArray[np.int32]]:
    """Return a table with one stream, and its slot."""
    table = StreamTable(columns)
    slot = np.array([table.assign(b"s")], np.int32)
    table.admit(slot.astype(np.intp))
    return table, slot


def test_the_first_distance_is_that_of_the_calibration() -> None:
    """If it failed, a new stream would be measured by nothing."""
    random = np.random.default_rng(0)
    spread = random.normal(size=(5, 5))
    covariance, mean, vector = spread @ spread.T + np.eye(5), random.normal(size=5), random.normal(size=(1, 5))
    step = Distance("d", mean, covariance, 50)
    table, slot = one(step.columns)
    ridge = (1e-6 / 5 + 0.5e-4) * np.trace(covariance)
    d = vector[0] - mean
    expected = math.log(d @ np.linalg.inv(covariance + ridge * np.eye(5)) @ d + 1e-9)
    assert step.step(table, slot, vector)[0][0] == pytest.approx(expected, rel=1e-4)


def test_a_covariance_becomes_the_streams_own() -> None:
    """If it failed, every stream would be measured by the fleet's spread for ever."""
    random = np.random.default_rng(0)
    step = Distance("d", np.zeros(4), np.eye(4), 50)
    table, slot = one(step.columns)
    found = [step.step(table, slot, random.normal(3, 10, (1, 4)))[0][0] for _ in range(3000)]
    assert np.mean(found[:40]) > 4.5  # about 400, ten deviations in four directions
    assert np.mean(np.exp(found[-1000:])) == pytest.approx(4, rel=0.15)


def test_a_factor_learns_what_its_covariance_would() -> None:
    """If it failed, what is kept of a covariance would drift away from it, one step of rank one after the other."""
    random = np.random.default_rng(1)
    mixed, weight = np.linalg.cholesky(np.diag([4.0, 1.0, 1e-3]) + 0.01), 50.0
    step = Distance("d", np.zeros(3), np.eye(3), weight)
    table, slot = one(step.columns)

    def ridge(power: float) -> float:
        return 1e-6 * max(1e-3, power / 3) + 0.5e-4 * power

    mean, power = np.zeros(3), 3.0
    covariance = np.eye(3) * (1 + ridge(power))
    for row in range(4_000):
        vector = random.normal(size=(1, 3)) @ mixed.T + 1
        d = vector[0] - mean
        expected = math.log(d @ np.linalg.solve(covariance, d) + 1e-9)
        assert step.step(table, slot, vector)[0][0] == pytest.approx(expected, abs=1e-3)
        mean = mean + max(1 - 0.5 ** (1 / 3000), 1 / (row + weight + 1)) * d
        turn, left = divmod(row + 1, 8)
        assert step.refreshed(table, slot)[0] == (row == 0 or left == 0)
        if left == 0:
            rate = max(1 - 0.5 ** (8 / 3000), 8 / (row + weight + 1))
            power = (1 - rate) * (power + rate * d @ d)
            d = d + (1 if turn // 3 % 2 == 0 else -1) * math.sqrt(3 * ridge(power)) * np.eye(3)[turn % 3]
            covariance = (1 - rate) * (covariance + rate * np.outer(d, d))


def test_a_level_settles_and_stays() -> None:
    """If it failed, a drift would be learned away."""
    step = Level(1, 50)
    table, slot = one(step.columns)
    random = np.random.default_rng(0)
    values = random.normal(100, 5, (80, 1)).astype(np.float32)
    for row in range(9, 80):
        if not step.settled(table, slot)[0]:
            step.learn(table, slot, values[None, row - 9 : row + 1], 1)
    scale, offset = step.units(table, slot)
    assert_allclose(offset[0], values[:50].mean(), rtol=1e-5)
    assert_allclose(scale[0], values[:50].std(), rtol=1e-5)
    back = step.apply(table, slot, values[None, -10:]) * scale[:, None] + offset[:, None]
    assert_allclose(back[0], values[-10:], rtol=1e-5)


def test_missing_values_have_no_part_in_a_level() -> None:
    """If it failed, a gap would leave a stream without a level."""
    step = Level(1, 50)
    table, slot = one(step.columns)
    values = np.full((1, 10, 1), np.nan, np.float32)
    values[0, ::2, 0] = [1, 2, 3, 4, 5]
    step.learn(table, slot, values, 1)
    assert step.units(table, slot)[1][0, 0] == pytest.approx(3)
    assert np.isfinite(step.apply(table, slot, values)).all()


def test_an_extreme_is_graded_held_for_a_second_window_and_then_known() -> None:
    """If it failed, one value would alarm for ever, or be missed by alerts that want two windows."""
    step = Extreme(1)
    table, slot = one(step.columns)
    warm = np.ones(1, np.bool_)

    def say(value: float) -> float:
        return float(step.step(table, slot, np.full((1, 1, 1), value, np.float32), warm)[0])

    for value in (0.0, 10.0):
        step.step(table, slot, np.full((1, 1, 1), value, np.float32), ~warm)
    assert say(5) == 0
    assert say(10.5) == pytest.approx(0.36 + 0.42 * math.log10(1 + 100 * 0.05), abs=1e-6)
    assert say(10) > 0.36
    assert say(10) == 0
    assert say(10.5) == 0
    assert say(12) > 0.5


def test_a_stream_that_climbs_is_not_alarmed_at_with_every_row() -> None:
    """If it failed, a counter would page for ever."""
    step = Extreme(1)
    table, slot = one(step.columns)
    warm = np.ones(1, np.bool_)
    found = [float(step.step(table, slot, np.full((1, 1, 1), row, np.float32), warm)[0]) for row in range(500)]
    assert max(found[300:]) < 0.36


def test_a_profile_counts_where_the_hour_explains_something() -> None:
    """If it failed, streams without days would be judged by their noise, or days would not be known."""
    random = np.random.default_rng(0)
    for daily in (True, False):
        step = Profile(240, 24.0)
        table, slot = one(step.columns)
        for hour in range(480):
            level = np.array([2.0 * math.sin(hour / 24 * 2 * math.pi) if daily else random.normal()])
            error, counts = step.step(table, slot, level, np.array([hour * HOUR + HOUR // 2]))
        assert bool(counts[0]) is daily
        if daily:
            assert error[0] < -4  # it was expected
            error, _ = step.step(table, slot, np.array([2.0]), np.array([18 * HOUR + HOUR // 2]))
            assert error[0] > 2  # not at this hour


def test_working_days_and_weekends_are_told_apart_once_both_have_come_twice() -> None:
    """If it failed, every weekend of a factory would be an anomaly, or every strange Saturday usual."""
    for weekly in (True, False):
        step = Profile(240, 24.0)
        table, slot = one(step.columns)

        def level(hour: int, *, weekly: bool) -> float:
            saturday = (hour // 24 + 4) % 7 in (0, 6)
            return math.sin(hour / 24 * 2 * math.pi) + (0.0 if saturday and weekly else 2.0)

        errors = []
        for hour in range(24 * 42):
            now = np.array([level(hour, weekly=weekly)])
            errors.append(float(step.step(table, slot, now, np.array([hour * HOUR + HOUR // 2]))[0][0]))
        days = (np.arange(24 * 42) // 24 + 4) % 7
        weekends = np.array(errors)[(np.arange(24 * 42) > 24 * 28) & ((days == 0) | (days == 6))]
        assert weekends.max() < -3
        if weekly:
            assert min(np.array(errors)[(np.arange(24 * 42) < 24 * 14) & (days == 6)]) > -1
