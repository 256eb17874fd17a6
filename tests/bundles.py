"""The one tiny trained bundle of a test run: two features, windows of 12 rows, every row ends one.

Training it takes some seconds, and loads TensorFlow: so it is done once, by whoever asks first. Tests get it by the
fixture `bundle`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from models.bundle import Bundle
    from models.training import Epoch

EPOCHS: list[Epoch] = []
"""What its training reported."""

_trained: list[Bundle] = []


def tiny_bundle(folders: pytest.TempPathFactory) -> Bundle:
    """Return the bundle, trained on `tests.models.waves.waves()`."""
    from models.training import train
    from tests.models.waves import FEATURES, WINDOW, settings, waves

    if not _trained:
        out = folders.mktemp("trained") / "bundle"
        _trained.append(train(waves(), WINDOW, FEATURES, settings(), out, EPOCHS.append))
    return _trained[0]
