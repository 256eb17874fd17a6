"""One tiny trained bundle for all tests of the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from models.serving import Model
from models.training import Epoch, train
from tests.models.waves import FEATURES, WINDOW, settings, waves

if TYPE_CHECKING:
    from models.bundle import Bundle
    from models.cells import Cells


@pytest.fixture(scope="session")
def cells() -> Cells:
    """The recording that `bundle` was trained on."""
    return waves()


@pytest.fixture(scope="session")
def epochs() -> list[Epoch]:
    """What the training of `bundle` reported; filled by it."""
    return []


@pytest.fixture(scope="session")
def bundle(cells: Cells, epochs: list[Epoch], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A trained bundle. Copy it before changing it."""
    out = tmp_path_factory.mktemp("trained") / "bundle"
    return train(cells, WINDOW, FEATURES, settings(), out, epochs.append)


@pytest.fixture(scope="session")
def model(bundle: Bundle) -> Model:
    """The bundle's model."""
    return Model(bundle)
