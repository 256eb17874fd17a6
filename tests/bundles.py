"""The tiny trained bundles of a test run. The one: two features, windows of 12 rows, every row ends one.

Training it takes some seconds, and loads TensorFlow: so it is done once, by whoever asks first. Tests get it by the
fixture `bundle`. The other one is for a second fleet (fixture `fans`): other features but for one, on a time grid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from models.bundle import Bundle
    from models.training import Epoch

EPOCHS: list[Epoch] = []
"""What its training reported."""

FANS = ("speed", "temperature", "flow")
"""Features of the bundle for a second fleet."""

_trained: list[Bundle] = []
_fans: list[Bundle] = []


def tiny_bundle(folders: pytest.TempPathFactory) -> Bundle:
    """Return the bundle, trained on `tests.models.waves.waves()`."""
    from models.training import train
    from tests.models.waves import FEATURES, WINDOW, settings, waves

    if not _trained:
        out = folders.mktemp("trained") / "bundle"
        _trained.append(train(waves(), WINDOW, FEATURES, settings(), out, EPOCHS.append))
    return _trained[0]


def fan_bundle(folders: pytest.TempPathFactory) -> Bundle:
    """Return the bundle of another fleet: three features, windows of 6 cells of two minutes, every other one ends one.

    It is linear, so that its training takes a moment.
    """
    import numpy as np

    from models.bundle import WindowShape
    from models.cells import Cells
    from models.training import train
    from tests.models.waves import settings

    if not _fans:
        rows, length = 160, 6
        phase = np.arange(rows) * (2 * np.pi / 24)
        noise = np.random.default_rng(4).normal(size=(rows, 3)) * (2.0, 0.1, 0.03)
        level = np.stack([900 + 80 * np.sin(phase), 40 + 3 * np.cos(phase), 10 + np.sin(phase)], axis=1)
        cells = Cells(
            values=(level + noise).astype(np.float32),
            stream=np.zeros(rows, np.int32),
            time=np.arange(rows, dtype=np.int64) * 120_000,
            starts=np.arange(0, rows - length + 1, 2),
            label=np.zeros(rows, np.bool_),
        )
        shape = WindowShape(length=length, stride=2, interval=120_000)
        _fans.append(train(cells, shape, FANS, settings("pca"), folders.mktemp("trained") / "fans"))
    return _fans[0]
