"""Codes in a plane."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from models import latent
from models.cells import TrainingError


def test_a_code_of_two_numbers_is_drawn_as_it_is() -> None:
    """The decoded grid and the picture of the codes would be of two different planes."""
    codes = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    (plane,) = latent.planes(codes, latent.METHODS)
    assert plane.method == "code"
    assert (plane.points == codes).all()


@pytest.mark.parametrize("size", [1, 3, 40])
def test_principal_components_keep_the_most_of_the_variance(size: int) -> None:
    """The picture would hide what differs most, or fail for a code of one number, or of more numbers than windows."""
    random = np.random.default_rng(1)
    codes = (random.normal(size=(25, size)) * np.linspace(5, 0.1, size)).astype(np.float32)
    (plane,) = latent.planes(codes, ("pca",))
    assert plane.points.shape == (25, 2)
    variances = np.linalg.eigvalsh(np.atleast_2d(np.cov(codes.T.astype(np.float64), bias=True)))[::-1]
    wanted = [*variances[:2].tolist(), 0.0][:2]
    assert_allclose(plane.points.var(axis=0), wanted, rtol=1e-5, atol=1e-9)
    assert f"{wanted[0] / variances.sum():.0%}" in plane.axes[0]


def test_t_sne_separates_groups_and_is_the_same_every_time() -> None:
    """Two looks at one bundle would show two spaces."""
    random = np.random.default_rng(2)
    codes = np.concatenate([random.normal(size=(30, 6)), random.normal(size=(30, 6)) + 20]).astype(np.float32)
    (one,), (other,) = (latent.planes(codes, ("tsne",)) for _ in range(2))
    assert (one.points == other.points).all()
    centres = one.points[:30].mean(axis=0), one.points[30:].mean(axis=0)
    reach = max(
        np.linalg.norm(part - centre, axis=1).max()
        for part, centre in zip((one.points[:30], one.points[30:]), centres, strict=True)
    )
    assert np.linalg.norm(centres[0] - centres[1]) > reach


def test_few_or_equal_codes_have_principal_components_only() -> None:
    """t-SNE and UMAP would end in a traceback where there are no neighbourhoods."""
    for codes in (np.eye(3, dtype=np.float32), np.ones((50, 4), np.float32)):
        (plane,) = latent.planes(codes, ("tsne", "umap"))
        assert plane.method == "pca"
        assert np.isfinite(plane.points).all()


def test_thinning_keeps_what_is_rare() -> None:
    """Of a million windows the few labelled ones would not be seen, or the picture would take an hour."""
    label = np.zeros(10_000, np.bool_)
    label[[5, 700, 9_999]] = True
    kept = latent.thinned(label, 100)
    assert len(kept) == 100
    assert set(np.flatnonzero(label)) <= set(kept.tolist())
    assert (np.diff(kept) > 0).all()
    half = latent.thinned(np.arange(10_000) % 2 == 0, 100)
    assert len(half) == 100
    assert np.count_nonzero(half % 2 == 0) == 50
    assert latent.thinned(label[:50]).tolist() == list(range(50))


def test_an_unknown_or_missing_projection_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt name, or a package that is not there, would end in a traceback after the recording was read."""
    with pytest.raises(TrainingError, match="there is no projection 'tsme': there is pca, tsne, umap"):
        latent.require(("pca", "tsme"))
    monkeypatch.setattr(latent, "find_spec", lambda _: None)
    assert latent.available() == ("pca",)
    with pytest.raises(TrainingError, match=r"pip install 'tidegauge\[inspect\]'"):
        latent.require(("umap",))
