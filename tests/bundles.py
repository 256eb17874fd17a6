"""One tiny trained bundle for tests of the daemon: two features, windows of 12 rows, every row ends one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.bundle import Bundle, read

if TYPE_CHECKING:
    from pathlib import Path

LENGTH = 12


def train_bundle(out: Path) -> Bundle:
    """Train on waves of two sensors, which takes some seconds, and return the bundle at `out`."""
    from models.training import train
    from tests.models.waves import FEATURES, WINDOW, settings, waves

    train(waves(holes=0.0), WINDOW, FEATURES, settings(), out)
    return read(out)
