"""The lines, above all `tracked` against its formulas, a number at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from monitor import threshold
from monitor.duration import Duration
from monitor.table import StreamTable
from monitor.threshold import AnyThresholdSettings, Prior, Threshold, Tracked, build, lines
from tests.monitor.batches import live

PRIOR = Prior(
    log_mean=-1.0,
    log_variance=0.25,
    quantiles=[(0.5, 0.37), (0.9, 0.7), (0.99, 1.2), (0.999, 1.7)],
    windows_per_stream=300.0,
    windows_per_day=144.0,
)
DAY = 86_400_000


@dataclass
class Scalar:
    """`tracked` for one stream, written from the words of its definition with `math` alone."""

    q: float | None
    budget: float
    half_life: float
    prior_weight: float
    eta: float
    open_after: int
    m: float = PRIOR.log_mean
    v: float = PRIOR.log_variance
    n: int = 0
    ends: list[int] = field(default_factory=list)
    overs: list[bool] = field(default_factory=list)
    events: int = 0
    run: int = 0

    def __post_init__(self) -> None:
        """Place the line by the calibration."""
        self.c = (math.log(self.table(1 - self.rate())) - self.m) / math.sqrt(self.v)
        if self.q is None:
            self.c += 2 * min(max(-math.log10(self.rate()) - 3, 0), 1)
        self.c = min(max(self.c, 1.5), 12)

    @staticmethod
    def table(q: float) -> float:
        """Q at `q`, linear in −log(1 − q), constant outside."""
        entries = [(-math.log(1 - p), value) for p, value in PRIOR.quantiles]
        at = -math.log(1 - q)
        if at <= entries[0][0]:
            return entries[0][1]
        for (x0, y0), (x1, y1) in pairwise(entries):
            if at <= x1:
                return y0 + (y1 - y0) * (at - x0) / (x1 - x0)
        return entries[-1][1]

    def rate(self) -> float:
        """Promised events a window."""
        if self.q is not None:
            return 1 - self.q
        per_day = PRIOR.windows_per_day
        if len(self.ends) > 1 and self.ends[-1] > self.ends[0]:
            own = (len(self.ends) - 1) / ((self.ends[-1] - self.ends[0]) / DAY)
            weight = self.n / (self.n + self.prior_weight)
            per_day = weight * own + (1 - weight) * per_day
        return min(0.1, self.budget / per_day)

    def step(self, score: float, end: int, *, restarted: bool) -> float:
        """Take one window; return its line."""
        line = math.exp(self.m + self.c * math.sqrt(self.v))
        over = score > line
        self.run = (0 if restarted else self.run) + 1 if over else 0
        event = over and not any(self.overs[-20:]) if self.q is not None else self.run == self.open_after
        self.overs.append(over)
        self.ends.append(end)
        self.events += event
        rate = self.rate()
        b = max(1 - 0.5 ** (1 / self.half_life), 1 / (self.prior_weight + self.n + 1))
        x = math.log(max(score, 1e-12))
        x = min(max(x, self.m - 4 * math.sqrt(self.v)), self.m + 4 * math.sqrt(self.v))
        d = x - self.m
        self.m += b * d
        self.v = (1 - b) * (self.v + b * d * d)
        self.c = min(max(self.c + self.eta * (event - rate), 1.5), 12)
        self.n += 1
        return line


def table_of(kind: Threshold, streams: int = 1) -> StreamTable:
    """Return a table with live streams."""
    return live(StreamTable(kind.columns), streams)


def follow(
    kind: Threshold, score: NDArray[np.float64], end: NDArray[np.int64], restarted: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Return the lines of one stream."""
    anew = np.zeros(len(score), np.bool_) if restarted is None else restarted
    return lines(kind, table_of(kind), np.zeros(len(score), np.int32), score, end, anew)


