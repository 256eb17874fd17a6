"""One tiny trained bundle for tests of the daemon: two features, windows of 12 rows, every row ends one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from models.bundle import Bundle

_trained: list[Bundle] = []


def tiny_bundle(folders: pytest.TempPathFactory) -> Bundle:
    """Return the bundle; the first call of a run trains it, on waves of two sensors, which takes some seconds."""
    from models.training import train
    from tests.models.waves import FEATURES, WINDOW, settings, waves

    if not _trained:
        out = folders.mktemp("trained") / "bundle"
        _trained.append(train(waves(holes=0.0), WINDOW, FEATURES, settings(), out))
    return _trained[0]
