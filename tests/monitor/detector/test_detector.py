"""The detector: what it must not depend on, and what it must see."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from models.detector import Detector as Settings
from models.detector import Part, Voice
from models.errors import Form
from models.scaling import Scaling
from models.view import View
from monitor.alert import AlertSettings
from monitor.detector import Detector
from monitor.pipeline import REASONS, STATUS, Pipeline
from monitor.record import RecordSettings
from monitor.table import StreamTable
from monitor.threshold import Unified
from monitor.window import Windows, WindowSettings
from tests.monitor.batches import Feed
from tests.properties.models import PRIOR

LENGTH = 32
WARMUP = 20
MINUTE = 60_000


class Halved:
    """Rebuilds every view as half of itself."""

    def __init__(self, reconstruction: NDArray[np.float32]) -> None:
        """Keep it."""
        self.reconstruction = reconstruction


class Half:
    """A member without a network."""

    def score(self, windows: NDArray[np.float32]) -> Halved:
        """Rebuild."""
        return Halved(windows / np.float32(2))


def voice(name: str, part: str, form: Form) -> Voice:
    """Return a voice with an ordinary calibration."""
    return Voice(name=name, part=part, form=form, q50=-1.0, qt=2.0, mean=-1.0, variance=2.0)


def detector(scale: str, stride: int = 1, squares: NDArray[np.float64] | None = None) -> Detector:
    """Return a detector of one or two features with every form of error that goes with its scale."""
    features = 1 if scale == "stream" else 2
    forms: Sequence[Form] = ("distance", "innovation", "last_rows") if features == 1 else ("summary", "mean_square")
    settings = Settings(
        scale=scale,
        level_rows=100,
        short=4,
        warmup=WARMUP,
        weight=50,
        fuse="mean",
        profile=features == 1,
        extreme=features == 1,
        windows_per_day=1440,
        parts=(
            Part(name="half", kind="linear", onnx="half.onnx", view=View(rows=8)),
            Part(name="plain", kind="gaussian", onnx=None, view=View(rows=8, step=4)),
        ),
        voices=(
            *(voice(f"half-{form}", "half", form) for form in forms),
            voice("plain-last_rows", "plain", "last_rows"),
        ),
    )
    arrays = {
        **({"half.mean": np.zeros(8), "half.covariance": np.eye(8)} if features == 1 else {}),
        **({} if squares is None else {"half.squares": squares}),
        "half-summary.mean": np.zeros(4),
        "half-summary.factor": np.eye(4),
    }
    unit = (1.0,) * features
    scaling = Scaling(method="standard", mean=(0.0,) * features, offset=(0.0,) * features, scale=unit)
    return Detector(settings, scaling, {"half": Half()}, arrays, stride)


def course(features: int, rows: int = 400, seed: int = 0) -> NDArray[np.float32]:
    """Return a stream of noise with a gap and a burst."""
    random = np.random.default_rng(seed)
    found: NDArray[np.float32] = random.normal(10, 2, (rows, features)).astype(np.float32)
    found[150:155] = np.nan
    found[300:310] += 15
    return found if features == 1 else found - np.float32(10)


def windows_of(slots: Sequence[int], courses: Sequence[NDArray[np.float32]], first: int, last: int) -> Windows:
    """Return the windows that end with the rows `first` to `last` of some streams."""
    parts = [
        (slot, row, rows[row - LENGTH + 1 : row + 1])
        for slot, rows in zip(slots, courses, strict=True)
        for row in range(max(first, LENGTH - 1), last)
    ]
    values = np.array([part[2] for part in parts], np.float32)
    times = np.array([part[1] for part in parts], np.int64)
    return Windows(
        np.array([part[0] for part in parts], np.int32),
        values,
        times * MINUTE,
        times * MINUTE,
        times,
        times,
        times,
        np.isnan(values).mean(axis=(1, 2)),
        np.zeros(len(parts), np.bool_),
    )


def scores(kind: Detector, courses: Sequence[NDArray[np.float32]], cuts: Sequence[int]) -> NDArray[np.float64]:
    """Return the scores `(streams, rows)` of streams that come in batches."""
    table = StreamTable(kind.columns)
    slots = [table.assign(str(number).encode()) for number in range(len(courses))]
    table.admit(np.array(slots))
    order = np.argsort(slots)
    found = np.full((len(courses), len(courses[0])), np.nan)
    for first, last in pairwise(cuts):
        windows = windows_of([slots[i] for i in order], [courses[i] for i in order], first, last)
        if len(windows):
            made = kind.judge(table, windows, 0.5)
            owner = np.array([slots.index(slot) for slot in windows.slot.tolist()])
            found[owner, windows.high] = made.score
    return found


@pytest.mark.parametrize("scale", ["stream", "standard", "raw"])
def test_batches_and_other_streams_do_not_matter(scale: str) -> None:
    """If it failed, a backtest would differ from production, and one stream's trouble would be another's."""
    features = 1 if scale == "stream" else 2
    courses = [course(features, seed=seed) for seed in range(3)]
    whole = scores(detector(scale), courses, [0, 400])
    assert_array_equal(scores(detector(scale), courses, [0, 40, 41, 42, 100, 250, 303, 400]), whole)
    for number, own in enumerate(courses):
        assert_array_equal(scores(detector(scale), [own], [0, 130, 400])[0], whole[number])


@pytest.mark.parametrize("scale", ["stream", "standard", "raw"])
def test_a_burst_is_seen_and_no_score_is_missing(scale: str) -> None:
    """If it failed, the detector would be blind, or a gap would leave it so."""
    (found,) = scores(detector(scale), [course(1 if scale == "stream" else 2)], [0, 400])
    assert np.isfinite(found[LENGTH - 1 + WARMUP :]).all()
    assert (found[LENGTH - 1 + WARMUP :] >= 0).all()
    assert found[300:312].max() > 1.5 * np.quantile(found[200:300], 0.9)


def test_the_worse_of_two_bursts_has_the_higher_score() -> None:
    """If it failed, strong events would all look alike: no line could tell them apart, and no severity."""
    rows = course(2)
    stronger = rows.copy()
    stronger[300:310] += 200
    before, after = (scores(detector("raw"), [one], [0, 400])[0] for one in (rows, stronger))
    assert_array_equal(before[:300], after[:300])
    assert after[300:310].max() > 1.5 * before[300:310].max()


def test_a_feature_that_is_always_rebuilt_badly_is_not_named_for_it() -> None:
    """If it failed, alerts would name the feature that the member knows least, whatever happened."""
    kind = detector("raw", squares=np.array([4.0, 0.01]))
    given = windows_of([0], [course(2)], LENGTH - 1, LENGTH + WARMUP)
    given.values[:, :, 0], given.values[:, :, 1] = 4.0, 1.0  # as ever, and five times as much as ever
    table = StreamTable(kind.columns)
    table.admit(np.array([table.assign(b"s")]))
    errors = kind.judge(table, given, 0.5).errors[-1]
    assert errors == pytest.approx([4 / 4.0001, 0.25 / 0.0101])


def test_a_new_stream_is_not_called_normal() -> None:
    """If it failed, every new stream would page somebody, or what nobody judged yet would be shown as fine."""
    kind = detector("stream")
    table = StreamTable(kind.columns)
    slot = table.assign(b"s")
    table.admit(np.array([slot]))
    rows = course(1)
    rows[40:50] = np.nan  # windows that lack too much count for nothing, here as elsewhere
    made = kind.judge(table, windows_of([slot], [rows], 0, 120), 0.3)
    missing = np.flatnonzero(windows_of([slot], [rows], 0, 120).missing > 0.3)
    assert len(missing) > 0
    early = np.arange(len(made.score)) < WARMUP + len(missing)
    assert made.warming is not None
    assert_array_equal(np.flatnonzero(made.warming), np.setdiff1d(np.flatnonzero(early), missing))
    assert_array_equal(made.scored, ~early)
    assert_array_equal(np.isnan(made.score), early)
    assert not made.errors[early].any()


def test_a_window_that_no_member_can_judge_teaches_nothing() -> None:
    """If it failed, one reading far beyond float32's squares would leave a stream unwatched for ever."""
    rows = course(2)
    rows[60] = 3e38
    (found,) = scores(detector("raw"), [rows], [0, 400])
    late = np.arange(LENGTH - 1 + WARMUP, len(found))
    assert_array_equal(late[np.isnan(found[late])], np.arange(60, 68))  # while it is among the 8 rows that members see


