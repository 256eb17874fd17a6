"""A recording, window by window, as production would have scored it."""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from models.bundle import Bundle
from models.serving import Model
from monitor import evaluation, sources
from monitor.config import Config, load
from monitor.evaluation import Scored
from monitor.replay import ScoreFile, replay
from tests.recordings import INCIDENTS, ROWS, messages, write_csv, write_kcat


def _read(path: Path, bundle: Bundle, config: Config) -> Scored:
    source = sources.for_recording([str(path)]).build(config.record, bundle.manifest.features)
    return evaluation.read(config, bundle, Model(bundle), source)


def test_scores_and_lines_are_those_of_the_replay(bundle: Bundle, tmp_path: Path) -> None:
    """A bundle would be judged by other scores and lines than it runs with; streams lie in several partitions."""
    config = load(None, ())
    path = write_kcat(tmp_path / "pumps.jsonl")
    found = _read(path, bundle, config)
    with ScoreFile.open(tmp_path / "scores.csv") as scores:
        source = sources.for_recording([str(path)]).build(config.record, bundle.manifest.features)
        replay(config, bundle, Model(bundle), source, scores=scores)
    wanted = defaultdict(list)
    with (tmp_path / "scores.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["status"] != "unscored":
                wanted[row["stream"]].append((row["score"], row["threshold"]))
    owner = found.dataset.cells.stream[found.dataset.cells.starts[found.windows]]
    for number, name in enumerate(found.dataset.streams):
        own = owner == number
        pairs = zip(found.score[own].astype(np.float32), found.line[own].astype(np.float32), strict=True)
        assert [(str(score), str(line)) for score, line in pairs] == wanted[name]
    assert len(found.windows) == sum(map(len, wanted.values())) > 0


def test_one_id_in_two_partitions_is_two_streams(bundle: Bundle, tmp_path: Path) -> None:
    """Scores of one pump would be held against the labels of another that has its name."""
    path = tmp_path / "twins.jsonl.gz"
    lines = []
    for offset, (_, value, partition) in enumerate(messages()):
        body = {**json.loads(value), "stream": "pump"}
        line = {"topic": "t", "partition": partition, "offset": offset, "key": "pump", "payload": json.dumps(body)}
        lines.append(json.dumps(line) + "\n")
    with gzip.open(path, "wt") as file:
        file.writelines(lines)
    found = _read(path, bundle, load(None, ()))
    assert found.dataset.streams == ("pump",) * 3
    assert found.dataset.partitions == (("t", 0), ("t", 1), ("t", 2))
    model = Model(bundle)
    windows = found.dataset.cells.gather(found.windows, found.window.length)
    assert (model.score(windows).score == found.score).all()


def test_labels_and_the_first_line(bundle: Bundle, tmp_path: Path) -> None:
    """Windows would be labelled by rows that they do not have, or held against a line that nobody chose."""
    recording = write_csv(tmp_path / "pumps.csv")
    static = load(None, ("threshold.type=static", "threshold.value=0.25"))
    found = _read(recording, bundle, static)
    assert found.labels
    assert found.first_line == 0.25
    assert set(found.line.tolist()) == {0.25}
    touched = {name: last - first + found.window.length - 1 for name, (first, last) in INCIDENTS.items()}
    assert np.count_nonzero(found.label) == sum(touched.values())
    assert len(found.windows) <= 3 * (ROWS - found.window.length + 1)
    for kind in ("tracked", "unified", "p2"):
        config = load(None, (f"threshold.type={kind}", "threshold.q=0.99"))
        found = _read(recording, bundle, config)
        owner = found.dataset.cells.stream[found.dataset.cells.starts[found.windows]]
        first = np.flatnonzero(np.diff(owner, prepend=-1))
        assert (found.line[first] == found.first_line).all()
