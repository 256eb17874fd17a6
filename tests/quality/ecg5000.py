"""Set `ecg5000`: single heart beats, normal ones to learn from; official split. Accuracy, F1 and AUC on 4,500 beats.

Each beat is a stream of 140 rows, so that windows of 140 rows are beats. The threshold is the 0.95 quantile of the
scores of the bundle's own calibration windows, which no training has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle import Bundle
from models.cells import Cells
from models.settings import TrainSettings
from models.training import WindowShape, train
from tests.quality import product, recordings
from tests.quality.recordings import Beats, Series

LENGTH = 140


def fit(beats: Beats, seed: int, out: Path) -> Bundle:
    """Train on the normal beats."""
    count = len(beats.train)
    cells = Cells(
        beats.train.reshape(-1, 1),
        np.repeat(np.arange(count), LENGTH).astype(np.int32),
        np.tile(np.arange(LENGTH, dtype=np.int64) * 1000, count),
        np.arange(count, dtype=np.int64) * LENGTH,
        np.zeros(count * LENGTH, np.bool_),
    )
    return train(cells, WindowShape(length=LENGTH), ("ecg",), TrainSettings(seed=seed), out)


def judged(bundle: Bundle, beats: Beats) -> dict[str, float]:
    """Return accuracy, F1 of the abnormal beats, and AUC."""
    time, label = np.arange(LENGTH, dtype=np.int64) * 1000, np.zeros(LENGTH, np.bool_)
    parts = [Series(f"beat-{n}", time, beat[:, None], label, 0) for n, beat in enumerate(beats.test)]
    score = np.array([found.score[-1] for found in product.watch(bundle, parts)])
    line = dict(bundle.manifest.calibration.quantiles)[0.95]
    over, bad = score > line, beats.abnormal
    hits = float(np.count_nonzero(over & bad))
    rank = np.argsort(np.argsort(score, kind="stable"), kind="stable") + 1.0
    pairs = np.count_nonzero(bad) * np.count_nonzero(~bad)
    area = (rank[bad].sum() - np.count_nonzero(bad) * (np.count_nonzero(bad) + 1) / 2) / pairs
    return {
        "accuracy": float((over == bad).mean()),
        "f1": 2 * hits / (np.count_nonzero(over) + np.count_nonzero(bad)),
        "auc": float(area),
    }


def measure(seeds: Sequence[int]) -> dict[str, Any]:
    """Measure."""
    beats = recordings.ecg5000()
    rows = []
    for seed in seeds:
        with product.temporary() as folder:
            rows.append(judged(fit(beats, seed, Path(folder) / "bundle"), beats))
    return product.summary(rows)