def scores(seed: int, n: int) -> NDArray[np.float64]:
    """Return lognormal scores with bursts, zeros, a shift and outliers."""
    random = np.random.default_rng(seed)
    found = np.exp(random.normal(-1, 0.5, n))
    for at in random.integers(0, n, n // 60):
        found[at : at + random.integers(1, 30)] *= 8
    found[random.integers(0, n, 5)] = 0
    found[random.integers(0, n, 5)] = 1e30
    found[n // 2 :] *= 3
    return np.asarray(found, np.float64)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "changes",
    [
        {"q": 0.9},
        {"q": 0.999, "half_life": 50, "prior_weight": 10.0, "eta": 0.5},
        {"alerts_per_stream_per_day": 20.0, "half_life": 77},
        {"alerts_per_stream_per_day": 5.0, "prior_weight": 3.0},
        {"alerts_per_stream_per_day": 900.0},
        {"alerts_per_stream_per_day": 0.05},
        {},
    ],
)
@pytest.mark.parametrize("open_after", [1, 3])
def test_tracked_is_its_formulas(seed: int, changes: dict[str, Any], open_after: int) -> None:
    """If it failed, the line in production would not be the one that was measured."""
    settings = Tracked.Settings(**changes)
    score = scores(seed, 1_500)
    random = np.random.default_rng(seed)
    end = 1_700_000_000_000 + np.cumsum(random.integers(1, 1_200_000, len(score)))
    restarted = random.random(len(score)) < 0.01
    scalar = Scalar(
        settings.q,
        settings.budget or math.nan,
        300 if settings.half_life == "auto" else float(settings.half_life),
        settings.prior_weight,
        settings.eta,
        open_after,
    )
    expected = [scalar.step(s, e, restarted=r) for s, e, r in zip(score.tolist(), end.tolist(), restarted, strict=True)]
    found = follow(build(settings, PRIOR, open_after), score, end, restarted)
    assert_allclose(found, expected, rtol=1e-12)
    assert scalar.events


@pytest.mark.parametrize(
    ("over", "events"),
    [
        ([0], 1),
        ([0, 1, 2, 3], 1),
        ([0, 20], 1),  # 19 quiet windows between: one of the 20 before was over
        ([0, 21], 2),  # 20 quiet ones
        ([5, 15, 25, 35], 1),  # each has one in the 20 before
        ([0, 21, 42, 62], 3),
    ],
)
def test_an_event_with_q(over: list[int], events: int) -> None:
    """If it failed, one burst would be charged as several events and lift the line for months."""
    kind = build(Tracked.Settings(q=0.999), PRIOR, 2)
    score = np.full(70, 0.4)
    score[over] = 1e6
    table = table_of(kind)
    lines(kind, table, np.zeros(70, np.int32), score, np.arange(70) * 600_000, np.zeros(70, np.bool_))
    start = (math.log(PRIOR.quantile(0.999)) - PRIOR.log_mean) / math.sqrt(PRIOR.log_variance)
    assert_allclose(table["line_c"][0], start + events - 70 * 0.001, atol=1e-9)


@pytest.mark.parametrize(
    ("over", "restarts", "events"),
    [
        ([0], [], 0),
        ([0, 1], [], 1),
        ([0, 1, 2, 3, 4, 5], [], 1),  # one run, one event, however long
        ([0, 2, 4], [], 0),
        ([0, 1, 3, 4], [], 2),
        ([0, 1], [1], 0),  # the window began anew between them
        ([0, 1, 2], [1], 1),
    ],
)
def test_an_event_with_a_budget(over: list[int], restarts: list[int], events: int) -> None:
    """If it failed, the line would count other events than those that open alerts."""
    kind = build(Tracked.Settings(alerts_per_stream_per_day=0.001), PRIOR, 2)
    score = np.full(10, 0.4)
    score[over] = 1e6
    restarted = np.zeros(10, np.bool_)
    restarted[restarts] = True
    table = table_of(kind)
    before = float(table["line_c"][0])
    lines(kind, table, np.zeros(10, np.int32), score, np.arange(10) * 600_000, restarted)
    assert_allclose(table["line_c"][0], before + events, atol=1e-3)


def test_a_run_that_a_window_without_score_broke() -> None:
    """If it failed, two windows on both sides of a gap would count as two in a row."""
    kind = build(Tracked.Settings(alerts_per_stream_per_day=0.001), PRIOR, 2)
    table = table_of(kind)
    slot, score, anew = np.zeros(1, np.int32), np.array([1e6]), np.zeros(1, np.bool_)
    before = float(table["line_c"][0])
    lines(kind, table, slot, score, np.array([600_000]), anew)
    kind.restart(table, 0)
    lines(kind, table, slot, score, np.array([1_200_000]), anew)
    assert_allclose(table["line_c"][0], before, atol=1e-3)


def test_over_is_strictly_over() -> None:
    """If it failed, a score on the line would be an event."""
    kind = build(Tracked.Settings(q=0.9), PRIOR, 1)
    table = table_of(kind)
    line = np.exp(table["line_m"] + table["line_c"] * np.sqrt(table["line_v"]))[:1]
    before = float(table["line_c"][0])
    lines(kind, table, np.zeros(1, np.int32), line, np.array([1]), np.zeros(1, np.bool_))
    assert_allclose(table["line_c"][0], max(1.5, before - 0.1))


def test_half_life_in_event_time() -> None:
    """If it failed, a stream with records twice as often would forget twice as fast."""
    settings = Tracked.Settings(q=0.999, half_life=Duration("1h"), prior_weight=1e9)
    kind = build(settings, PRIOR, 2)
    score = np.full(7, math.exp(-0.5))
    table = table_of(kind)
    end = np.arange(7, dtype=np.int64) * 600_000  # an hour
    lines(kind, table, np.zeros(7, np.int32), score, end, np.zeros(7, np.bool_))
    assert_allclose(table["line_m"][0], -0.75, rtol=1e-6)


def test_a_clock_that_was_set_back_does_not_spoil_the_rate() -> None:
    """If it failed, a stream whose clock was once ahead would have a line that hardly sinks for as long."""
    settings = Tracked.Settings(alerts_per_stream_per_day=1.0)
    straight, jumping = (build(settings, PRIOR, 2) for _ in range(2))
    end = np.arange(400, dtype=np.int64) * 60_000 + 400 * DAY  # ten times as often as the bundle's streams
    back = end.copy()
    back[200:] -= 400 * DAY
    score = scores(3, 400)
    assert_allclose(follow(jumping, score, back), follow(straight, score, end), rtol=1e-2)


def test_a_constant_stream_stays_under_its_line() -> None:
    """If it failed, a sensor that sends the same value for ever would alert for ever."""
    found = follow(build(Tracked.Settings(), PRIOR, 2), np.full(20_000, 0.1), np.arange(20_000) * 600_000)
    assert found.min() > 0.1 * (1 + 1e-4)


def test_the_calibrations_table() -> None:
    """If it failed, the first line of every stream would be at another quantile than promised."""
    assert PRIOR.quantile(0.9) == pytest.approx(0.7)
    assert PRIOR.quantile(0.95) == pytest.approx(Scalar.table(0.95), rel=1e-12)
    assert PRIOR.quantile(0.1) == pytest.approx(0.37)
    assert PRIOR.quantile(0.999999) == pytest.approx(1.7)
    assert Prior(0, 1, [(0.5, 0.0), (1.0, 0.0)], 1, 1).quantile(0.99) == 1e-12


def test_the_promise() -> None:
    """If it failed, operators would get more alerts than they asked for."""
    assert Tracked.Settings(q=0.99).rate(144) == pytest.approx(0.01)
    assert Tracked.Settings().rate(144) == pytest.approx(0.1 / 144)
    assert Tracked.Settings(alerts_per_stream_per_day=2).rate(144) == pytest.approx(2 / 144)
    assert Tracked.Settings(alerts_per_stream_per_day=1000).rate(10) == 0.1
    with pytest.raises(ValidationError, match="not both"):
        Tracked.Settings(q=0.9, alerts_per_stream_per_day=1)


def test_kinds_are_told_apart_by_type() -> None:
    """If it failed, a configuration would get another line than it names."""
    adapter: TypeAdapter[threshold.ThresholdSettings] = TypeAdapter(AnyThresholdSettings)
    for kind in threshold.KINDS:
        name = kind.Settings.model_fields["type"].default
        assert isinstance(build(adapter.validate_python({"type": name, "q": 0.9}), PRIOR, 2), kind)
    for wrong in ({"type": "magic"}, {"type": "static", "half_life": 3}, {"type": "tracked", "half_life": 0}):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)
    half_life = adapter.validate_python({"type": "tracked", "half_life": "12h"})
    assert isinstance(half_life, Tracked.Settings)
    assert isinstance(half_life.half_life, Duration)


