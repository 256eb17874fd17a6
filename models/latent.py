"""Codes of windows in a plane, to be looked at.

A code of two numbers is drawn as it is. More are brought to two: by principal components (linear, and what is far
apart there is far apart), by t-SNE (van der Maaten and Hinton, Visualizing data using t-SNE, 2008; scikit-learn) and by
UMAP (McInnes, Healy and Melville, 2018; umap-learn), which keep neighbours together, while distances between groups and
the sizes of groups say little. The same codes give the same picture.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from models.cells import TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

METHODS = ("pca", "tsne", "umap")
"""Ways to bring codes to a plane."""

MOST = 1_500
"""Windows that are drawn at most; t-SNE takes some seconds for so many."""

_PACKAGES = {"tsne": "sklearn", "umap": "umap"}
_LEAST = 5  # windows that t-SNE and UMAP are asked for; of fewer there are no neighbourhoods
_NEIGHBOURS = 15


@dataclass(frozen=True, slots=True)
class Plane:
    """Codes in a plane.

    Attributes:
        method: `code` (as they are) or one of `METHODS`.
        points: `(n, 2)` float64.
        axes: what the two axes are.
    """

    method: str
    points: NDArray[np.float64]
    axes: tuple[str, str]


def available() -> tuple[str, ...]:
    """Return the methods whose packages are installed, without loading them."""
    return tuple(method for method in METHODS if method not in _PACKAGES or find_spec(_PACKAGES[method]) is not None)


def require(methods: Sequence[str]) -> None:
    """Refuse methods that there are none of, or whose packages are missing.

    Raises:
        TrainingError: with what to do.
    """
    for method in methods:
        if method not in METHODS:
            message = f"there is no projection {method!r}: there is {', '.join(METHODS)}"
            raise TrainingError(message)
        if method not in available():
            message = (
                f"{method} needs what is not installed here ({_PACKAGES[method]}): pip install 'tidegauge[inspect]'"
            )
            raise TrainingError(message)


def thinned(label: NDArray[np.bool_], most: int = MOST) -> NDArray[np.int64]:
    """Return positions of at most `most` windows, rising: evenly spread, half of them labelled if there are so many."""
    labelled, normal = np.flatnonzero(label), np.flatnonzero(~label)
    rare = min(len(labelled), max(most // 2, most - len(normal)))
    parts = (_spread(labelled, rare), _spread(normal, most - rare))
    return np.sort(np.concatenate(parts)).astype(np.int64)


def _spread(places: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """Return at most `most` of the places, evenly spread."""
    if len(places) <= most:
        return places
    return places[np.linspace(0, len(places) - 1, most).round().astype(np.int64)]


def planes(codes: NDArray[np.float32], methods: Sequence[str]) -> list[Plane]:
    """Return the codes `(n, Z)`, finite, n ≥ 1, in planes: one for two numbers, else one for each method.

    Of fewer than five windows, or where all codes are equal, there are principal components only.
    """
    wide = codes.astype(np.float64)
    if wide.shape[1] == 2:  # noqa: PLR2004 - a plane
        return [Plane("code", wide, ("code 1", "code 2"))]
    if len(wide) < _LEAST or not wide.std(axis=0).any():
        methods = ("pca",)
    return [_METHODS[method](wide) for method in METHODS if method in methods]


def components(codes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return mean `(Z,)`, the two greatest principal axes `(2, Z)` and the standard deviations along all of them.

    Of codes of one number the second axis is 0.
    """
    mean = codes.mean(axis=0)
    _, sizes, axes = np.linalg.svd(codes - mean, full_matrices=False)
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    two = np.zeros((2, codes.shape[1]))
    two[: min(2, len(axes))] = axes[:2]
    return mean, two, sizes / np.sqrt(len(codes))


def _pca(codes: NDArray[np.float64]) -> Plane:
    mean, axes, deviations = components(codes)
    total = float((deviations**2).sum())
    shares = [float(deviation**2) / total if total else 0.0 for deviation in (*deviations[:2], 0.0, 0.0)[:2]]
    names = tuple(f"component {number}: {share:.0%} of the variance" for number, share in enumerate(shares, 1))
    return Plane("pca", (codes - mean) @ axes.T, (names[0], names[1]))


def _tsne(codes: NDArray[np.float64]) -> Plane:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(30.0, (len(codes) - 1) / 3)
    with threadpool_limits(1):  # measured: several threads take twice as long, most of it waiting for each other
        found = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(codes)
    return Plane("tsne", found.astype(np.float64), ("t-SNE 1", "t-SNE 2"))


def _umap(codes: NDArray[np.float64]) -> Plane:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its compiler, and that a seed leaves it one thread
        from umap import UMAP

        neighbours = min(_NEIGHBOURS, len(codes) - 1)
        found = UMAP(n_neighbors=neighbours, init="pca", random_state=0).fit_transform(codes)
    return Plane("umap", np.asarray(found, np.float64), ("UMAP 1", "UMAP 2"))


_METHODS = {"pca": _pca, "tsne": _tsne, "umap": _umap}
