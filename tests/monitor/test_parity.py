"""Two bundles over one recording."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.bundle import Bundle
from models.chunk import Scores
from models.serving import Model
from monitor import parity, sources
from monitor.config import Config, load
from monitor.fleets import Loaded
from monitor.parity import Parity
from monitor.replay import EventFile, ScoreFile, replay
from tests.recordings import ROWS, write_kcat


class Louder:
    """The model, whose scores are some times larger in every third window of a call."""

    def __init__(self, model: Model, times: float) -> None:
        """Take the model."""
        self._model, self._times = model, times

    def score(self, windows: NDArray[np.float32]) -> Scores:
        """Score."""
        scores = self._model.score(windows)
        changed = scores.score.copy()
        changed[windows[:, -1, 0] * 100 % 3 < 1] *= self._times
        return replace(scores, score=changed)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A recording of three partitions."""
    return write_kcat(tmp_path / "pumps.jsonl")


def _compare(path: Path, bundle: Bundle, model: Model, times: float, config: Config) -> Parity:
    source = sources.for_recording([str(path)]).build(config.record, bundle.manifest.features)
    return parity.compare(config, Loaded(bundle, model), Loaded(bundle, Louder(model, times)), source)


def test_a_bundle_agrees_with_itself(path: Path, bundle: Bundle, model: Model) -> None:
    """Every bundle would be refused, or windows that nobody scored be counted as agreeing."""
    found = _compare(path, bundle, model, 1, load(None, ()))
    assert (found.windows, found.differing, found.share) == (3 * (ROWS - 11), 0, 1)
    assert found.firing[0] == found.firing[1] > 0
    assert found.anomalous[0] == found.anomalous[1] > 0
    assert (found.middle, found.largest) == (0, 0)


def test_it_counts_what_two_replays_differ_in(path: Path, bundle: Bundle, model: Model, tmp_path: Path) -> None:
    """The agreement that is printed would be another than the one between the two daemons."""
    config = load(None, ())
    windows, statuses, events = [], [], []
    for times in (1.0, 1.5):
        source = sources.for_recording([str(path)]).build(config.record, bundle.manifest.features)
        files = tmp_path / f"{times}.csv", tmp_path / f"{times}.jsonl"
        with ScoreFile.open(files[0]) as scores, EventFile(str(files[1])) as out:
            replay(config, bundle, Louder(model, times), source, scores=scores, out=out)
        with files[0].open(newline="") as file:
            rows = list(csv.DictReader(file))
        windows.append([(row["stream"], row["time"]) for row in rows])
        statuses.append([(row["status"], row["reason"]) for row in rows])
        told = [json.loads(line) for line in files[1].read_text().splitlines()]
        events.append(
            {(e["id"], e["data"]["status"], e["data"]["reason"], e["data"]["severity"], e["time"]): e for e in told}
        )
    assert windows[0] == windows[1]
    differing = {window for window, one, other in zip(windows[0], *statuses, strict=True) if one != other}
    by_status = len(differing)
    for name in events[0].keys() ^ events[1].keys():
        event = (events[0] | events[1])[name]
        differing.add((event["subject"], event["data"]["window"]["end"]))
    found = _compare(path, bundle, model, 1.5, config)
    assert found.differing == len(differing) >= by_status > 0
    assert found.windows == len(windows[0])
    assert found.anomalous == tuple(sum(status == "anomalous" for status, _ in each) for each in statuses)
    assert found.firing == tuple(sum(name[1] == "firing" for name in each) for each in events)
    assert found.middle == 0
    assert 0.4 < found.largest <= 0.5 + 1e-6


def test_without_a_scored_window_there_is_no_agreement(path: Path, bundle: Bundle, model: Model) -> None:
    """A recording that says nothing would pass as one on which all windows agree."""
    short = path.with_name("short.jsonl")
    short.write_text("".join(path.read_text().splitlines(keepends=True)[:20]))
    found = _compare(short, bundle, model, 2, load(None, ()))
    assert (found.windows, found.differing) == (0, 0)
    assert np.isnan(found.share)
    assert np.isnan(found.largest)