def test_static() -> None:
    """If it failed, the line that an operator wrote would move."""
    score, end = scores(1, 50), np.arange(50)
    assert set(follow(build(threshold.Static.Settings(value=0.3), PRIOR, 2), score, end)) == {0.3}
    assert_allclose(follow(build(threshold.Static.Settings(q=0.99), PRIOR, 2), score, end), 1.2)


@pytest.mark.parametrize("kind", [threshold.P2, threshold.RollingQuantile])
def test_a_streaming_quantile_moves_from_the_prior_to_its_own(
    kind: type[threshold.P2 | threshold.RollingQuantile],
) -> None:
    """If it failed, the plain quantiles would not be the blend that the documentation says."""
    settings = kind.Settings(q=0.9, prior_weight=100.0)
    built = build(settings, PRIOR, 2)
    score = np.exp(np.random.default_rng(4).normal(1, 0.5, 500))
    found = follow(built, score, np.arange(500))
    assert found[0] == pytest.approx(0.7)
    assert isinstance(built, kind)
    own = built._create()
    for n, value in enumerate(score.tolist()):
        if n in {1, 7, 499}:
            weight = n / (n + 100)
            expected = math.exp(weight * math.log(own.get()) + (1 - weight) * math.log(0.7))
            assert found[n] == pytest.approx(expected, rel=1e-12)
        own.update(value)


