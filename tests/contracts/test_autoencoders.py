"""What every kind of autoencoder must do; kinds are discovered, so a new file is tested by being there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.testing import assert_allclose

from models import export
from models.base import Shape, find, kinds
from models.bundle import read
from models.cells import TrainingError
from models.serving import Model
from models.training import train
from tests.models.waves import FEATURES, WINDOW, settings, waves

if TYPE_CHECKING:
    from pathlib import Path

    from models.bundle import Bundle


@pytest.fixture(scope="module", params=kinds())
def kind(request: pytest.FixtureRequest) -> str:
    """The name of a kind."""
    return str(request.param)


@pytest.fixture(scope="module")
def trained(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of the kind."""
    return train(waves(), WINDOW, FEATURES, settings(kind), tmp_path_factory.mktemp(kind) / "bundle")


@pytest.fixture(scope="module")
def windows() -> np.ndarray:
    """512 windows that no training saw, some with holes."""
    unseen = waves(5, 114, seed=9, holes=0.05)
    return unseen.gather(np.arange(512), 12)


def test_it_beats_the_mean_on_windows_it_has_not_seen(trained: Bundle, windows: np.ndarray) -> None:
    """Nothing would have been learned."""
    scaled = trained.manifest.scaling.apply(windows)
    assert Model(trained).score(windows).score.mean() < 0.5 * np.nanmean(scaled**2)


def test_the_same_seed_gives_the_same_weights(kind: str, trained: Bundle, windows: np.ndarray, tmp_path: Path) -> None:
    """A training could not be repeated."""
    again = train(waves(), WINDOW, FEATURES, settings(kind), tmp_path / "again")
    assert again.content("model.onnx") == trained.content("model.onnx")
    assert again.manifest.calibration == trained.manifest.calibration
    assert Model(again).score(windows).score.tobytes() == Model(trained).score(windows).score.tobytes()


def test_what_is_saved_reconstructs_the_same(trained: Bundle, windows: np.ndarray) -> None:
    """The saved networks would not be those that were exported."""
    kind, member = find(trained.manifest.members[0].kind), trained.manifest.members[0]
    core = export.core(kind, export.restore(trained), Shape(12, len(FEATURES)))
    graph = Model(read(trained.path))._graph
    assert export.difference(core, graph, windows, trained.manifest.scaling) <= export.TOLERANCE
    assert member.parameters > 0


def test_scores_are_the_same_bits_in_every_batch(trained: Bundle, windows: np.ndarray) -> None:
    """A replay would differ from the daemon."""
    model = Model(trained)
    whole = model.score(windows)
    for count in (1, 2, 7, 31, 32, 33, 100, 511, 512):
        few = model.score(windows[-count:])
        assert few.score.tobytes() == whole.score[-count:].tobytes()
        assert few.errors.tobytes() == whole.errors[-count:].tobytes()
        assert few.reconstruction.tobytes() == whole.reconstruction[-count:].tobytes()


def test_missing_and_absurd_values_give_finite_figures(trained: Bundle, windows: np.ndarray) -> None:
    """One sensor's fault would make a stream's scores useless."""
    far = windows[:6].copy()
    far[0], far[1, :, 0], far[2, 3], far[3, :, 1], far[4] = np.nan, np.nan, 3e38, -3e38, 0
    scores = Model(trained).score(far)
    for figures in (scores.score, scores.errors, scores.reconstruction, Model(trained).encode(far)):
        assert np.isfinite(figures).all()
    assert scores.score[0] == 0
    assert_allclose(scores.errors[1, 0], 0)


def test_too_few_windows_are_one_line(kind: str, tmp_path: Path) -> None:
    """A recording that is too short would end in a traceback."""
    with pytest.raises(TrainingError, match="too few"):
        train(waves(1, 20), WINDOW, FEATURES, settings(kind), tmp_path / "bundle")


def test_defaults_fit_every_shape(kind: str) -> None:
    """Windows of one row, or of one feature, could not be trained without settings."""
    for shape in (Shape(1, 1), Shape(2, 3), Shape(140, 1), Shape(64, 8)):
        assert settings(kind, code_size=None, nodes=None).resolve(shape).code_size >= 1
