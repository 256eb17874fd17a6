"""The bundle that the daemons serve: two features, windows of 12 rows, trained in seconds."""

from __future__ import annotations

from pathlib import Path

from models.bundle import Bundle


def small_bundle(folder: Path) -> Bundle:
    """Train one into `folder`."""
    from models.training import train
    from tests.models.waves import FEATURES, WINDOW, settings, waves

    return train(waves(holes=0.0), WINDOW, FEATURES, settings(), folder / "bundle")
