"""The engine: what a configuration and a bundle are together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.bundle import Bundle
from models.serving import Model
from monitor.config import ConfigError, load
from monitor.engine import Engine, effective_window
from monitor.sources.base import Rows


def trained(bundle: Bundle, **window: Any) -> Bundle:
    """Return the bundle as if it had been trained with other windows."""
    shape = bundle.manifest.window.model_copy(update=window)
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"window": shape}))


def test_a_gap_may_be_set_over_the_bundles_interval(bundle: Bundle) -> None:
    """If it failed, `max_gap` could be set only by those who say again what the bundle says."""
    config = load(None, ["window.max_gap=3"])
    window = effective_window(config, trained(bundle, interval=60_000))
    assert (window.max_gap, window.interval_ms, window.length) == (3, 60_000, bundle.manifest.window.length)


def test_a_gap_without_any_interval_is_refused(bundle: Bundle) -> None:
    """If it failed, a setting would have no effect, or the daemon end in a traceback."""
    said = f"window.max_gap: found 3, expected 0: the model in {bundle.path} was trained without window.interval"
    with pytest.raises(ConfigError) as caught:
        effective_window(load(None, ["window.max_gap=3"]), bundle)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
    assert effective_window(load(None, ["window.max_gap=0"]), bundle).max_gap == 0


def test_streams_without_a_scored_window_are_counted(bundle: Bundle) -> None:
    """If it failed, nobody would see that new streams are not watched yet, or that they never are."""
    engine = Engine(load(None), bundle, Model(bundle))
    rows = 14
    time = np.arange(rows, dtype=np.int64) * 60_000
    values = np.zeros((rows, 2), np.float32)
    stream = np.repeat(np.array([0, 1], np.int32), [12, 2])  # a window is 12 rows
    engine.process([Rows("in", 0, ["long", "short"], stream, time, values, np.arange(rows, dtype=np.int64))])
    assert (engine.streams(), engine.warming()) == (2, 1)
