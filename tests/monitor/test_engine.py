"""The engine: what a configuration and a bundle are together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from models.bundle import Bundle
from monitor.config import ConfigError, load
from monitor.engine import effective_window


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
