"""A small recording that an autoencoder can learn in seconds: noisy waves of two sensors in several streams."""

from __future__ import annotations

from typing import Any

import numpy as np

from models import scaling
from models.bundle import WindowShape
from models.cells import Cells
from models.feeding import Feed
from models.settings import TrainSettings

FEATURES = ("pressure", "flow")
WINDOW = WindowShape(length=12, stride=1)


def waves(streams: int = 3, rows: int = 120, *, holes: float = 0.02, length: int = 12, seed: int = 0) -> Cells:
    """Return waves around 50 and 1000 with a period of 12 rows, one row a minute, a share of `holes` missing."""
    random = np.random.default_rng(seed)
    phase = np.tile(np.arange(rows), streams) * (2 * np.pi / 12) + np.repeat(random.uniform(0, 6, streams), rows)
    values = np.stack([50 + 5 * np.sin(phase), 1000 + 40 * np.cos(phase)], axis=1)
    values += random.normal(size=values.shape) * (0.2, 1.6)
    values[random.random(values.shape) < holes] = np.nan
    first = np.arange(max(0, rows - length + 1))
    return Cells(
        values=values.astype(np.float32),
        stream=np.repeat(np.arange(streams, dtype=np.int32), rows),
        time=np.tile(np.arange(rows, dtype=np.int64) * 60_000, streams),
        starts=(first + np.arange(streams)[:, None] * rows).reshape(-1).astype(np.int64),
        label=np.zeros(streams * rows, bool),
    )


def feeds(cells: Cells, batch: int, length: int = 12) -> tuple[Feed, Feed]:
    """Return training and validation windows: the first four fifths and the last, scaled by the training's rows."""
    count = len(cells.starts) * 4 // 5
    parts = np.arange(count), np.arange(count, len(cells.starts))
    scale = scaling.fit(scaling.measure(cells.values, cells.covered(parts[0], length)), "standard")
    return Feed(cells, parts[0], length, scale, batch), Feed(cells, parts[1], length, scale, 256)


def settings(kind: str = "lstm", **changes: Any) -> TrainSettings:
    """Return settings that train in a few seconds."""
    small: dict[str, Any] = {"kind": kind, "code_size": 4, "nodes": 16, "epochs": 4, "learning_rate": 0.01}
    return TrainSettings.model_validate(small | changes)
