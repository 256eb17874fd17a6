"""What a configuration and a bundle are together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from models.bundle import Bundle
from monitor.agreement import effective_window, own_alerts, prior_of
from monitor.config import ConfigError, load


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


def test_a_prior_counts_windows_at_the_stride_that_is_used(bundle: Bundle) -> None:
    """If it failed, a line would begin as if its calibration had seen eight times the windows, or an eighth of them."""
    own = bundle.manifest.window.stride
    here, sparse = prior_of(bundle), prior_of(bundle, 2 * own)
    assert here.windows_per_stream == pytest.approx(2 * sparse.windows_per_stream)
    assert here.windows_per_day == pytest.approx(2 * sparse.windows_per_day)


def test_rules_about_other_fleets_features_are_left_out() -> None:
    """If it failed, one rule for pumps would keep a daemon that has valves as well from starting."""
    config = load(
        None,
        [
            (
                "alert.ignore=[{features: [flow], min_dev_from_expected: 1},"
                " {features: [flow, heat], min_dev_from_expected: 2}]"
            ),
            "alert.quality={out_of_range: {flow: [0, 1], heat: [0, 2]}}",
        ],
    )
    found = own_alerts(config.alert, ("heat",), ("heat", "flow"))
    assert [rule.features for rule in found.ignore] == [("heat",)]
    assert found.quality is not None
    assert list(found.quality.out_of_range) == ["heat"]
    assert own_alerts(config.alert, ("heat",), ()) == config.alert