def test_the_pipeline_calls_it_unscored() -> None:
    """If it failed, warming up would show as normal, count as scored, or age the line and the rest of alerts."""
    pipeline = Pipeline(
        RecordSettings(),
        WindowSettings(length=LENGTH, stride=1),
        Unified.Settings(),
        AlertSettings(),
        detector("stream"),
        dataclasses.replace(PRIOR, calibrated=True),
        1,
        keep_scores=True,
    )
    feed = Feed(pipeline)
    samples = [("s", MINUTE * row, float(value)) for row, value in enumerate(course(1)[:70, 0])]
    output = feed.send(*samples)
    windows = len(samples) - LENGTH + 1
    assert (output.windows, output.scored) == (windows, windows - WARMUP)
    assert output.unscored == {"warmup": WARMUP}
    (rows,) = output.scores["t", 0]
    assert [(STATUS[i], REASONS[j]) for i, j in zip(rows.status, rows.reason, strict=True)] == [
        *[("unscored", "warmup")] * WARMUP,
        *[("normal", "")] * (windows - WARMUP),
    ]
    assert_array_equal(np.isnan(rows.threshold), np.arange(windows) < WARMUP)
    table = feed.partition.table
    assert table["scored"][0] == table["line_n"][0] == windows - WARMUP


def test_an_alert_names_members_and_confidence() -> None:
    """If it failed, nobody could tell which member to doubt, or how little was known of a new stream."""
    found = []
    rows = course(1)
    rows[150:155] = 10
    samples = [("s", MINUTE * row, float(value)) for row, value in enumerate(rows[:, 0])]
    for size in (1, 400):
        pipeline = Pipeline(
            RecordSettings(),
            WindowSettings(length=LENGTH, stride=1),
            Unified.Settings(),
            AlertSettings(),
            detector("stream"),
            dataclasses.replace(PRIOR, calibrated=True),
            1,
        )
        feed = Feed(pipeline)
        found.append([a for at in range(0, 400, size) for a in feed.send(*samples[at : at + size]).alerts])
    alone, together = ([(a.time, a.confidence, a.members) for a in alerts] for alerts in found)
    assert alone == together
    firing = next(alert for alert in found[0] if alert.status == "firing" and alert.time >= 300 * MINUTE)
    windows = firing.time // MINUTE - (LENGTH - 1)  # before this one, those of the time of warming up among them
    assert firing.confidence == windows / (windows + 50)
    said = dict(firing.members)
    assert set(said) == {"half", "plain", "profile", "extreme"}
    assert max(said.values()) > firing.threshold


