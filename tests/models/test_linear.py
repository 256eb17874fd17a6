"""The linear autoencoder and its graph."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from models import errors, linear
from models.graph import Graph


def views(count: int = 300) -> NDArray[np.float32]:
    """Return views that two waves explain, and a little noise."""
    random = np.random.default_rng(0)
    time = np.arange(20)[:, None] + np.array([0, 3, 6])
    phase = random.uniform(0, 2 * np.pi, (count, 1, 1))
    found: NDArray[np.float32] = (np.sin(time / 3 + phase) + random.normal(0, 0.01, (count, 20, 3))).astype(np.float32)
    return found


def test_few_components_explain_what_is_simple() -> None:
    """If it failed, the member would learn noise, or nothing."""
    model = linear.fit(views(), 0.95)
    assert len(model.axes) == 2
    assert np.abs(model.residual(views())).max() < 0.1


def test_the_graph_computes_the_same() -> None:
    """If it failed, the member would score otherwise than it was calibrated."""
    model = linear.fit(views(), 0.95)
    strange = views()[:50]
    strange[:, -1] += 1
    graph = Graph(linear.graph(model, 20, 3), 20, 3, strange)
    left = strange - graph.score(strange).reconstruction
    assert_allclose(left, model.residual(strange), atol=1e-5)
    assert_allclose(graph.score(strange).errors, errors.feature_squares(left), rtol=1e-4, atol=1e-7)
    assert_allclose(graph.score(strange).score, (left**2).mean(axis=(1, 2)), rtol=1e-4)


def test_views_that_never_change_have_a_model() -> None:
    """If it failed, a constant stream could not be trained."""
    still = np.ones((30, 20, 3), np.float32)
    model = linear.fit(still, 0.95)
    assert len(model.axes) == 1
    assert_allclose(model.residual(still), 0, atol=1e-12)


def test_error_forms_are_what_they_say() -> None:
    """If it failed, voices would say something else than their names."""
    random = np.random.default_rng(1)
    left = random.normal(size=(50, 10, 4)).astype(np.float32)
    wide = left.astype(np.float64)
    assert_allclose(errors.log_square(left), np.log((wide**2).mean(axis=(1, 2)) + 1e-6))
    assert_allclose(errors.log_square(left, 3), np.log((wide[:, -3:] ** 2).mean(axis=(1, 2)) + 1e-6))
    assert_allclose(errors.summary(left), np.concatenate([wide.mean(axis=1), wide[:, -1]], axis=1), atol=1e-6)


def test_a_whitened_distance_is_that_of_mahalanobis() -> None:
    """If it failed, correlated features would be counted twice."""
    random = np.random.default_rng(1)
    vectors = random.normal(size=(500, 6)) @ random.normal(size=(6, 6))
    mean, factor = errors.whitening(vectors)
    covariance = np.cov(vectors.T, bias=True)
    covariance += (0.2 * np.trace(covariance) / 6 + 1e-9) * np.eye(6)
    d = vectors - vectors.mean(axis=0)
    expected = np.log(np.einsum("ni,ij,nj->n", d, np.linalg.inv(covariance), d))
    assert errors.log_distance(vectors, mean, factor) == pytest.approx(expected)


def test_few_windows_of_many_cells_have_the_axes_of_the_decomposition_itself() -> None:
    """If it failed, the quick way for wide views would find other components than the definition."""
    wide = np.cumsum(np.random.default_rng(3).normal(size=(60, 20, 9)), axis=1).astype(np.float32)
    model = linear.fit(wide, 0.95)
    flat = wide.reshape(60, -1).astype(np.float64)
    centred = flat - flat.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    kept = 1 + int(np.searchsorted(np.cumsum(sizes**2), 0.95 * np.sum(sizes**2)))
    assert len(model.axes) == kept
    assert_allclose(model.axes @ model.axes.T, np.eye(kept), atol=1e-12)
    expected = centred - centred @ axes[:kept].T @ axes[:kept]
    assert_allclose(model.residual(wide).reshape(60, -1), expected, atol=1e-9)
