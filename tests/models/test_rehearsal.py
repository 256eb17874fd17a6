"""The rehearsal against what a daemon says of the same log errors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.detector import Voice
from models.rehearsal import LEAST, MOST, rehearse
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


def test_heights_are_the_scores_that_a_daemon_would_have_alarmed_at() -> None:
    """If it failed, lines would begin where alerts do not come."""
    found = logs(2000, {400: 9.0, 1200: 7.0})
    said = as_a_daemon(found)
    expected = [np.minimum(said[at : at + 2], said[at + 1 : at + 3]).max() for at in (400, 1200)]
    made = rehearse(found, np.zeros(2000, np.int32), VOICES, WEIGHT, "mean", 1.0, 1.5)
    assert made.days == 1.5
    assert made.heights[:2] == pytest.approx(expected, abs=1e-4)
    louder = rehearse(found, np.zeros(2000, np.int32), VOICES, WEIGHT, "mean", 1.5, 1.5)
    assert louder.heights[0] == pytest.approx(1.5 * expected[0], abs=2e-4)


def test_what_belongs_to_one_event_is_one_height() -> None:
    """If it failed, one bad hour in the training would stand for many alerts."""
    made = rehearse(
        logs(2000, {400: 9.0, 450: 8.0, 520: 8.5}), np.zeros(2000, np.int32), VOICES, WEIGHT, "mean", 1.0, 1.0
    )
    assert len([height for height in made.heights if height > 0.6]) == 1


def test_streams_are_rehearsed_each_by_itself_however_their_windows_lie() -> None:
    """If it failed, a fleet's line would depend on the order of its streams."""
    parts = [logs(n, {n // 2: height}, seed) for seed, (n, height) in enumerate([(900, 8.0), (600, 9.5), (300, 7.0)])]
    alone = [rehearse(p, np.zeros(len(p), np.int32), VOICES, WEIGHT, "mean", 1.0, 1.0).heights for p in parts]
    stream = np.repeat(np.array([2, 0, 1], np.int32), [len(part) for part in parts])
    turns = np.concatenate([np.arange(len(part)) for part in parts])
    mixed = np.argsort(turns, kind="stable")  # the first window of each, then the second of each
    together = rehearse(np.concatenate(parts)[mixed], stream[mixed], VOICES, WEIGHT, "mean", 1.0, 3.0)
    assert together.heights == tuple(sorted((h for heights in alone for h in heights), reverse=True))


@pytest.mark.parametrize("windows", [0, 1, 50])
def test_few_or_quiet_windows_have_no_events(windows: int) -> None:
    """If it failed, a short training could not end, or a quiet one would lift the line."""
    quiet = np.full((windows, 2), -1.0)
    assert rehearse(quiet, np.zeros(windows, np.int32), VOICES, WEIGHT, "mean", 1.0, 0.1).heights == ()


def test_so_many_events_are_kept_and_none_below_the_line() -> None:
    """If it failed, a manifest could grow without end, or say of quiet windows that they alarm."""
    count = MOST + 50
    stream = np.repeat(np.arange(count, dtype=np.int32), 4)
    high = np.tile(np.array([[-1.0], [8.0], [8.0], [-1.0]]), (count, 2))
    made = rehearse(high, stream, VOICES, WEIGHT, "mean", 1.0, 1.0)
    assert len(made.heights) == MOST
    assert min(made.heights) > LEAST == LEVEL