@pytest.mark.parametrize("scale", ["stream", "raw"])
def test_what_members_said_explains_the_score(scale: str) -> None:
    """If it failed, an alert would name members that had nothing to do with it."""
    kind = detector(scale)
    table = StreamTable(kind.columns)
    slot = table.assign(b"s")
    table.admit(np.array([slot]))
    made = kind.judge(table, windows_of([slot], [course(1 if scale == "stream" else 2)], 0, 400), 0.5)
    assert made.said is not None
    said = made.said[made.scored].astype(np.float64)
    score = made.score[made.scored]
    assert kind.members == ("half", "plain", *(("profile", "extreme") if scale == "stream" else ()))
    assert (said >= 0).all()
    assert (said.max(axis=1) >= score - 1e-6).all()  # a mean of voices is no louder than the loudest of them
    if scale == "stream":
        extreme = said[:, 3]
        assert (extreme > 0.5).any()
        assert (score >= extreme - 1e-6).all()


def test_a_window_that_lacks_too_much_is_not_scored() -> None:
    """If it failed, what was never measured would be called normal."""
    rows = course(1)
    rows[200:240] = np.nan
    (found,) = scores(detector("stream"), [rows], [0, 400])
    assert np.isnan(found[225:245]).all()
    assert np.isfinite(found[280])
