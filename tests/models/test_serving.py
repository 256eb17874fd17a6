"""Scores under ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from models.bundle import Bundle, BundleError
from models.cells import Cells
from models.chunk import Scores
from models.serving import Model


@pytest.fixture(scope="module")
def windows(cells: Cells) -> np.ndarray:
    """512 windows, some with holes, noise and far values."""
    random = np.random.default_rng(3)
    made = cells.gather(random.integers(0, len(cells.starts), 512), 12)
    made += random.normal(size=made.shape) * (random.random((512, 1, 1)) < 0.5) * 20
    return made.astype(np.float32)


def equal(first: Scores, second: Scores) -> bool:
    """Return whether all figures are equal to the last bit."""
    return all(
        getattr(first, name).tobytes() == getattr(second, name).tobytes()
        for name in ("score", "errors", "reconstruction")
    )


def part(scores: Scores, which: slice | np.ndarray) -> Scores:
    """Return the figures of some windows."""
    return Scores(scores.score[which], scores.errors[which], scores.reconstruction[which])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 8, 31, 32, 33, 64, 100, 511, 512])
def test_scores_do_not_depend_on_the_batch(model: Model, windows: np.ndarray, count: int) -> None:
    """A replay would give other alerts than the daemon, whose polls are cut otherwise."""
    assert equal(model.score(windows[:count]), part(model.score(windows), slice(0, count)))


def test_scores_do_not_depend_on_companions(model: Model, windows: np.ndarray) -> None:
    """A stream's score would change with the other streams in the poll."""
    order = np.random.default_rng(1).permutation(len(windows))
    assert equal(model.score(windows[order]), part(model.score(windows), order))


def test_results_of_two_calls_are_apart(model: Model, windows: np.ndarray) -> None:
    """A later call would overwrite the figures that an earlier one gave."""
    first = model.score(windows[:3])
    kept = first.score.copy(), first.reconstruction.copy()
    model.score(windows[3:6])
    assert_array_equal(first.score, kept[0])
    assert_array_equal(first.reconstruction, kept[1])


def test_other_layouts_and_types_are_taken(model: Model, windows: np.ndarray) -> None:
    """Rows of a ring that are not contiguous would be read at the wrong addresses."""
    turned = np.asfortranarray(windows[:40])
    assert equal(model.score(turned), model.score(windows[:40]))
    assert equal(model.score(windows[:80:2].astype(np.float64)), model.score(np.ascontiguousarray(windows[:80:2])))


def test_missing_cells_count_in_no_error(model: Model, windows: np.ndarray) -> None:
    """A sensor that is silent would raise or hide an alert."""
    holes = windows[:5].copy()
    holes[:, :, 1] = np.nan
    scores = model.score(holes)
    assert_array_equal(scores.errors[:, 1], 0)
    assert_allclose(scores.score, scores.errors[:, 0], rtol=1e-5)
    assert np.isfinite(scores.reconstruction).all()


def test_a_missing_cell_is_the_training_mean_for_the_network(model: Model, windows: np.ndarray) -> None:
    """A hole would be something else in serving than it was in training."""
    holes, filled = windows[:5].copy(), windows[:5].copy()
    holes[:, 4, 0] = np.nan
    filled[:, 4, 0] = model.bundle.manifest.scaling.mean[0]
    assert_allclose(model.score(holes).reconstruction, model.score(filled).reconstruction, rtol=1e-5)


def test_a_window_of_nothing_scores_zero(model: Model) -> None:
    """A silent stream would give a score that is not a number."""
    scores = model.score(np.full((2, 12, 2), np.nan, np.float32))
    assert_array_equal(scores.score, 0)
    assert_array_equal(scores.errors, 0)
    assert np.isfinite(scores.reconstruction).all()


@pytest.mark.parametrize("value", [3.4e38, -3.4e38, 1e30, 1e-45, -1e6])
def test_no_finite_value_gives_nan(model: Model, windows: np.ndarray, value: float) -> None:
    """One absurd reading would poison a stream's line for ever."""
    far = windows[:33].copy()
    far[:, 3, 0] = value
    far[7] = value
    far[8, :, 1] = np.nan
    scores = model.score(far)
    for figures in (scores.score, scores.errors, scores.reconstruction):
        assert np.isfinite(figures).all()
    assert (scores.score >= 0).all()


def test_a_score_is_the_mean_scaled_error_of_present_cells(model: Model, windows: np.ndarray) -> None:
    """The graph's arithmetic would differ from what the bundle says of it."""
    scores = model.score(windows)
    scaling = model.bundle.manifest.scaling
    errors = ((windows - scores.reconstruction) / np.asarray(scaling.scale, np.float32)) ** 2
    assert_allclose(scores.errors, np.nanmean(errors, axis=1), rtol=1e-3, atol=1e-5)
    assert_allclose(scores.score, np.nanmean(errors, axis=(1, 2)), rtol=1e-3, atol=1e-5)


def test_codes_have_their_size(model: Model, windows: np.ndarray) -> None:
    """The latent space could not be looked at."""
    assert model.encode(windows[:7]).shape == (7, 4)


@pytest.mark.parametrize("shape", [(12, 2), (3, 11, 2), (3, 12, 1), (0, 2, 12)])
def test_another_shape_is_one_line(model: Model, shape: tuple[int, ...]) -> None:
    """A config that does not fit the bundle would end in a traceback of ONNX Runtime."""
    with pytest.raises(ValueError, match=r"\(n, 12, 2\) is needed"):
        model.score(np.zeros(shape, np.float32))


def test_a_bundle_of_other_windows_is_one_line(bundle: Bundle) -> None:
    """A manifest that does not fit its graph would end in a traceback."""
    window = bundle.manifest.window.model_copy(update={"length": 24})
    other = Bundle(bundle.path, bundle.manifest.model_copy(update={"window": window}), bundle.sha256)
    with pytest.raises(BundleError, match=r"calibration\.npz has windows of the shape"):
        Model(other)