@pytest.mark.parametrize("kind", [threshold.P2, threshold.RollingQuantile])
def test_a_damaged_state_is_an_error_and_no_panic(kind: type[Threshold]) -> None:
    """If it failed, a cut message in the state topic would end the daemon in a panic that nothing catches."""
    built = build(kind.Settings(q=0.9), PRIOR, 2)
    create, dump, load = (getattr(built, name) for name in ("_create", "_dump", "_load"))
    whole = dump(create())
    for damaged in (whole[:1], whole[:-1], whole[:9], whole[:1] + b"\xff" * 16):
        with pytest.raises(ValueError, match="no state of an estimator"):
            load(damaged)


@pytest.mark.parametrize("kind", [threshold.P2, threshold.RollingQuantile])
def test_a_streaming_quantile_survives_a_restart(kind: type[Threshold]) -> None:
    """If it failed, a line of the libraries' would begin anew, or crash, when its state is restored."""
    built = build(kind.Settings(q=0.9), PRIOR, 2)
    create, dump, load = (getattr(built, name) for name in ("_create", "_dump", "_load"))
    random = np.random.default_rng(5)
    for count in (0, 1, 4, 5, 6, 1_500):
        estimator = create()
        for value in random.random(count).tolist():
            estimator.update(value)
        restored = load(dump(estimator))
        assert isinstance(dump(estimator), bytes)
        for value in [None, *random.random(20).tolist()]:
            if value is not None:
                estimator.update(value)
                restored.update(value)
            assert restored.get() == estimator.get()
