"""What every kind of line must do; a new kind is tested by being in `KINDS`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from monitor.alert import AlertSettings
from monitor.duration import Duration
from monitor.pipeline import Pipeline
from monitor.record import RecordSettings
from monitor.table import StreamTable
from monitor.threshold import KINDS, Prior, Threshold, Tracked, build, lines
from monitor.window import WindowSettings
from tests.monitor.batches import Feed, live
from tests.properties.models import LevelScores

PRIOR = Prior(
    log_mean=0.0,
    log_variance=1.0,
    quantiles=[(q, float(np.exp(z))) for q, z in ((0.5, 0), (0.9, 1.2816), (0.99, 2.3263), (0.999, 3.0902))],
    windows_per_stream=200.0,
    windows_per_day=1440.0,
)
MINUTE = 60_000
PROMISES: tuple[dict[str, Any], ...] = ({}, {"q": 0.95}, {"alerts_per_stream_per_day": 50.0})


@pytest.fixture(params=[(kind, promise) for kind in KINDS for promise in PROMISES], ids=str)
def kind(request: pytest.FixtureRequest) -> Threshold:
    """A line of each kind, with each way to promise."""
    chosen, promise = request.param
    return build(chosen.Settings(**promise), PRIOR, 2)


@dataclass
class Input:
    """Windows of some streams, sorted by stream."""

    slot: NDArray[np.int32]
    score: NDArray[np.float64]
    end: NDArray[np.int64]
    restarted: NDArray[np.bool_]

    def __getitem__(self, part: Any) -> Input:
        """Return some of the windows."""
        return Input(self.slot[part], self.score[part], self.end[part], self.restarted[part])


def many(streams: int, windows: int, seed: int = 0) -> Input:
    """Return lognormal scores with everything that a model can return in them."""
    random = np.random.default_rng(seed)
    score = np.exp(random.normal(0, 1, streams * windows))
    score[random.integers(0, len(score), 20)] = 0
    score[random.integers(0, len(score), 20)] = float(np.finfo(np.float32).max)
    return Input(
        np.repeat(np.arange(streams), windows).astype(np.int32),
        score,
        np.tile(np.arange(windows, dtype=np.int64) * MINUTE, streams),
        random.random(len(score)) < 0.02,
    )


def run(kind: Threshold, table: StreamTable, windows: Input) -> NDArray[np.float64]:
    """Return the lines."""
    return lines(kind, table, windows.slot, windows.score, windows.end, windows.restarted)


def test_there_is_a_finite_line_from_the_first_window_on(kind: Threshold) -> None:
    """If it failed, a stream would be without protection, or its alerts would have no anomaly_score."""
    found = run(kind, live(StreamTable(kind.columns), 7), many(7, 400))
    assert found.dtype == np.float64
    assert np.isfinite(found).all()
    assert (found > 0).all()


def test_lines_of_equal_streams_begin_equal(kind: Threshold) -> None:
    """If it failed, the first line would come from something else than the calibration."""
    found = run(kind, live(StreamTable(kind.columns), 5), many(5, 1))
    assert len(set(found.tolist())) == 1


def test_batches_do_not_matter(kind: Threshold) -> None:
    """If it failed, a line would depend on how many records Kafka happened to return."""
    windows = many(4, 60)
    whole = run(kind, live(StreamTable(kind.columns), 4), windows)
    table = live(StreamTable(kind.columns), 4)
    random = np.random.default_rng(1)
    cuts = [np.sort(random.choice(np.arange(1, 60), 9, replace=False)) for _ in range(4)]
    found = np.full(len(whole), np.nan)
    for turn in range(10):
        bounds = [np.append(np.insert(cut, 0, 0), 60)[turn : turn + 2] for cut in cuts]
        part = np.concatenate([np.arange(a, b) + 60 * slot for slot, (a, b) in enumerate(bounds)])
        found[part] = run(kind, table, windows[part])
    assert_array_equal(found, whole)


def test_streams_do_not_touch_each_other(kind: Threshold) -> None:
    """If it failed, one stream's anomaly would move another's line."""
    windows = many(4, 60)
    whole = run(kind, live(StreamTable(kind.columns), 4), windows)
    for slot in range(4):
        own = windows[windows.slot == slot]
        assert_array_equal(run(kind, live(StreamTable(kind.columns), 4), own), whole[windows.slot == slot])


def test_a_dropped_stream_begins_anew(kind: Threshold) -> None:
    """If it failed, a new stream would inherit the line of one that is gone."""
    table = live(StreamTable(kind.columns), 3)
    windows = many(3, 80)
    first = run(kind, table, windows)
    table.reset(np.array([1]))
    own = windows[windows.slot == 1]
    assert_array_equal(run(kind, table, own), first[windows.slot == 1])


def test_a_line_is_read_before_it_learns(kind: Threshold) -> None:
    """If it failed, an anomaly would lift the line that judges it."""
    windows = many(1, 30)
    stranger = Input(windows.slot, windows.score.copy(), windows.end, windows.restarted)
    stranger.score[-1] = 1e20
    found, expected = (run(kind, live(StreamTable(kind.columns), 1), w) for w in (stranger, windows))
    assert_array_equal(found, expected)


class Scores:
    """A model that returns what the first value of a window says, NaN and infinity too."""

    def score(self, windows: NDArray[np.float32]) -> LevelScores:
        """Score windows."""
        value = windows[:, -1, 0].copy()
        value[value == 4] = np.nan
        value[value == 5] = np.inf
        return LevelScores(value, np.abs(windows[:, -1]), windows)


class Watching(Threshold):
    """Notes what reaches a line."""

    def __init__(self, inner: Threshold) -> None:
        """Watch a line, with its columns."""
        self.inner, self.columns = inner, inner.columns
        self.seen: list[float] = []

    def step(self, table: StreamTable, slots: Any, score: Any, end: Any, restarted: Any) -> NDArray[np.float64]:
        """Note and pass on."""
        self.seen += score.tolist()
        return self.inner.step(table, slots, score, end, restarted)

    def restart(self, table: StreamTable, slot: int) -> None:
        """Pass on."""
        self.inner.restart(table, slot)


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_what_is_not_finite_never_reaches_it(number: int) -> None:
    """If it failed, one broken score would end the daemon, or leave a stream without a line for ever."""
    pipeline = Pipeline(
        RecordSettings(max_step=Duration("1d")),
        WindowSettings(length=1, stride=1),
        KINDS[number].Settings(q=0.9),
        AlertSettings(),
        Scores(),
        PRIOR,
        1,
        keep_scores=True,
    )
    watching = Watching(pipeline.threshold)
    pipeline.threshold = watching
    nan = float("nan")
    values = [1, 4, 2, 5, nan, 3, 4, 4, 1]
    feed = Feed(pipeline)
    output = feed.send(*[("s", 1_000 + i, float(v)) for i, v in enumerate(values)])
    assert watching.seen == [1, 2, 3, 1]
    (rows,) = output.scores["t", 0]
    assert rows.status.tolist() == [1, 0, 1, 0, 0, 1, 0, 0, 1]
    assert np.isnan(rows.threshold[rows.status == 0]).all()
    assert np.isfinite(rows.threshold[rows.status != 0]).all()


def promised(settings: Tracked.Settings, open_after: int, *, shift: bool) -> float:
    """Return how many events came, as a multiple of the promise, on 60 streams of quiet scores."""
    streams, count = 60, 6_000
    random = np.random.default_rng(11)
    score = np.exp(random.normal(0, 1, (streams, count)))
    if shift:
        score[:, 2_000:] *= np.exp(3.0)
    flat = Input(
        np.repeat(np.arange(streams), count).astype(np.int32),
        score.ravel(),
        np.tile(np.arange(count, dtype=np.int64) * MINUTE, streams),
        np.zeros(streams * count, np.bool_),
    )
    kind = build(settings, PRIOR, open_after)
    over = (flat.score > run(kind, live(StreamTable(kind.columns), streams), flat)).reshape(streams, count)
    events = 0
    for row in over[:, 3_000:] if shift else over:
        last, length = -1_000, 0
        for at, high in enumerate(row.tolist()):
            length = length + 1 if high else 0
            if settings.q is None:
                events += length == open_after
            else:
                events += high and at - last > 20
            last = at if high else last
    windows = streams * (3_000 if shift else count)
    return events / (windows * settings.rate(PRIOR.windows_per_day))


@pytest.mark.parametrize("shift", [False, True], ids=["quiet", "after a level shift"])
@pytest.mark.parametrize(
    ("settings", "open_after"),
    [
        (Tracked.Settings(q=0.999), 2),
        (Tracked.Settings(alerts_per_stream_per_day=2.0), 1),
        (Tracked.Settings(alerts_per_stream_per_day=2.0), 2),
    ],
    ids=["q", "budget", "budget, two in a row"],
)
def test_tracked_keeps_its_promise(settings: Tracked.Settings, open_after: int, *, shift: bool) -> None:
    """If it failed, operators would get several times the alerts that they asked for, or none at all."""
    assert 0.3 < promised(settings, open_after, shift=shift) < 2.5
