"""The rehearsal against what a daemon says of the same log errors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.detector import Rehearsal, Voice
from models.rehearsal import LEAST, LEAST_STRETCH, MOST_WINDOWS, rehearse, stretches
from monitor.strangeness import Strangeness, VoicePrior
from monitor.table import StreamTable
from monitor.threshold.unified import LEVEL

VOICES = [
    Voice(name=f"{part}-mean_square", part=part, form="mean_square", q50=-1.0, qt=1.5, mean=-0.9, variance=0.8)
    for part in ("a", "b")
]
WEIGHT = 500.0


def logs(windows: int, peaks: dict[int, float], seed: int = 0) -> NDArray[np.float64]:
    """Return log errors `(windows, 2)` with three high windows from each of `peaks` on."""
    found = np.random.default_rng(seed).normal(-1, 0.8, (windows, 2))
    for at, height in peaks.items():
        found[at : at + 3] = height
    return found


def as_a_daemon(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return one stream's scores, by the columns that a daemon keeps."""
    prior = [VoicePrior(v.q50, v.qt, v.mean, v.variance) for v in VOICES]
    kind = Strangeness("v", prior, 1, WEIGHT)
    table = StreamTable(kind.columns)
    slot = np.array([table.assign(b"s")], np.int32)
    table.admit(slot.astype(np.intp))
    return np.array([kind.step(table, slot, row[None]).mean() for row in found])


def play(found: NDArray[np.float64], stream: NDArray[np.int32] | None = None, gain: float = 1.0) -> Rehearsal:
    """Rehearse log errors, those of one stream unless it is said."""
    parts = stretches(np.zeros(len(found), np.int32) if stream is None else stream)
    return rehearse(parts, lambda places: found[places], VOICES, WEIGHT, "mean", gain, 1440.0)


def test_heights_are_the_scores_that_a_daemon_would_have_alarmed_at() -> None:
    """If it failed, lines would begin where alerts do not come."""
    found = logs(2000, {400: 9.0, 1200: 7.0})
    said = as_a_daemon(found)
    expected = [np.minimum(said[at : at + 2], said[at + 1 : at + 3]).max() for at in (400, 1200)]
    made = play(found)
    assert made.days == 2000 / 1440
    assert made.heights[:2] == pytest.approx(expected, abs=1e-4)
    louder = play(found, gain=1.5)
    assert louder.heights[0] == pytest.approx(1.5 * expected[0], abs=2e-4)


def test_what_belongs_to_one_event_is_one_height() -> None:
    """If it failed, one bad hour in the training would stand for many alerts."""
    made = play(logs(2000, {400: 9.0, 450: 8.0, 520: 8.5}))
    assert len([height for height in made.heights if height > 0.6]) == 1


def test_streams_are_rehearsed_each_by_itself_however_their_windows_lie() -> None:
    """If it failed, a fleet's line would depend on the order of its streams."""
    parts = [logs(n, {n // 2: height}, seed) for seed, (n, height) in enumerate([(900, 8.0), (600, 9.5), (300, 7.0)])]
    alone = [play(part).heights for part in parts]
    stream = np.repeat(np.array([2, 0, 1], np.int32), [len(part) for part in parts])
    turns = np.concatenate([np.arange(len(part)) for part in parts])
    mixed = np.argsort(turns, kind="stable")  # the first window of each, then the second of each
    together = play(np.concatenate(parts)[mixed], stream[mixed])
    assert together.heights == tuple(sorted((h for heights in alone for h in heights), reverse=True))


@pytest.mark.parametrize("windows", [0, 1, 50])
def test_few_or_quiet_windows_have_no_events(windows: int) -> None:
    """If it failed, a short training could not end, or a quiet one would lift the line."""
    made = play(np.full((windows, 2), -1.0))
    assert made.heights == ()
    assert made.days == windows / 1440


def test_none_is_kept_that_a_line_would_not_meet() -> None:
    """If it failed, a manifest would say of quiet windows that they alarm."""
    heights = play(logs(3000, {at: 2.0 + at / 1000 for at in range(100, 2900, 200)})).heights
    assert heights
    assert min(heights) > LEAST == LEVEL
    assert list(heights) == sorted(heights, reverse=True)


@pytest.mark.parametrize(
    ("streams", "each"), [(1, 3 * MOST_WINDOWS), (5, 20_000), (300, 1_000), (30, MOST_WINDOWS // 10), (7, MOST_WINDOWS)]
)
def test_of_a_long_recording_unbroken_stretches_are_played(streams: int, each: int) -> None:
    """If it failed, windows that never followed each other would make no events, and a restless fleet seem calm."""
    owner = np.repeat(np.arange(streams, dtype=np.int32), each)
    parts = stretches(owner)
    assert sum(map(len, parts)) <= MOST_WINDOWS
    assert sum(map(len, parts)) >= 0.95 * min(MOST_WINDOWS, streams * each)
    assert min(map(len, parts)) >= min(each, LEAST_STRETCH)
    for part in parts:
        assert (np.diff(part) == 1).all()
        assert len(set(owner[part].tolist())) == 1
        assert part[-1] % each == each - 1  # the newest
    assert len({int(owner[part[0]]) for part in parts}) == len(parts)
