"""Section `window`."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from monitor.window import WindowSettings


def test_a_gap_needs_a_grid() -> None:
    """If it failed, `max_gap` would be ignored in silence."""
    with pytest.raises(ValidationError, match="max_gap needs"):
        WindowSettings(interval=None, max_gap=1)
    assert WindowSettings(max_gap=1).gaps_without_grid  # for those who know the bundle to judge


@pytest.mark.parametrize(
    "wrong", [{"length": 0}, {"stride": 0}, {"interval": "0s"}, {"lateness": -1}, {"max_missing": 1.1}, {"size": 3}]
)
def test_what_is_refused(wrong: dict[str, object]) -> None:
    """If it failed, a window without rows, or a setting that nobody reads, would be accepted."""
    with pytest.raises(ValidationError):
        WindowSettings.model_validate(wrong)


def test_what_waits() -> None:
    """If it failed, records would wait where they need not, or be used before they are in order."""
    assert not WindowSettings().buffered
    assert WindowSettings.model_validate({"interval": "1s"}).buffered
    assert WindowSettings.model_validate({"lateness": "1s"}).buffered
    assert WindowSettings().interval_ms == 0
    assert WindowSettings.model_validate({"interval": "1s"}).interval_ms == 1000
