"""Set `skab`: 34 recordings of a water-circulation test bed; F1 of rows, always with false and missed alarm rates.

One bundle for all, trained on the first 400 rows of each; the rows after them are judged. F1 alone can be had by an
alarm that never ends, so it is worth nothing without the false alarm rate beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.training import TrainSettings
from monitor.window import WindowSettings
from tests.quality import product, recordings
from tests.quality.recordings import Series

LENGTH = 64
MOST_FALSE = 0.13


def rates(alarm: Sequence[NDArray[np.bool_]], parts: Sequence[Series]) -> dict[str, float]:
    """Return F1, false alarm rate and missed alarm rate, pooled over rows."""
    found = np.concatenate([a[p.train :] for a, p in zip(alarm, parts, strict=True)])
    label: NDArray[np.bool_] = np.concatenate([p.label[p.train :] for p in parts])
    hit = float(np.count_nonzero(found & label))
    return {
        "f1": 2 * hit / max(1, int(np.count_nonzero(found)) + int(np.count_nonzero(label))),
        "false_alarm_rate": float(np.count_nonzero(found & ~label) / np.count_nonzero(~label)),
        "missed_alarm_rate": float(1 - hit / np.count_nonzero(label)),
    }


def best(ratio: Sequence[NDArray[np.float64]], parts: Sequence[Series]) -> dict[str, float]:
    """Return the rates with the best multiple of the line whose false alarms are at most `MOST_FALSE`, in hindsight."""
    found: list[dict[str, float]] = []
    for factor in np.exp(np.linspace(np.log(0.3), np.log(10), 71)):
        row = rates([r > factor for r in ratio], parts)
        if row["false_alarm_rate"] <= MOST_FALSE:
            found.append({**row, "factor": float(factor)})
    row = max(found, key=lambda row: row["f1"])
    return {f"best_{name}": value for name, value in row.items()}


def once(seed: int) -> dict[str, float]:
    """Train, replay and judge."""
    parts = recordings.skab()
    window = WindowSettings(length=LENGTH, stride=1)
    with product.temporary() as folder:
        bundle = product.learn(parts, window, TrainSettings(seed=seed), Path(folder) / "bundle")
        made = product.watch(bundle, parts, ("window.stride=1",))
    ratio = [product.held(found.score / found.line) for found in made]
    return {**rates([r > 1 for r in ratio], parts), **best(ratio, parts)}


def measure(seeds: Sequence[int]) -> dict[str, Any]:
    """Measure."""
    return product.summary([once(seed) for seed in seeds])
