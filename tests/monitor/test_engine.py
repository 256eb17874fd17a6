"""The engine: raw batches in, events and figures out."""

from __future__ import annotations

import numpy as np

from models.bundle import Bundle
from models.serving import Model
from monitor.config import load
from monitor.engine import Engine
from monitor.sources.base import Rows


def test_streams_without_a_scored_window_are_counted(bundle: Bundle) -> None:
    """If it failed, nobody would see that new streams are not watched yet, or that they never are."""
    engine = Engine(load(None), bundle, Model(bundle))
    rows = 14
    time = np.arange(rows, dtype=np.int64) * 60_000
    values = np.zeros((rows, 2), np.float32)
    stream = np.repeat(np.array([0, 1], np.int32), [12, 2])  # a window is 12 rows
    engine.process([Rows("in", 0, ["long", "short"], stream, time, values, np.arange(rows, dtype=np.int64))])
    assert (engine.streams(), engine.warming()) == (2, 1)
